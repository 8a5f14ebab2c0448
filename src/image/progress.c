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

/* --- pairs ------------------------------------------------------------------------------------ */

void
varve_progress_join(VarveProgressItem *item, VarveProgressPair *pair, VarveProgressHalf half)
{
    if (pair == NULL || pair->joined[half])
        return;
    pair->joined[half] = TRUE;
    item->pair = pair;
    item->half = half;
}

static gboolean
is_over(VarveImageStage stage)
{
    return stage >= VARVE_IMAGE_DONE;
}

static VarveImageStage
stage_of_both(const VarveProgressPair *pair)
{
    VarveImageStage fetch = pair->stages[VARVE_PROGRESS_FETCH];
    VarveImageStage unpack = pair->stages[VARVE_PROGRESS_UNPACK];
    if (fetch == VARVE_IMAGE_FAILED || unpack == VARVE_IMAGE_FAILED)
        return VARVE_IMAGE_FAILED;
    if (is_over(fetch) && is_over(unpack))
        return fetch == unpack ? fetch : VARVE_IMAGE_DONE;
    return is_over(fetch) ? unpack : fetch;
}

/* Makes of what one half says what is to be told of both; FALSE: nothing. */
static gboolean
merge(const VarveProgressItem *item, VarveImageStage *stage, guint64 *done)
{
    VarveProgressPair *pair = item->pair;
    pair->stages[item->half] = *stage;
    pair->done[item->half] = *done;
    VarveProgressHalf shown =
        is_over(pair->stages[VARVE_PROGRESS_FETCH]) ? VARVE_PROGRESS_UNPACK : VARVE_PROGRESS_FETCH;
    *stage = stage_of_both(pair);
    *done = *stage == VARVE_IMAGE_FAILED ? 0 : pair->done[shown];
    gboolean news = *stage != pair->stage || (shown == item->half && !is_over(*stage));
    news = news && !is_over(pair->stage);
    pair->stage = news ? *stage : pair->stage;
    return news;
}

/* --- telling ---------------------------------------------------------------------------------- */

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
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&images->progress_lock);
    if (item->pair != NULL && !merge(item, &stage, &done))
        return;
    const VarveImageProgress progress = {item->item, item->kind, stage, done, item->total};
    images->progress(&progress, images->progress_data);
}
