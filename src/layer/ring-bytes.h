/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_RING_BYTES_H
#define VARVE_LAYER_RING_BYTES_H

/* A ring as a sink at one end and a source at the other: pieces of any size, in blocks. */

#include "base/stream.h"
#include "layer/ring.h"

typedef struct {
    VarveRing *ring;
    gsize block_size; /* that the ring was made with */
    guint8 *block;    /* that is being filled, or NULL */
    gsize used;
} VarveRingWriter;

VarveSink varve_ring_writer_sink(VarveRingWriter *writer);

/* Publishes what is left, and the end. */
gboolean varve_ring_writer_end(VarveRingWriter *writer, GError **error);

typedef struct {
    VarveRing *ring;
    const guint8 *block; /* that is being read */
    gsize left;
    gboolean ended;
} VarveRingReader;

/* Of the ring's only reader. */
VarveSource varve_ring_reader_source(VarveRingReader *reader);

#endif
