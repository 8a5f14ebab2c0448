/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/pipe.h"
#include "layer/ring.h"
#include "layer/stages.h"
#include <string.h>

#define BLOCKS 8

/* --- into frames ------------------------------------------------------------------------------ */

typedef struct {
    VarveFrameWriter *writer;
    gboolean (*produce)(const VarveSink *sink, gpointer data, GError **error);
    gpointer data;
    VarveRing *ring;
    guint8 *block; /* that is being filled */
    gsize used;
} Into;

static gboolean
write_payload(gpointer data, const void *bytes, gsize size, GError **error)
{
    Into *into = data;
    for (const guint8 *at = bytes; size > 0;) {
        if (into->block == NULL && (into->block = varve_ring_reserve(into->ring)) == NULL)
            return varve_stage_stopped(error);
        gsize n = MIN(size, VARVE_FRAME_MAX - into->used);
        memcpy(into->block + into->used, at, n);
        into->used += n;
        at += n;
        size -= n;
        if (into->used == VARVE_FRAME_MAX) {
            varve_ring_publish(into->ring, into->used);
            into->block = NULL;
            into->used = 0;
        }
    }
    return TRUE;
}

static gboolean
produce(gpointer data, GError **error)
{
    Into *into = data;
    const VarveSink sink = {write_payload, into};
    if (!into->produce(&sink, into->data, error))
        return FALSE;
    if (into->used > 0) {
        varve_ring_publish(into->ring, into->used);
        into->block = NULL;
    }
    if (into->block == NULL && varve_ring_reserve(into->ring) == NULL)
        return varve_stage_stopped(error);
    varve_ring_publish(into->ring, 0);
    return TRUE;
}

static gboolean
write_frames(gpointer data, GError **error)
{
    Into *into = data;
    const guint8 *bytes;
    gsize size;
    do {
        if (!varve_ring_take(into->ring, 0, &bytes, &size))
            return varve_stage_stopped(error);
        if (size > 0 && !varve_frame_writer_add(into->writer, VARVE_FRAME_DATA, bytes, size, error))
            return FALSE;
    } while (size > 0);
    return TRUE;
}

static void
stop_into(gpointer data)
{
    varve_ring_stop(((Into *)data)->ring);
}

gboolean
varve_pipe_into_frames(VarveFrameWriter *writer,
                       gboolean (*func)(const VarveSink *sink, gpointer data, GError **error),
                       gpointer data, GError **error)
{
    static const VarveStage stages[] = {{"stream-tell", produce}, {"stream-frames", write_frames}};
    g_autoptr(VarveRing) ring = varve_ring_new(BLOCKS, VARVE_FRAME_MAX, 1);
    Into into = {.writer = writer, .produce = func, .data = data, .ring = ring};
    return varve_stages_run(stages, G_N_ELEMENTS(stages), stop_into, &into, error);
}

/* --- from frames ------------------------------------------------------------------------------ */

typedef struct {
    VarveFrameReader *reader;
    gboolean (*consume)(const VarveSource *source, gpointer data, GError **error);
    gpointer data;
    const gint *cancelled;
    VarveRing *ring;
    const guint8 *block; /* that is being read */
    gsize left;
    gboolean ended;
} From;

/* Empty frames are none: a block without bytes is the end. */
static gboolean
read_frames(gpointer data, GError **error)
{
    From *from = data;
    const guint8 *bytes;
    gsize size;
    do {
        if (!varve_check_cancelled(from->cancelled, error) ||
            !varve_frame_reader_next(from->reader, &bytes, &size, error))
            return FALSE;
        if (bytes != NULL && size == 0)
            continue;
        guint8 *block = varve_ring_reserve(from->ring);
        if (block == NULL)
            return varve_stage_stopped(error);
        if (bytes != NULL)
            memcpy(block, bytes, size);
        varve_ring_publish(from->ring, size);
    } while (bytes != NULL);
    return TRUE;
}

static gssize
read_payload(gpointer data, void *buffer, gsize size, GError **error)
{
    From *from = data;
    if (from->left == 0 && !from->ended) {
        if (!varve_ring_take(from->ring, 0, &from->block, &from->left)) {
            varve_stage_stopped(error);
            return -1;
        }
        from->ended = from->left == 0;
    }
    gsize n = MIN(size, from->left);
    if (n > 0)
        memcpy(buffer, from->block, n);
    from->block += n;
    from->left -= n;
    return (gssize)n;
}

static gboolean
consume(gpointer data, GError **error)
{
    From *from = data;
    const VarveSource source = {read_payload, from};
    guint8 more;
    if (!from->consume(&source, from->data, error))
        return FALSE;
    gssize n = read_payload(from, &more, 1, error);
    return n == 0 || (n > 0 && varve_error_set(error, VARVE_ERROR_CORRUPT,
                                               "the stream goes on after its end"));
}

static void
stop_from(gpointer data)
{
    varve_ring_stop(((From *)data)->ring);
}

gboolean
varve_pipe_from_frames(VarveFrameReader *reader,
                       gboolean (*func)(const VarveSource *source, gpointer data, GError **error),
                       gpointer data, const gint *cancelled, GError **error)
{
    static const VarveStage stages[] = {{"stream-frames", read_frames}, {"stream-make", consume}};
    g_autoptr(VarveRing) ring = varve_ring_new(BLOCKS, VARVE_FRAME_MAX, 1);
    From from = {.reader = reader, .consume = func, .data = data, .cancelled = cancelled};
    from.ring = ring;
    return varve_stages_run(stages, G_N_ELEMENTS(stages), stop_from, &from, error);
}
