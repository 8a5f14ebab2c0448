/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/compression.h"
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <string.h>
#include <zstd.h>

/*
 * Gzip: one member, whose deflate stream is made in chunks of a fixed size, each by whatever thread
 * is free. A chunk begins with the end of the one before as its dictionary and ends at a byte, so
 * that all of them one after the other are one stream (as pigz does it).
 */
#define CHUNK_SIZE      ((gsize)512 * 1024)
#define DICTIONARY_SIZE ((gsize)ISAL_DEF_HIST_SIZE)
#define LEVEL           3
/* What does not compress is stored, with some bytes for each block and some at the end. */
#define CHUNK_ROOM (CHUNK_SIZE + CHUNK_SIZE / 8 + 4096)

#define ZSTD_LEVEL 3
#define ZSTD_ROOM  ((gsize)128 * 1024)

typedef struct {
    guint8 *plain; /* DICTIONARY_SIZE + CHUNK_SIZE: the chunk stands behind its dictionary */
    gsize dictionary, size;
    guint8 *packed;
    gsize packed_size;
    gboolean last, done;
} Chunk;

struct VarveCompressor {
    VarveSink sink;
    guint threads;
    gboolean (*write)(VarveCompressor *c, const guint8 *bytes, gsize size, GError **error);
    gboolean (*finish)(VarveCompressor *c, GError **error);

    GThreadPool *pool;
    GMutex lock;
    GCond changed;
    Chunk *filling;
    GQueue pending; /* Chunk*, in order */
    GQueue spare;
    guint32 crc, size;

    ZSTD_CCtx *zstd;
    guint8 *room;
};

/* --- chunks ---------------------------------------------------------------------------------- */

static Chunk *
chunk_new(void)
{
    Chunk *chunk = g_new0(Chunk, 1);
    chunk->plain = g_malloc(DICTIONARY_SIZE + CHUNK_SIZE);
    chunk->packed = g_malloc(CHUNK_ROOM);
    return chunk;
}

static void
chunk_free(gpointer data)
{
    Chunk *chunk = data;
    if (chunk == NULL)
        return;
    g_free(chunk->plain);
    g_free(chunk->packed);
    g_free(chunk);
}

/* Its plain bytes, the first DICTIONARY_SIZE of which are the dictionary's place. */
static guint8 *
chunk_bytes(Chunk *chunk)
{
    return chunk->plain + DICTIONARY_SIZE;
}

static void
deflate_chunk(Chunk *chunk)
{
    g_autofree struct isal_zstream *stream = g_new(struct isal_zstream, 1);
    g_autofree guint8 *memory = g_malloc(ISAL_DEF_LVL3_DEFAULT);
    isal_deflate_init(stream);
    stream->level = LEVEL;
    stream->level_buf = memory;
    stream->level_buf_size = ISAL_DEF_LVL3_DEFAULT;
    stream->flush = chunk->last ? NO_FLUSH : SYNC_FLUSH;
    stream->end_of_stream = chunk->last;
    if (chunk->dictionary > 0)
        isal_deflate_set_dict(stream, chunk_bytes(chunk) - chunk->dictionary,
                              (guint32)chunk->dictionary);
    stream->next_in = chunk_bytes(chunk);
    stream->avail_in = (guint32)chunk->size;
    stream->next_out = chunk->packed;
    stream->avail_out = (guint32)CHUNK_ROOM;
    int failed = isal_deflate(stream);
    if (failed != COMP_OK || stream->avail_in > 0 || stream->avail_out == 0)
        g_error("libisal does not deflate: %d", failed);
    chunk->packed_size = stream->total_out;
}

static void
work(gpointer data, gpointer compressor)
{
    VarveCompressor *c = compressor;
    Chunk *chunk = data;
    deflate_chunk(chunk);
    g_mutex_lock(&c->lock);
    chunk->done = TRUE;
    g_cond_broadcast(&c->changed);
    g_mutex_unlock(&c->lock);
}

/* --- gzip ------------------------------------------------------------------------------------ */

/* Gives the oldest chunk to the sink, when it is ready or has to be waited for. */
static gboolean
pass_on(VarveCompressor *c, gboolean wait, gboolean *passed, GError **error)
{
    Chunk *chunk = g_queue_peek_head(&c->pending);
    *passed = FALSE;
    if (chunk == NULL)
        return TRUE;
    g_mutex_lock(&c->lock);
    while (wait && !chunk->done)
        g_cond_wait(&c->changed, &c->lock);
    *passed = chunk->done;
    g_mutex_unlock(&c->lock);
    if (!*passed)
        return TRUE;
    g_queue_pop_head(&c->pending);
    g_queue_push_head(&c->spare, chunk);
    return c->sink.write(c->sink.data, chunk->packed, chunk->packed_size, error);
}

static Chunk *
next_chunk(VarveCompressor *c, const Chunk *before)
{
    Chunk *chunk = g_queue_pop_head(&c->spare);
    if (chunk == NULL)
        chunk = chunk_new();
    chunk->size = 0;
    chunk->last = chunk->done = FALSE;
    chunk->dictionary = before == NULL ? 0 : DICTIONARY_SIZE;
    if (before != NULL)
        memcpy(chunk->plain, before->plain + before->size, DICTIONARY_SIZE);
    return chunk;
}

/* Hands the full chunk over and begins another one. */
static gboolean
submit(VarveCompressor *c, gboolean last, GError **error)
{
    Chunk *chunk = c->filling;
    chunk->last = last;
    c->filling = last ? NULL : next_chunk(c, chunk);
    g_queue_push_tail(&c->pending, chunk);
    g_thread_pool_push(c->pool, chunk, NULL);
    gboolean passed;
    do {
        gboolean wait = last || c->pending.length > 2 * c->threads;
        if (!pass_on(c, wait, &passed, error))
            return FALSE;
    } while (passed);
    return TRUE;
}

