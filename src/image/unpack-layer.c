/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "base/fd.h"
#include "image/unpack.h"

/* By these containerd knows what a snapshot was made from. */
#define LABEL_CHAIN "containerd.io/snapshot.ref"

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

void
varve_unpack_layer_begin(VarveUnpackLayer *layer)
{
    const VarveDescriptor blob = {.media_type = layer->blob->media_type,
                                  .digest = layer->blob->digest,
                                  .size = layer->blob->size};
    VarveArrival *arrival = varve_arrivals_find(layer->unpacking->arrivals, layer->blob->digest);
    varve_progress_init(&layer->progress, layer->unpacking->images, &blob);
    varve_progress_join(&layer->progress, varve_arrival_progress(arrival), VARVE_PROGRESS_UNPACK);
    varve_progress_tell(&layer->progress, VARVE_IMAGE_WAITING, 0);
}

void
varve_unpack_layer_pass(VarveUnpackLayer *layer)
{
    varve_unpack_layer_begin(layer);
    varve_progress_tell(&layer->progress, VARVE_IMAGE_PRESENT, layer->blob->size);
}

gboolean
varve_unpack_layer_find(VarveUnpackLayer *layer, gboolean *there, GError **error)
{
    return is_there(layer->unpacking->pool, layer->chain_id, there, error);
}

char *
varve_unpack_turn(const VarvePool *pool, const char *chain_id)
{
    return g_strdup_printf("%u-%s", pool->number, varve_digest_hex(chain_id));
}

/* Waits for the turn. What is there then, nobody else is making; what a dead process began goes. */
static gboolean
take_turn(VarveUnpackLayer *layer, GError **error)
{
    const VarveUnpacking *unpacking = layer->unpacking;
    gboolean begun;
    g_autofree char *what = varve_unpack_turn(unpacking->pool, layer->chain_id);
    layer->turn =
        varve_turn_take(unpacking->images->engine->rootfd, what, unpacking->watch.cancelled, error);
    if (layer->turn == NULL || !varve_unpack_layer_find(layer, &layer->there, error))
        return FALSE;
    /* To keep it, while waiting for another one, could be to wait for each other in a ring. */
    if (layer->there) {
        g_clear_pointer(&layer->turn, varve_turn_end);
        varve_progress_tell(&layer->progress, VARVE_IMAGE_PRESENT, layer->blob->size);
    }
    return layer->there || (varve_lease_hold(unpacking->lease, layer->blob->digest, error) &&
                            is_there(unpacking->pool, layer->key, &begun, error) &&
                            (!begun || varve_snapshot_remove(unpacking->pool, layer->key, error)));
}

/* Of the thread that reads the layer. */
static void
on_bytes(const char *verb, guint64 files, guint64 bytes, gpointer data)
{
    VarveUnpackLayer *layer = data;
    varve_progress_tell(&layer->progress, VARVE_IMAGE_UNPACKING, bytes);
}

/* Where nobody wants to know of layers, the engine is told as of any other work. */
static VarveTreeWatch
watch_of(VarveUnpackLayer *layer)
{
    VarveTreeWatch watch = layer->unpacking->watch;
    if (layer->unpacking->images->progress != NULL) {
        watch.progress = on_bytes;
        watch.progress_data = layer;
    }
    return watch;
}

static gboolean
fill(VarveUnpackLayer *layer, VarveUnpackSource *source, GError **error)
{
    if (!varve_snapshot_open_place(layer->unpacking->pool, layer->key, &layer->place, error))
        return FALSE;
    const VarveLayerTarget target = {
        .root = layer->place.root,
        .parent = layer->place.below,
        .unsettled = layer->unsettled,
        .whiteouts = layer->place.layer ? VARVE_WHITEOUTS_OVERLAY : VARVE_WHITEOUTS_REMOVE,
        .fresh = layer->place.empty,
        .digest = layer->blob->digest,
        .diff_id = layer->diff_id,
        .verified = source->verified,
        .watch = watch_of(layer),
    };
    return varve_layer_apply(source->source, &target, &layer->info, error);
}

/* It needs those below it. */
static gboolean
gave_up(const VarveUnpackLayer *layer)
{
    return layer->unsettled != NULL && varve_unsettled_gave_up(layer->unsettled);
}

