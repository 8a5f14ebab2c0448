/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_PROGRESS_H
#define VARVE_STREAM_PROGRESS_H

/* Tells how far a transfer is, now and then. */

#include <varve/transfer.h>

typedef struct {
    VarveTransferProgressFunc func; /* NULL: nobody wants to know */
    gpointer data;
    VarveTransferProgress now;
    guint64 place; /* up to so many bytes of the stream nothing travels */
    gint64 last;
} VarveStreamProgress;

/* done: of the payload; bytes: of the stream. Cheap. */
void varve_stream_progress_tell(VarveStreamProgress *progress, guint64 done, guint64 bytes);

#endif
