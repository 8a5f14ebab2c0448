/* SPDX-License-Identifier: Apache-2.0 */
#include "image/unpack.h"
#include "image/chain.h"

static void
clear_layer(gpointer data)
{
    varve_unpack_layer_clear(data);
}

/* All layers of an image, the lowest first. */
static GArray *
plan(const VarveUnpacking *unpacking, const VarveImageDetails *image)
{
    GArray *layers = g_array_sized_new(FALSE, TRUE, sizeof(VarveUnpackLayer), image->layers->len);
    g_array_set_clear_func(layers, clear_layer);
    const char *parent = "";
    for (guint i = 0; i < image->layers->len; i++) {
        const char *diff_id = image->config->diff_ids[i];
        char *chain_id = varve_chain_id_add(parent, diff_id);
        VarveUnpackLayer layer = {.unpacking = unpacking,
                                  .blob = g_ptr_array_index(image->layers, i),
                                  .diff_id = diff_id,
                                  .parent = parent,
                                  .chain_id = chain_id,
                                  .key = g_strconcat(VARVE_UNPACK_KEY, chain_id, NULL),
                                  .place = VARVE_PLACE_INIT};
        g_array_append_val(layers, layer);
        parent = chain_id;
    }
    return layers;
}

static VarveUnpackLayer *
layer_at(GArray *layers, guint i)
{
    return &g_array_index(layers, VarveUnpackLayer, i);
}

/* Those below one that is there are there too. */
static gboolean
count_there(GArray *layers, guint *there, GError **error)
{
    gboolean found = FALSE;
    for (*there = layers->len; *there > 0; --*there) {
        if (!varve_unpack_layer_find(layer_at(layers, *there - 1), &found, error))
            return FALSE;
        if (found)
            break;
    }
    return TRUE;
}

static gboolean
unpack_in_turns(VarveUnpackLayer *layers, guint n, guint *failed, GError **error)
{
    for (*failed = 0; *failed < n; ++*failed) {
        if (!varve_unpack_layer(&layers[*failed], error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
unpack_layers(const VarveUnpacking *unpacking, GArray *layers, GError **error)
{
    guint there, failed = 0;
    if (!count_there(layers, &there, error))
        return FALSE;
    guint n = layers->len - there;
    for (guint i = 0; i < there && unpacking->arrivals != NULL; i++)
        varve_unpack_layer_pass(layer_at(layers, i));
    for (guint i = there; i < layers->len; i++)
        varve_unpack_layer_begin(layer_at(layers, i));
    gboolean beside = n > 1 && (unpacking->pool->driver->flags & VARVE_DRIVER_REBASE) != 0;
    GError *failure = NULL;
    if (n == 0 || (beside ? varve_unpack_beside : unpack_in_turns)(layer_at(layers, there), n,
                                                                   &failed, &failure))
        return TRUE;
    VarveUnpackLayer *layer = layer_at(layers, there + failed);
    if (!g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_CANCELLED))
        varve_progress_tell(&layer->progress, VARVE_IMAGE_FAILED, 0);
    g_propagate_prefixed_error(error, failure, "layer %u of %u, %s: ", there + failed + 1,
                               layers->len, layer->blob->digest);
    return FALSE;
}

static void
count(VarveImageUnpacked *unpacked, GArray *layers)
{
    for (guint i = 0; i < layers->len; i++) {
        const VarveLayerInfo *info = &layer_at(layers, i)->info;
        unpacked->unpacked += info->digest != NULL;
        unpacked->compressed += info->compressed;
        unpacked->plain += info->plain;
        unpacked->entries += info->entries;
        unpacked->xattrs_dropped += info->xattrs_dropped;
    }
}

void
varve_image_unpacked_clear(VarveImageUnpacked *unpacked)
{
    g_clear_pointer(&unpacked->chain_id, g_free);
}

gboolean
varve_unpack_image(const VarveUnpacking *unpacking, const VarveImageDetails *image,
                   VarveImageUnpacked *unpacked, GError **error)
{
    if (image->config == NULL)
        return varve_error_set(
            error, VARVE_ERROR_INVALID_ARGUMENT, "it is no image of a file system, but %s",
            image->artifact_type[0] != '\0' ? image->artifact_type : image->media_type);
    g_autoptr(GArray) layers = plan(unpacking, image);
    if (!unpack_layers(unpacking, layers, error))
        return FALSE;
    count(unpacked, layers);
    unpacked->layers = image->layers->len;
    unpacked->chain_id = g_strdup(image->chain_id);
    return TRUE;
}

static gboolean
unpack(VarveImages *images, VarvePool *pool, const char *name, const VarvePlatform *platform,
       VarveImageUnpacked *unpacked, GError **error)
{
    g_autoptr(VarveImageDetails) image = varve_images_inspect(images, name, platform, error);
    if (image == NULL)
        return FALSE;
    g_autoptr(VarveLease) lease = varve_lease_new(images->content, error);
    const VarveUnpacking unpacking = {images, pool, lease, images->watch, NULL};
    return lease != NULL && varve_unpack_image(&unpacking, image, unpacked, error);
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
