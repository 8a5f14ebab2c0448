/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "driver/driver.h"
#include "image/media-types.h"
#include "image/mounts.h"
#include "image/package.h"

/* Layers from snapshots that are known by their mounts: SPEC row L4. */

static gboolean
find_compression(const char *media_type, VarveLayerCompression *compression, GError **error)
{
    static const struct {
        const char *media_type;
        VarveLayerCompression compression;
    } known[] = {
        {"", VARVE_LAYER_GZIP},
        {VARVE_MEDIA_OCI_LAYER "+gzip", VARVE_LAYER_GZIP},
        {VARVE_MEDIA_OCI_LAYER "+zstd", VARVE_LAYER_ZSTD},
        {VARVE_MEDIA_OCI_LAYER, VARVE_LAYER_PLAIN},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(known); i++) {
        if (g_str_equal(known[i].media_type, media_type)) {
            *compression = known[i].compression;
            return TRUE;
        }
    }
    return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                           "the media type '%s' is none that layers are made with", media_type);
}

static gboolean
open_trees(VarveEngine *engine, VarveMount *const *before, VarveMount *const *after,
           VarveDriverTrees *trees, GError **error)
{
    trees->after = varve_mounts_open_tree(engine, after, error);
    if (trees->after < 0 || before[0] == NULL)
        return trees->after >= 0;
    trees->before = varve_mounts_open_tree(engine, before, error);
    return trees->before >= 0;
}

static gboolean
package(VarveEngine *engine, VarveMount *const *before, VarveMount *const *after,
        const VarveMountsPackage *how, VarveSink sink, VarveLayer *layer, GError **error)
{
    VarveLayerOptions options = {.threads = how->threads};
    VarveDriverTrees trees = {-1, -1, how->cancelled};
    if (!find_compression(how->media_type, &options.compression, error))
        return FALSE;
    gboolean ok = open_trees(engine, before, after, &trees, error);
    if (ok) {
        const VarvePackage what = {
            .root = trees.after,
            .changes = {varve_package_differences, &trees},
            .latest = how->latest,
            .watch = {.cancelled = how->cancelled},
        };
        ok = varve_package_layer(what, &options, sink, layer, error);
    }
    varve_fd_clear(&trees.before);
    varve_fd_clear(&trees.after);
    return ok;
}

gboolean
varve_mounts_package(VarveEngine *engine, VarveMount *const *before, VarveMount *const *after,
                     const VarveMountsPackage *how, VarveSink sink, VarveLayer *layer,
                     GError **error)
{
    *layer = (VarveLayer){0};
    if (package(engine, before, after, how, sink, layer, error))
        return TRUE;
    g_prefix_error(error, "packaging: ");
    return FALSE;
}
