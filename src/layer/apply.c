/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/apply.h"
#include "base/digest.h"
#include "base/stream.h"
#include "layer/compression.h"
#include "layer/ring.h"
#include "layer/stages.h"
#include "layer/writer.h"
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

/*
 * The calling thread reads and hashes the compressed bytes; one thread decompresses them, one
 * hashes what comes out, one makes the entries. Between them are rings of blocks: what a slow disk
 * or a slow network holds up is held up, and memory is bounded.
 */
#define COMPRESSED_BLOCKS     8
#define COMPRESSED_BLOCK_SIZE ((gsize)256 * 1024)
#define PLAIN_BLOCKS          16
#define PLAIN_BLOCK_SIZE      ((gsize)512 * 1024)

G_STATIC_ASSERT(PLAIN_BLOCK_SIZE % VARVE_TAR_BLOCK == 0);

enum { HASHER, WRITER, PLAIN_READERS };

typedef struct {
    const VarveLayerTarget *target;
    VarveSource source;
    VarveRing *compressed, *plain;
    VarveLayerInfo info;

    /* Of the thread that decompresses: its block of the compressed ring. */
    const guint8 *block;
    gsize block_left;
} Apply;

/* --- reading --------------------------------------------------------------------------------- */

static gboolean
check_digest(const char *what, const char *wanted, const char *found, GError **error)
{
    return wanted == NULL || g_str_equal(wanted, found) ||
           varve_error_set(error, VARVE_ERROR_CORRUPT, "%s is %s, and should be %s", what, found,
                           wanted);
}

static gboolean
read_source(gpointer data, GError **error)
{
    Apply *apply = data;
    g_autoptr(VarveDigester) digester = apply->target->verified ? NULL : varve_digester_new();
    const VarveTreeWatch *watch = &apply->target->watch;
    for (gssize size = 1; size > 0;) {
        guint8 *block = varve_ring_reserve(apply->compressed);
        if (block == NULL)
            return varve_stage_stopped(error);
        /* Blocks are filled, so that a source of small pieces costs no more than another one. */
        size = varve_source_fill(apply->source, block, COMPRESSED_BLOCK_SIZE, error);
        if (size < 0 || !varve_check_cancelled(watch->cancelled, error))
            return FALSE;
        varve_ring_publish(apply->compressed, (gsize)size);
        if (digester != NULL) /* the block is not written again before */
            varve_digester_update(digester, block, (gsize)size);
        apply->info.compressed += (guint64)size;
        if (watch->progress != NULL)
            watch->progress("unpacking", 0, apply->info.compressed, watch->progress_data);
    }
    apply->info.digest =
        digester != NULL ? varve_digester_finish(digester) : g_strdup(apply->target->digest);
    return check_digest("the digest of the layer", apply->target->digest, apply->info.digest,
                        error);
}

/* --- decompressing --------------------------------------------------------------------------- */

static gssize
read_compressed(gpointer data, void *buffer, gsize size, GError **error)
{
    Apply *apply = data;
    if (apply->block_left == 0 &&
        !varve_ring_take(apply->compressed, 0, &apply->block, &apply->block_left)) {
        varve_stage_stopped(error);
        return -1;
    }
    gsize n = MIN(size, apply->block_left);
    memcpy(buffer, apply->block, n);
    apply->block += n;
    apply->block_left -= n;
    return (gssize)n;
}

static gboolean
decompress(gpointer data, GError **error)
{
    Apply *apply = data;
    guint64 limit = apply->target->limits.bytes;
    g_autoptr(VarveDecompressor) decompressor =
        varve_decompressor_new((VarveSource){read_compressed, apply});
    for (gssize size = 1; size > 0;) {
        guint8 *block = varve_ring_reserve(apply->plain);
        if (block == NULL)
            return varve_stage_stopped(error);
        size = varve_decompressor_read(decompressor, block, PLAIN_BLOCK_SIZE, error);
        if (size < 0)
            return FALSE;
        apply->info.plain += (guint64)size;
        if (limit > 0 && apply->info.plain > limit)
            return varve_error_set(
                error, VARVE_ERROR_CORRUPT,
                "the layer has more than %" G_GUINT64_FORMAT " bytes, which is the limit", limit);
        varve_ring_publish(apply->plain, (gsize)size);
    }
    return TRUE;
}

