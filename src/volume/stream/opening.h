/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_OPENING_H
#define VARVE_STREAM_OPENING_H

/* How a stream begins: at its beginning, or where another one broke off. */

#include "volume/stream/frames.h"

typedef struct {
    VarveSource rest; /* what follows */
    guint8 first[16]; /* what was read of one that begins at its beginning */
    gsize n_first, at;
    gboolean goes_on;
    char uuid[37];         /* of the snapshot, if it goes on; it was checked */
    VarveFramePlace place; /* where */
    VarveSource kept;      /* what is before; read NULL: the first bytes are */
} VarveStreamOpening;

/* Reads as much as is needed to tell. */
gboolean varve_stream_opening_read(VarveStreamOpening *opening, VarveSource source, GError **error);

/* The whole stream: what was kept, which must be set if it goes on, and what follows. */
VarveSource varve_stream_opening_source(VarveStreamOpening *opening);

#endif
