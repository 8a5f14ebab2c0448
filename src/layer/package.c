/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/package.h"
#include "base/digest.h"
#include "layer/packer.h"
#include "layer/ring.h"
#include "layer/stages.h"
#include <string.h>

/*
 * The calling thread makes the archive; one thread hashes it, one compresses it (with the help of
 * others) and hashes and hands on what comes out. Between them is a ring of blocks.
 */
#define BLOCKS     16
#define BLOCK_SIZE ((gsize)512 * 1024)

enum { HASHER, COMPRESSOR, READERS };

typedef struct {
    const VarvePackage *package;
    VarveSink sink;
    VarveRing *ring;
    guint8 *block; /* that is being filled, or NULL */
    gsize filled;
    VarveDigester *digester; /* of what is compressed */
    VarvePackageInfo info;
} Packaging;

/* --- the archive ----------------------------------------------------------------------------- */

static void
publish(Packaging *packaging)
{
    varve_ring_publish(packaging->ring, packaging->filled);
    packaging->info.plain += packaging->filled;
    packaging->block = NULL;
    packaging->filled = 0;
}

static gboolean
write_plain(gpointer data, const void *bytes, gsize size, GError **error)
{
    Packaging *packaging = data;
    const guint8 *from = bytes;
    while (size > 0) {
        if (packaging->block == NULL)
            packaging->block = varve_ring_reserve(packaging->ring);
        if (packaging->block == NULL)
            return varve_stage_stopped(error);
        gsize n = MIN(size, BLOCK_SIZE - packaging->filled);
        memcpy(packaging->block + packaging->filled, from, n);
        packaging->filled += n;
        from += n;
        size -= n;
        if (packaging->filled == BLOCK_SIZE)
            publish(packaging);
    }
    return TRUE;
}

/* An empty block is the end. */
static gboolean
end_plain(Packaging *packaging, GError **error)
{
    if (packaging->filled > 0)
        publish(packaging);
    if (varve_ring_reserve(packaging->ring) == NULL)
        return varve_stage_stopped(error);
    publish(packaging);
    return TRUE;
}

static gboolean
make_archive(gpointer data, GError **error)
{
    Packaging *packaging = data;
    const VarvePackage *package = packaging->package;
    const VarveSink plain = {write_plain, packaging};
    g_autoptr(VarvePacker) packer = varve_packer_new(package, plain, &packaging->info, error);
    return packer != NULL &&
           package->changes.tell(package->changes.data, varve_packer_add, packer, error) &&
           varve_packer_finish(packer, error) && end_plain(packaging, error);
}

/* --- hashing and compressing ----------------------------------------------------------------- */

static gboolean
hash_plain(gpointer data, GError **error)
{
    Packaging *packaging = data;
    g_autoptr(VarveDigester) digester = varve_digester_new();
    const guint8 *bytes;
    gsize size;
    do {
        if (!varve_ring_take(packaging->ring, HASHER, &bytes, &size))
            return varve_stage_stopped(error);
        varve_digester_update(digester, bytes, size);
    } while (size > 0);
    packaging->info.diff_id = varve_digester_finish(digester);
    return TRUE;
}

static gboolean
write_compressed(gpointer data, const void *bytes, gsize size, GError **error)
{
    Packaging *packaging = data;
    packaging->info.compressed += size;
    varve_digester_update(packaging->digester, bytes, size);
    return packaging->sink.write(packaging->sink.data, bytes, size, error);
}

static gboolean
compress_plain(gpointer data, GError **error)
{
    Packaging *packaging = data;
    const VarvePackage *package = packaging->package;
    g_autoptr(VarveCompressor) compressor = varve_compressor_new(
        package->compression, package->threads, (VarveSink){write_compressed, packaging});
    const guint8 *bytes;
    gsize size;
    do {
        if (!varve_ring_take(packaging->ring, COMPRESSOR, &bytes, &size))
            return varve_stage_stopped(error);
        if (!varve_compressor_write(compressor, bytes, size, error))
            return FALSE;
    } while (size > 0);
    return varve_compressor_finish(compressor, error);
}

/* --- all ------------------------------------------------------------------------------------- */

static const VarveStage stages[] = {
    {"pack", make_archive}, {"pack-hash", hash_plain}, {"pack-deflate", compress_plain}};

static void
stop(gpointer data)
{
    varve_ring_stop(((Packaging *)data)->ring);
}

void
varve_package_info_clear(VarvePackageInfo *info)
{
    g_clear_pointer(&info->diff_id, g_free);
    g_clear_pointer(&info->digest, g_free);
}

gboolean
varve_layer_package(const VarvePackage *package, VarveSink sink, VarvePackageInfo *info,
                    GError **error)
{
    Packaging packaging = {.package = package, .sink = sink};
    packaging.ring = varve_ring_new(BLOCKS, BLOCK_SIZE, READERS);
    packaging.digester = varve_digester_new();
    gboolean ok = varve_stages_run(stages, G_N_ELEMENTS(stages), stop, &packaging, error);
    if (ok)
        packaging.info.digest = varve_digester_finish(packaging.digester);
    varve_digester_free(packaging.digester);
    varve_ring_free(packaging.ring);
    if (ok)
        *info = packaging.info;
    else
        varve_package_info_clear(&packaging.info);
    return ok;
}
