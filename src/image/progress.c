/* SPDX-License-Identifier: Apache-2.0 */
#include "image/internal.h"
#include "image/media-types.h"

#define BETWEEN (G_USEC_PER_SEC / 10) /* two reports of an item whose stage is the same */

const char *
varve_image_stage_name(VarveImageStage stage)
{
    static const char *const names[] = {
        [VARVE_IMAGE_WAITING] = "waiting", [VARVE_IMAGE_FETCHING] = "fetching",
        [VARVE_IMAGE_PUSHING] = "pushing", [VARVE_IMAGE_UNPACKING] = "unpacking",
        [VARVE_IMAGE_DONE] = "done",       [VARVE_IMAGE_PRESENT] = "present",
        [VARVE_IMAGE_MOUNTED] = "mounted", [VARVE_IMAGE_SKIPPED] = "skipped",
        [VARVE_IMAGE_FAILED] = "failed",
    };
    return (gsize)stage < G_N_ELEMENTS(names) ? names[stage] : "unknown";
}

void
varve_images_set_progress(VarveImages *images, VarveImageProgressFunc func, gpointer data)
{
    images->progress = func;
    images->progress_data = data;
}

const char *
varve_progress_kind(const VarveDescriptor *descriptor)
{
    switch (varve_media_kind(descriptor->media_type)) {
    case VARVE_MEDIA_INDEX:
        return "index";
    case VARVE_MEDIA_MANIFEST:
    case VARVE_MEDIA_ARTIFACT:
    case VARVE_MEDIA_SCHEMA1:
        return "manifest";
    case VARVE_MEDIA_CONFIG:
        return "config";
    case VARVE_MEDIA_LAYER:
    case VARVE_MEDIA_FOREIGN_LAYER:
        return "layer";
    default:
        return "blob";
    }
}

void
varve_progress_init(VarveProgressItem *item, VarveImages *images, const VarveDescriptor *descriptor)
{
    *item = (VarveProgressItem){.images = images,
                                .item = descriptor->digest,
                                .kind = varve_progress_kind(descriptor),
                                .total = descriptor->size,
                                .stage = VARVE_IMAGE_WAITING};
}

void
varve_progress_tell(VarveProgressItem *item, VarveImageStage stage, guint64 done)
{
    VarveImages *images = item->images;
    gint64 now = g_get_monotonic_time();
    gboolean quiet = stage == item->stage && item->told != 0 && now < item->told + BETWEEN;
    if (quiet)
        return;
    item->stage = stage;
    item->told = now;
    if (images->progress == NULL)
        return;
    const VarveImageProgress progress = {item->item, item->kind, stage, done, item->total};
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&images->progress_lock);
    images->progress(&progress, images->progress_data);
}
