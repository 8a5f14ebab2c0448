/* SPDX-License-Identifier: Apache-2.0 */
#include "image/internal.h"

VarveImages *
varve_images_open(VarveEngine *engine, GError **error)
{
    g_autoptr(VarveImages) images = g_new0(VarveImages, 1);
    images->engine = engine;
    images->watch = (VarveTreeWatch){&engine->cancelled, engine->progress, engine->progress_data};
    g_mutex_init(&images->progress_lock);
    images->content = varve_content_store_open(engine->rootfd, error);
    if (images->content == NULL) {
        g_prefix_error(error, "opening %s: ", engine->root);
        return NULL;
    }
    return g_steal_pointer(&images);
}

void
varve_images_close(VarveImages *images)
{
    if (images == NULL)
        return;
    varve_content_store_close(images->content);
    g_mutex_clear(&images->progress_lock);
    g_free(images);
}

gboolean
varve_images_hold(VarveImages *images, VarveLease *lease, const VarveDescriptor *descriptor,
                  gboolean *present, GError **error)
{
    guint64 size;
    if (!varve_lease_hold(lease, descriptor->digest, error) ||
        !varve_content_find(images->content, descriptor->digest, present, &size, error))
        return FALSE;
    return !*present || size == descriptor->size ||
           varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "blob %s has %" G_GUINT64_FORMAT " bytes, not the %" G_GUINT64_FORMAT
                           " that its descriptor says",
                           descriptor->digest, size, descriptor->size);
}

/* --- information ------------------------------------------------------------------------------ */

void
varve_image_info_free(VarveImageInfo *info)
{
    if (info == NULL)
        return;
    g_free(info->name);
    g_free(info->digest);
    g_free(info->media_type);
    g_clear_pointer(&info->platforms, g_ptr_array_unref);
    g_free(info);
}

typedef struct {
    VarveImages *images;
    VarveImageInfo *info;
} Count;

static gboolean
count_blob(const VarveDescriptor *descriptor, gpointer data, gboolean *present, GError **error)
{
    Count *count = data;
    guint64 size;
    if (!varve_content_find(count->images->content, descriptor->digest, present, &size, error))
        return FALSE;
    if (*present) {
        count->info->size += size;
        count->info->blobs++;
    }
    return TRUE;
}

/* A platform is what the index says of the manifest, or else its config says. */
static gboolean
note_platform(const VarveDescriptor *descriptor, const VarveManifest *manifest, gboolean complete,
              gpointer data, GError **error)
{
    Count *count = data;
    if (!complete)
        return TRUE;
    VarvePlatform *platform = varve_image_platform(count->images, descriptor, manifest);
    if (platform != NULL)
        g_ptr_array_add(count->info->platforms, platform);
    return TRUE;
}

VarveImageInfo *
varve_image_info_new(VarveImages *images, const VarveImageRecord *record, GError **error)
{
    g_autoptr(VarveImageInfo) info = g_new0(VarveImageInfo, 1);
    info->name = g_strdup(record->name);
    info->digest = g_strdup(record->target->digest);
    info->media_type = g_strdup(record->target->media_type);
    info->created = record->created;
    info->updated = record->updated;
    info->platforms = g_ptr_array_new_with_free_func((GDestroyNotify)varve_platform_free);

    Count count = {images, info};
    const VarveClosureVisitor visitor = {
        .blob = count_blob, .manifest = note_platform, .tolerant = TRUE, .data = &count};
    g_auto(VarveClosure) closure = {0};
    g_autoptr(VarveDescriptor) target = varve_names_target(record);
    if (!varve_closure_walk(images->content, target, &visitor, &closure, error)) {
        g_prefix_error(error, "looking at image '%s': ", record->name);
        return NULL;
    }
    info->complete = closure.complete;
    return g_steal_pointer(&info);
}

GPtrArray *
varve_images_list(VarveImages *images, GError **error)
{
    g_autoptr(GPtrArray) records = varve_names_list(images, error);
    if (records == NULL)
        return NULL;
    g_autoptr(GPtrArray) infos =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_image_info_free);
    for (guint i = 0; i < records->len; i++) {
        VarveImageInfo *info = varve_image_info_new(images, g_ptr_array_index(records, i), error);
        if (info == NULL)
            return NULL;
        g_ptr_array_add(infos, info);
    }
    return g_steal_pointer(&infos);
}

VarveImageInfo *
varve_images_find(VarveImages *images, const char *name, GError **error)
{
    g_autoptr(VarveImageRecord) record = varve_names_look_up(images, name, error);
    return record != NULL ? varve_image_info_new(images, record, error) : NULL;
}
