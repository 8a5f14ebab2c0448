/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_CONTENT_H
#define VARVE_STREAM_CONTENT_H

/* The content of files: what is in one and not in another, by blocks, and where it has holes. */

#include "base/stream.h"
#include <sys/types.h>

typedef struct {
    const VarveSink *sink; /* of records */
    const gint *cancelled;
    guint8 *bytes, *old; /* room for two pieces */
} VarveStreamContent;

void varve_stream_content_init(VarveStreamContent *content, const VarveSink *sink,
                               const gint *cancelled);
void varve_stream_content_clear(VarveStreamContent *content);

/* Writes records that make the content of file from that of before (-1: nothing). */
gboolean varve_stream_content_tell(VarveStreamContent *content, int file, off_t size, int before,
                                   off_t size_before, GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveStreamContent, varve_stream_content_clear)

/* Whether a file was written anew: it is no longer than it was, not long, and no block of it is
 * what it was. */
gboolean varve_stream_content_is_other(VarveStreamContent *content, int file, off_t size,
                                       int before, off_t size_before, gboolean *other,
                                       GError **error);

#endif