static gboolean
make_once(VarveUnpackLayer *layer, const char *parent, gboolean *again, GError **error)
{
    g_auto(VarveUnpackSource) source = {.blob = -1};
    *again = FALSE;
    if (!varve_unpack_source_open(layer, &source, error) ||
        !varve_snapshot_prepare(layer->unpacking->pool, layer->key, parent, NULL, NULL, error))
        return FALSE;
    varve_progress_tell(&layer->progress, VARVE_IMAGE_UNPACKING, 0);
    if (fill(layer, &source, error))
        return TRUE;
    varve_unpack_layer_undo(layer);
    *again = !gave_up(layer) && varve_unpack_source_again(&source, error);
    return FALSE;
}

static gboolean
make(VarveUnpackLayer *layer, const char *parent, GError **error)
{
    for (;;) {
        GError *failure = NULL;
        gboolean again, made = make_once(layer, parent, &again, &failure);
        if (made)
            return TRUE;
        if (!again) {
            g_propagate_error(error, failure);
            return FALSE;
        }
        g_error_free(failure);
        if (layer->unsettled != NULL) {
            varve_unsettled_free(layer->unsettled);
            layer->unsettled = varve_unsettled_new();
        }
    }
}

static gboolean
commit(VarveUnpackLayer *layer, const char *parent, GError **error)
{
    g_autoptr(GHashTable) labels = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(labels, (char *)LABEL_CHAIN, layer->chain_id);
    varve_place_clear(&layer->place);
    if (!varve_snapshot_commit(layer->unpacking->pool, layer->chain_id, layer->key, parent, labels,
                               error)) {
        varve_unpack_layer_undo(layer);
        return FALSE;
    }
    g_clear_pointer(&layer->turn, varve_turn_end);
    varve_progress_tell(&layer->progress, VARVE_IMAGE_DONE, layer->blob->size);
    return TRUE;
}

gboolean
varve_unpack_layer(VarveUnpackLayer *layer, GError **error)
{
    gboolean ok =
        take_turn(layer, error) &&
        (layer->there || (make(layer, layer->parent, error) && commit(layer, NULL, error)));
    g_clear_pointer(&layer->turn, varve_turn_end);
    return ok;
}

/* --- beside others --------------------------------------------------------------------------- */

gboolean
varve_unpack_layer_apply(VarveUnpackLayer *layer, GError **error)
{
    g_autoptr(GError) failure = NULL;
    if (!take_turn(layer, error))
        return FALSE;
    if (layer->parent[0] != '\0')
        layer->unsettled = varve_unsettled_new();
    if (layer->there || make(layer, "", &failure) || gave_up(layer))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

static gboolean
settle(VarveUnpackLayer *layer, gboolean *settled, GError **error)
{
    *settled = layer->unsettled == NULL;
    if (*settled || gave_up(layer))
        return TRUE;
    varve_autofd parent = varve_snapshot_open_tree(layer->unpacking->pool, layer->parent, error);
    return parent >= 0 &&
           varve_unsettled_settle(layer->unsettled, layer->place.root, parent, settled, error);
}

/* Once more, on its parent, for one that could not be settled. */
static gboolean
make_again(VarveUnpackLayer *layer, GError **error)
{
    varve_unpack_layer_undo(layer);
    g_clear_pointer(&layer->unsettled, varve_unsettled_free);
    varve_layer_info_clear(&layer->info);
    return make(layer, layer->parent, error) && commit(layer, NULL, error);
}

gboolean
varve_unpack_layer_commit(VarveUnpackLayer *layer, GError **error)
{
    gboolean settled;
    if (layer->there)
        return TRUE;
    if (!settle(layer, &settled, error))
        return FALSE;
    return settled ? commit(layer, layer->parent, error) : make_again(layer, error);
}

/* --- the end --------------------------------------------------------------------------------- */

/* What cannot be removed, the next attempt will. */
void
varve_unpack_layer_undo(VarveUnpackLayer *layer)
{
    varve_place_clear(&layer->place);
    if (layer->turn != NULL && !layer->there)
        (void)varve_snapshot_undo(layer->unpacking->pool, layer->key, NULL);
}

void
varve_unpack_layer_clear(VarveUnpackLayer *layer)
{
    varve_place_clear(&layer->place);
    g_clear_pointer(&layer->turn, varve_turn_end);
    g_clear_pointer(&layer->unsettled, varve_unsettled_free);
    varve_layer_info_clear(&layer->info);
    g_free(layer->chain_id);
    g_free(layer->key);
}
