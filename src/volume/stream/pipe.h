/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_PIPE_H
#define VARVE_STREAM_PIPE_H

/* Payloads on their way into frames and out of them, with a thread on either side: while one reads
 * files, the other compresses and sends. */

#include "volume/stream/frames.h"
#include "volume/stream/progress.h"

/* Calls produce in the calling thread; what it writes goes into frames. */
gboolean varve_pipe_into_frames(VarveFrameWriter *writer,
                                gboolean (*produce)(const VarveSink *sink, gpointer data,
                                                    GError **error),
                                gpointer data, VarveStreamProgress *progress, GError **error);

/* Calls consume in another thread; what it reads comes from frames, which are read in the calling
 * one. Its source ends when the last frame is there and the whole stream is right. */
gboolean varve_pipe_from_frames(VarveFrameReader *reader,
                                gboolean (*consume)(const VarveSource *source, gpointer data,
                                                    GError **error),
                                gpointer data, VarveStreamProgress *progress, const gint *cancelled,
                                GError **error);

#endif
