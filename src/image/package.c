/* SPDX-License-Identifier: Apache-2.0 */
#include "image/package.h"
#include "base/fd.h"
#include "image/internal.h"
#include "image/media-types.h"

/* Snapshots into layers: SPEC row L4. */

static const struct {
    VarveCompression compression;
    const char *media_type;
} kinds[] = {
    [VARVE_LAYER_GZIP] = {VARVE_COMPRESSION_GZIP, VARVE_MEDIA_OCI_LAYER "+gzip"},
    [VARVE_LAYER_ZSTD] = {VARVE_COMPRESSION_ZSTD, VARVE_MEDIA_OCI_LAYER "+zstd"},
    [VARVE_LAYER_PLAIN] = {VARVE_COMPRESSION_NONE, VARVE_MEDIA_OCI_LAYER},
};

void
varve_layer_clear(VarveLayer *layer)
{
    g_clear_pointer(&layer->diff_id, g_free);
    g_clear_pointer(&layer->digest, g_free);
}

gboolean
varve_package_layer(VarvePackage what, const VarveLayerOptions *options, VarveSink sink,
                    VarveLayer *layer, GError **error)
{
    static const VarveLayerOptions plain = {.compression = VARVE_LAYER_GZIP};
    VarvePackageInfo info = {0};
    if (options == NULL)
        options = &plain;
    if ((gsize)options->compression >= G_N_ELEMENTS(kinds))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "unknown compression");
    what.compression = kinds[options->compression].compression;
    what.threads = options->threads;
    if (!varve_layer_package(&what, sink, &info, error))
        return FALSE;
    *layer = (VarveLayer){
        .diff_id = info.diff_id,
        .digest = info.digest,
        .media_type = kinds[options->compression].media_type,
        .size = info.compressed,
        .plain = info.plain,
        .entries = info.entries,
        .whiteouts = info.whiteouts,
        .sockets = info.sockets,
        .unquiet = info.unquiet,
    };
    return TRUE;
}

/* The engine may be NULL. */
static VarveTreeWatch
watch_of(const VarveEngine *engine)
{
    if (engine == NULL)
        return (VarveTreeWatch){NULL, NULL, NULL};
    return (VarveTreeWatch){&engine->cancelled, engine->progress, engine->progress_data};
}

/* --- a descriptor ---------------------------------------------------------------------------- */

static gboolean
write_descriptor(gpointer data, const void *bytes, gsize size, GError **error)
{
    const int *fd = data;
    return varve_fd_write_all(*fd, bytes, size, VARVE_FD_HERE) ||
           varve_error_set_errno(error, errno, "writing the layer");
}

/* --- snapshots ------------------------------------------------------------------------------- */

static gboolean
tell_changes(gpointer data, VarveChangeFunc func, gpointer func_data, GError **error)
{
    return varve_trees_changes(data, func, func_data, error);
}

/* Files that a removal takes away while they are read look as if they had been deleted, so whether
 * the snapshot is still there is asked last. */
gboolean
varve_trees_package(const VarveTrees *trees, const VarveLayerOptions *options, VarveSink sink,
                    VarveLayer *layer, GError **error)
{
    const VarvePackage what = {
        .root = trees->after,
        .changes = {tell_changes, (gpointer)trees},
        .watch = watch_of(trees->pool->engine),
    };
    if (!varve_package_layer(what, options, sink, layer, error))
        return FALSE;
    if (varve_trees_check(trees, error))
        return TRUE;
    varve_layer_clear(layer);
    return FALSE;
}

gboolean
varve_snapshot_package(VarvePool *pool, const char *key, const VarveLayerOptions *options, int fd,
                       VarveLayer *layer, GError **error)
{
    g_auto(VarveTrees) trees = VARVE_TREES_INIT;
    const VarveSink sink = {write_descriptor, &fd};
    *layer = (VarveLayer){0};
    if (!varve_snapshot_open_trees(pool, key, &trees, error))
        return FALSE;
    return varve_trees_package(&trees, options, sink, layer, error) ||
           varve_prefix_operation(error, "packaging", pool, key);
}

/* --- directories ----------------------------------------------------------------------------- */

gboolean
varve_package_differences(gpointer trees, VarveChangeFunc func, gpointer data, GError **error)
{
    return varve_driver_compare_trees(trees, func, data, error);
}

gboolean
varve_directories_package(VarveEngine *engine, int before, int after,
                          const VarveLayerOptions *options, int fd, VarveLayer *layer,
                          GError **error)
{
    VarveDriverTrees trees = {before, after, engine != NULL ? &engine->cancelled : NULL};
    const VarvePackage what = {
        .root = after, .changes = {varve_package_differences, &trees}, .watch = watch_of(engine)};
    const VarveSink sink = {write_descriptor, &fd};
    *layer = (VarveLayer){0};
    if (varve_package_layer(what, options, sink, layer, error))
        return TRUE;
    g_prefix_error(error, "packaging: ");
    return FALSE;
}
