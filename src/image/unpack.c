/* SPDX-License-Identifier: Apache-2.0 */
#include "image/chain.h"
#include "image/internal.h"
#include "image/turn.h"
#include "layer/apply.h"
#include "snapshot/place.h"

/*
 * Layers into snapshots: SPEC rows L1 and L7.
 *
 * A layer is unpacked into an active snapshot whose key is made from its ChainID, by whoever has
 * the turn for that (turn.h). Whoever gets the turn and finds the key has found what a dead process
 * left.
 */

/* By these containerd knows what a snapshot was made from. */
#define LABEL_CHAIN "containerd.io/snapshot.ref"

typedef struct {
    VarveImages *images;
    VarvePool *pool;
    VarveLease *lease;
    const VarveImageDetails *image;
    VarveImageUnpacked *unpacked;
} Unpacking;

/* One of its layers. */
typedef struct {
    const Unpacking *unpacking;
    const VarveImageBlob *blob;
    const char *diff_id;
    const char *parent; /* "" for none */
    char *chain_id, *key;
} Layer;

static gboolean
is_there(VarvePool *pool, const char *key, gboolean *there, GError **error)
{
    g_autoptr(VarveSnapshotInfo) info = NULL;
    g_autoptr(GError) failure = NULL;
    *there = varve_snapshot_stat(pool, key, &info, &failure);
    if (*there || g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

static gboolean
fill(const Layer *layer, VarveLayerInfo *info, GError **error)
{
    const Unpacking *unpacking = layer->unpacking;
    g_auto(VarvePlace) place = VARVE_PLACE_INIT;
    varve_autofd blob =
        varve_content_open(unpacking->images->content, layer->blob->digest, NULL, error);
    if (blob < 0 || !varve_snapshot_open_place(unpacking->pool, layer->key, &place, error))
        return FALSE;
    const VarveLayerTarget target = {
        .root = place.root,
        .parent = place.below,
        .whiteouts = place.layer ? VARVE_WHITEOUTS_OVERLAY : VARVE_WHITEOUTS_REMOVE,
        .fresh = place.empty,
        .digest = layer->blob->digest,
        .diff_id = layer->diff_id,
        .watch = unpacking->images->watch,
    };
    return varve_layer_apply(varve_content_source(&blob), &target, info, error);
}

static void
count(VarveImageUnpacked *unpacked, const VarveLayerInfo *info)
{
    unpacked->unpacked++;
    unpacked->compressed += info->compressed;
    unpacked->plain += info->plain;
    unpacked->entries += info->entries;
    unpacked->xattrs_dropped += info->xattrs_dropped;
}

static gboolean
make(const Layer *layer, GError **error)
{
    VarvePool *pool = layer->unpacking->pool;
    g_autoptr(GHashTable) labels = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(labels, (char *)LABEL_CHAIN, layer->chain_id);
    if (!varve_snapshot_prepare(pool, layer->key, layer->parent, NULL, NULL, error))
        return FALSE;
    g_auto(VarveLayerInfo) info = {0};
    if (fill(layer, &info, error) &&
        varve_snapshot_commit(pool, layer->chain_id, layer->key, NULL, labels, error)) {
        count(layer->unpacking->unpacked, &info);
        return TRUE;
    }
    (void)varve_snapshot_remove(pool, layer->key, NULL);
    return FALSE;
}

/* With the turn: what is there now, nobody else is making. */
static gboolean
make_in_turn(const Layer *layer, GError **error)
{
    VarvePool *pool = layer->unpacking->pool;
    gboolean done, begun;
    if (!is_there(pool, layer->chain_id, &done, error) || done)
        return done;
    return is_there(pool, layer->key, &begun, error) &&
           (!begun || varve_snapshot_remove(pool, layer->key, error)) && make(layer, error);
}

static gboolean
unpack_layer(const Layer *layer, GError **error)
{
    const Unpacking *unpacking = layer->unpacking;
    VarveImages *images = unpacking->images;
    gboolean done;
    if (!is_there(unpacking->pool, layer->chain_id, &done, error) || done)
        return done;
    g_autofree char *what =
        g_strdup_printf("%u-%s", unpacking->pool->number, strchr(layer->chain_id, ':') + 1);
    g_autoptr(VarveTurn) turn =
        varve_turn_take(images->engine->rootfd, what, images->watch.cancelled, error);
    return turn != NULL && varve_lease_hold(unpacking->lease, layer->blob->digest, error) &&
           make_in_turn(layer, error);
}

static gboolean
unpack_layers(const Unpacking *unpacking, GError **error)
{
    const VarveImageDetails *image = unpacking->image;
    g_autofree char *parent = g_strdup("");
    for (guint i = 0; i < image->layers->len; i++) {
        const char *diff_id = image->config->diff_ids[i];
        g_autofree char *chain_id = varve_chain_id_add(parent, diff_id);
        g_autofree char *key = g_strconcat("unpack ", chain_id, NULL);
        const Layer layer = {.unpacking = unpacking,
                             .blob = g_ptr_array_index(image->layers, i),
                             .diff_id = diff_id,
                             .parent = parent,
                             .chain_id = chain_id,
                             .key = key};
        if (!unpack_layer(&layer, error)) {
            g_prefix_error(error, "layer %u of %u, %s: ", i + 1, image->layers->len,
                           layer.blob->digest);
            return FALSE;
        }
        g_free(parent);
        parent = g_steal_pointer(&chain_id);
    }
    return TRUE;
}

void
varve_image_unpacked_clear(VarveImageUnpacked *unpacked)
{
    g_clear_pointer(&unpacked->chain_id, g_free);
}

static gboolean
unpack(VarveImages *images, VarvePool *pool, const char *name, const VarvePlatform *platform,
       VarveImageUnpacked *unpacked, GError **error)
{
    g_autoptr(VarveImageDetails) image = varve_images_inspect(images, name, platform, error);
    if (image == NULL)
        return FALSE;
    if (image->config == NULL)
        return varve_error_set(
            error, VARVE_ERROR_INVALID_ARGUMENT, "it is no image of a file system, but %s",
            image->artifact_type[0] != '\0' ? image->artifact_type : image->media_type);
    g_autoptr(VarveLease) lease = varve_lease_new(images->content, error);
    const Unpacking unpacking = {images, pool, lease, image, unpacked};
    if (lease == NULL || !unpack_layers(&unpacking, error))
        return FALSE;
    unpacked->layers = image->layers->len;
    unpacked->chain_id = g_strdup(image->chain_id);
    return TRUE;
}

gboolean
varve_images_unpack(VarveImages *images, VarvePool *pool, const char *name,
                    const VarvePlatform *platform, VarveImageUnpacked *unpacked, GError **error)
{
    *unpacked = (VarveImageUnpacked){0};
    if (unpack(images, pool, name, platform, unpacked, error))
        return TRUE;
    g_prefix_error(error, "unpacking image '%s' into pool '%s': ", name, pool->name);
    return FALSE;
}
