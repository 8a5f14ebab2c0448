/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/ring-bytes.h"
#include "layer/stages.h"
#include <string.h>

static gboolean
write_bytes(gpointer data, const void *bytes, gsize size, GError **error)
{
    VarveRingWriter *writer = data;
    for (const guint8 *at = bytes; size > 0;) {
        if (writer->block == NULL && (writer->block = varve_ring_reserve(writer->ring)) == NULL)
            return varve_stage_stopped(error);
        gsize n = MIN(size, writer->block_size - writer->used);
        memcpy(writer->block + writer->used, at, n);
        writer->used += n;
        at += n;
        size -= n;
        if (writer->used == writer->block_size) {
            varve_ring_publish(writer->ring, writer->used);
            writer->block = NULL;
            writer->used = 0;
        }
    }
    return TRUE;
}

VarveSink
varve_ring_writer_sink(VarveRingWriter *writer)
{
    return (VarveSink){write_bytes, writer};
}

/* A block without bytes is the end. */
gboolean
varve_ring_writer_end(VarveRingWriter *writer, GError **error)
{
    if (writer->used > 0) {
        varve_ring_publish(writer->ring, writer->used);
        writer->block = NULL;
    }
    if (writer->block == NULL && varve_ring_reserve(writer->ring) == NULL)
        return varve_stage_stopped(error);
    varve_ring_publish(writer->ring, 0);
    return TRUE;
}

static gssize
read_bytes(gpointer data, void *buffer, gsize size, GError **error)
{
    VarveRingReader *reader = data;
    if (reader->left == 0 && !reader->ended) {
        if (!varve_ring_take(reader->ring, 0, &reader->block, &reader->left)) {
            varve_stage_stopped(error);
            return -1;
        }
        reader->ended = reader->left == 0;
    }
    gsize n = MIN(size, reader->left);
    if (n > 0)
        memcpy(buffer, reader->block, n);
    reader->block += n;
    reader->left -= n;
    return (gssize)n;
}

VarveSource
varve_ring_reader_source(VarveRingReader *reader)
{
    return (VarveSource){read_bytes, reader};
}
