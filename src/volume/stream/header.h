/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_HEADER_H
#define VARVE_STREAM_HEADER_H

/* What a stream says of its snapshot before the payload. */

#include "volume/stream/frames.h"
#include <varve/transfer.h>

typedef struct {
    char *format, *store, *uuid, *name;
    char *base; /* "": none */
    gint64 created;
    GHashTable *labels; /* those that travel */
    gboolean plain;     /* no frame is compressed */
    guint64 expected;   /* bytes of payload, about; 0: not known */
} VarveStreamHeader;

void varve_stream_header_clear(VarveStreamHeader *header);

/* Whether a label goes with its snapshot: what speaks of the store that it is in does not. */
gboolean varve_stream_label_travels(const char *key);

gboolean varve_stream_header_write(VarveFrameWriter *writer, const VarveStreamHeader *header,
                                   GError **error);

/* Reads it, and checks what can be checked of it alone: VARVE_ERROR_CORRUPT. */
gboolean varve_stream_header_read(VarveFrameReader *reader, VarveStreamHeader *header,
                                  GError **error);

/* Tells of the transfer what the header says. */
void varve_stream_header_tell(const VarveStreamHeader *header, VarveTransfer *transfer);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveStreamHeader, varve_stream_header_clear)

#endif