static gboolean
write_gzip(VarveCompressor *c, const guint8 *bytes, gsize size, GError **error)
{
    if (size > 0)
        c->crc = crc32_gzip_refl(c->crc, bytes, size);
    c->size += (guint32)size; /* modulo 2^32, as the format has it */
    while (size > 0) {
        if (c->filling->size == CHUNK_SIZE && !submit(c, FALSE, error))
            return FALSE;
        gsize n = MIN(size, CHUNK_SIZE - c->filling->size);
        memcpy(chunk_bytes(c->filling) + c->filling->size, bytes, n);
        c->filling->size += n;
        bytes += n;
        size -= n;
    }
    return TRUE;
}

/* RFC 1952: no name, no time, system unknown. */
static gboolean
begin_gzip(VarveCompressor *c, const guint8 *bytes, gsize size, GError **error)
{
    static const guint8 header[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    c->write = write_gzip;
    return c->sink.write(c->sink.data, header, sizeof header, error) &&
           write_gzip(c, bytes, size, error);
}

static void
put_number(guint8 *to, guint32 number)
{
    for (int i = 0; i < 4; i++)
        to[i] = (guint8)(number >> (8 * i));
}

static gboolean
finish_gzip(VarveCompressor *c, GError **error)
{
    guint8 trailer[8];
    if (c->write == begin_gzip && !begin_gzip(c, NULL, 0, error))
        return FALSE;
    put_number(trailer, c->crc);
    put_number(trailer + 4, c->size);
    return submit(c, TRUE, error) && c->sink.write(c->sink.data, trailer, sizeof trailer, error);
}

static void
init_gzip(VarveCompressor *c)
{
    c->pool = g_thread_pool_new(work, c, (gint)c->threads, FALSE, NULL);
    c->filling = next_chunk(c, NULL);
    c->write = begin_gzip;
    c->finish = finish_gzip;
}

/* --- zstd ------------------------------------------------------------------------------------ */

static gboolean
compress_zstd(VarveCompressor *c, ZSTD_inBuffer *input, ZSTD_EndDirective end, GError **error)
{
    for (gsize rest = 1; end == ZSTD_e_end ? rest > 0 : input->pos < input->size;) {
        ZSTD_outBuffer output = {c->room, ZSTD_ROOM, 0};
        rest = ZSTD_compressStream2(c->zstd, &output, input, end);
        if (ZSTD_isError(rest))
            return varve_error_set(error, VARVE_ERROR_INTERNAL, "compressing with zstd: %s",
                                   ZSTD_getErrorName(rest));
        if (output.pos > 0 && !c->sink.write(c->sink.data, c->room, output.pos, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
write_zstd(VarveCompressor *c, const guint8 *bytes, gsize size, GError **error)
{
    ZSTD_inBuffer input = {bytes, size, 0};
    return compress_zstd(c, &input, ZSTD_e_continue, error);
}

static gboolean
finish_zstd(VarveCompressor *c, GError **error)
{
    ZSTD_inBuffer input = {"", 0, 0};
    return compress_zstd(c, &input, ZSTD_e_end, error);
}

/* With workers the result is the same for any number of them, and another one than without. */
static void
init_zstd(VarveCompressor *c)
{
    c->zstd = ZSTD_createCCtx();
    if (c->zstd == NULL)
        g_error("no memory for libzstd");
    ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_checksumFlag, 1);
    ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_nbWorkers, (int)c->threads);
    c->room = g_malloc(ZSTD_ROOM);
    c->write = write_zstd;
    c->finish = finish_zstd;
}

/* --- neither --------------------------------------------------------------------------------- */

static gboolean
write_plain(VarveCompressor *c, const guint8 *bytes, gsize size, GError **error)
{
    return c->sink.write(c->sink.data, bytes, size, error);
}

static gboolean
finish_plain(VarveCompressor *c, GError **error)
{
    return TRUE;
}

/* --- all ------------------------------------------------------------------------------------- */

VarveCompressor *
varve_compressor_new(VarveCompression compression, guint threads, VarveSink sink)
{
    VarveCompressor *c = g_new0(VarveCompressor, 1);
    c->sink = sink;
    c->threads = threads > 0 ? threads : g_get_num_processors();
    c->threads = MIN(c->threads, 8); /* 64 MB at most */
    g_mutex_init(&c->lock);
    g_cond_init(&c->changed);
    c->write = write_plain;
    c->finish = finish_plain;
    if (compression == VARVE_COMPRESSION_GZIP)
        init_gzip(c);
    else if (compression == VARVE_COMPRESSION_ZSTD)
        init_zstd(c);
    return c;
}

void
varve_compressor_free(VarveCompressor *c)
{
    if (c == NULL)
        return;
    if (c->pool != NULL)
        g_thread_pool_free(c->pool, TRUE, TRUE);
    chunk_free(c->filling);
    g_queue_clear_full(&c->pending, chunk_free);
    g_queue_clear_full(&c->spare, chunk_free);
    ZSTD_freeCCtx(c->zstd);
    g_free(c->room);
    g_cond_clear(&c->changed);
    g_mutex_clear(&c->lock);
    g_free(c);
}

gboolean
varve_compressor_write(VarveCompressor *c, const void *bytes, gsize size, GError **error)
{
    return size == 0 || c->write(c, bytes, size, error);
}

gboolean
varve_compressor_finish(VarveCompressor *c, GError **error)
{
    return c->finish(c, error);
}
