/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/pipe.h"
#include "layer/ring-bytes.h"
#include "layer/stages.h"
#include <string.h>

#define BLOCKS 8

/* --- into frames ------------------------------------------------------------------------------ */

typedef struct {
    VarveFrameWriter *writer;
    gboolean (*produce)(const VarveSink *sink, gpointer data, GError **error);
    gpointer data;
    VarveStreamProgress *progress;
    VarveRing *ring;
    VarveRingWriter payload;
} Into;

static gboolean
produce(gpointer data, GError **error)
{
    Into *into = data;
    const VarveSink sink = varve_ring_writer_sink(&into->payload);
    return into->produce(&sink, into->data, error) && varve_ring_writer_end(&into->payload, error);
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
        varve_stream_progress_tell(into->progress, varve_frame_writer_payload(into->writer),
                                   varve_frame_writer_bytes(into->writer));
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
                       gpointer data, VarveStreamProgress *progress, GError **error)
{
    static const VarveStage stages[] = {{"stream-tell", produce}, {"stream-frames", write_frames}};
    g_autoptr(VarveRing) ring = varve_ring_new(BLOCKS, VARVE_FRAME_MAX, 1);
    Into into = {.writer = writer, .produce = func, .data = data, .progress = progress};
    into.ring = ring;
    into.payload = (VarveRingWriter){.ring = ring, .block_size = VARVE_FRAME_MAX};
    return varve_stages_run(stages, G_N_ELEMENTS(stages), stop_into, &into, error);
}

/* --- from frames ------------------------------------------------------------------------------ */

typedef struct {
    VarveFrameReader *reader;
    gboolean (*consume)(const VarveSource *source, gpointer data, GError **error);
    gpointer data;
    VarveStreamProgress *progress;
    const gint *cancelled;
    VarveRing *ring;
    VarveRingReader payload;
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
        varve_stream_progress_tell(from->progress, varve_frame_reader_payload(from->reader),
                                   varve_frame_reader_bytes(from->reader));
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

static gboolean
consume(gpointer data, GError **error)
{
    From *from = data;
    const VarveSource source = varve_ring_reader_source(&from->payload);
    guint8 more;
    if (!from->consume(&source, from->data, error))
        return FALSE;
    gssize n = source.read(source.data, &more, 1, error);
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
                       gpointer data, VarveStreamProgress *progress, const gint *cancelled,
                       GError **error)
{
    static const VarveStage stages[] = {{"stream-frames", read_frames}, {"stream-make", consume}};
    g_autoptr(VarveRing) ring = varve_ring_new(BLOCKS, VARVE_FRAME_MAX, 1);
    From from = {.reader = reader, .consume = func, .data = data, .progress = progress};
    from.cancelled = cancelled;
    from.ring = ring;
    from.payload.ring = ring;
    return varve_stages_run(stages, G_N_ELEMENTS(stages), stop_from, &from, error);
}