/* --- hashing --------------------------------------------------------------------------------- */

static gboolean
hash_plain(gpointer data, GError **error)
{
    Apply *apply = data;
    g_autoptr(VarveDigester) digester = varve_digester_new();
    const guint8 *bytes;
    gsize size;
    do {
        if (!varve_ring_take(apply->plain, HASHER, &bytes, &size))
            return varve_stage_stopped(error);
        varve_digester_update(digester, bytes, size);
    } while (size > 0);
    apply->info.diff_id = varve_digester_finish(digester);
    return check_digest("the digest of the decompressed layer", apply->target->diff_id,
                        apply->info.diff_id, error);
}

/* --- writing --------------------------------------------------------------------------------- */

static gboolean
next_plain(gpointer data, const guint8 **bytes, gsize *size, GError **error)
{
    Apply *apply = data;
    return varve_ring_take(apply->plain, WRITER, bytes, size) || varve_stage_stopped(error);
}

static gboolean
write_entries(Apply *apply, VarveTar *tar, VarveWriter *writer, GError **error)
{
    guint64 limit = apply->target->limits.entries;
    const VarveTarEntry *entry;
    while (varve_tar_next(tar, &entry, error)) {
        if (entry == NULL)
            return varve_writer_finish(writer, error);
        if (limit > 0 && apply->info.entries == limit)
            return varve_error_set(
                error, VARVE_ERROR_CORRUPT,
                "the layer has more than %" G_GUINT64_FORMAT " entries, which is the limit", limit);
        apply->info.entries++;
        if (!varve_writer_add(writer, tar, entry, error))
            return FALSE;
    }
    return FALSE;
}

static gboolean
write_tree(gpointer data, GError **error)
{
    Apply *apply = data;
    /* The umask is this thread's alone from here on. */
    gboolean exact_modes = unshare(CLONE_FS) == 0;
    if (exact_modes)
        umask(0);
    g_autoptr(VarveWriter) writer = varve_writer_new(apply->target, exact_modes, error);
    if (writer == NULL)
        return FALSE;
    g_autoptr(VarveTar) tar = varve_tar_new((VarveTarInput){next_plain, apply});
    if (!write_entries(apply, tar, writer, error) || !varve_tar_drain(tar, error))
        return FALSE;
    apply->info.xattrs_dropped = varve_writer_xattrs_dropped(writer);
    return TRUE;
}

/* --- all ------------------------------------------------------------------------------------- */

static const VarveStage stages[] = {{"layer-read", read_source},
                                    {"layer-inflate", decompress},
                                    {"layer-hash", hash_plain},
                                    {"layer-write", write_tree}};

static void
stop(gpointer data)
{
    Apply *apply = data;
    varve_ring_stop(apply->compressed);
    varve_ring_stop(apply->plain);
}

void
varve_layer_info_clear(VarveLayerInfo *info)
{
    g_clear_pointer(&info->digest, g_free);
    g_clear_pointer(&info->diff_id, g_free);
}

gboolean
varve_layer_apply(VarveSource source, const VarveLayerTarget *target, VarveLayerInfo *info,
                  GError **error)
{
    Apply apply = {.target = target, .source = source};
    apply.compressed = varve_ring_new(COMPRESSED_BLOCKS, COMPRESSED_BLOCK_SIZE, 1);
    apply.plain = varve_ring_new(PLAIN_BLOCKS, PLAIN_BLOCK_SIZE, PLAIN_READERS);
    gboolean ok = varve_stages_run(stages, G_N_ELEMENTS(stages), stop, &apply, error);
    varve_ring_free(apply.compressed);
    varve_ring_free(apply.plain);
    if (ok)
        *info = apply.info;
    else
        varve_layer_info_clear(&apply.info);
    return ok;
}
