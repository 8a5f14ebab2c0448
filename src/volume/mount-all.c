/* SPDX-License-Identifier: Apache-2.0 */
#include "base/listing.h"
#include "base/mount.h"
#include "volume/internal.h"
#include <unistd.h>

/* What a host does with all volumes when it starts and stops: SPEC rows V8 and V9. */

static void
warn(const char *message, const char *id, GError *failure)
{
    varve_log(VARVE_LOG_WARNING, message, "volume", id, "error", failure->message, NULL);
    g_error_free(failure);
}

/* One that was destroyed since it was listed is none. */
static gboolean
mount_listed(VarveVolumes *volumes, const char *id, GError **error)
{
    g_autoptr(VarveVolumeInfo) info = NULL;
    varve_autofd lock = varve_volume_lock(volumes, id, NULL, error);
    return lock >= 0 && varve_volume_find(volumes, id, &info, error) &&
           (info == NULL || varve_volume_attach(volumes, info, error));
}

/* --- what is left of those that are gone ------------------------------------------------------ */

static void
clear_place(VarveVolumes *volumes, const char *id)
{
    GError *failure = NULL;
    g_autoptr(VarveVolumeInfo) info = NULL;
    g_autofree char *place = g_build_filename(volumes->path, id, NULL);
    varve_autofd lock = varve_volume_try_lock(volumes, id);
    if (lock < 0 || !varve_volume_find(volumes, id, &info, NULL) || info != NULL)
        return;
    gboolean mounted;
    if (varve_mount_is_point(place, &mounted, NULL) && mounted &&
        !varve_mount_detach(place, &failure))
        warn("a volume that is gone is still mounted", id, failure);
    else
        varve_volume_remove_place(volumes, id);
}

static void
clear_places(VarveVolumes *volumes)
{
    varve_autofd folder = varve_volumes_open_folder(volumes, NULL);
    g_autoptr(VarveListing) names = folder >= 0 ? varve_listing_read(folder) : NULL;
    for (gsize i = 0; names != NULL && i < varve_listing_length(names); i++) {
        const char *id = varve_listing_get(names, i).name;
        if (varve_volume_id_check(id, NULL))
            clear_place(volumes, id);
    }
}

/* --- all -------------------------------------------------------------------------------------- */

gboolean
varve_volumes_mount_all(VarveVolumes *volumes, VarveVolumesResult *result, GError **error)
{
    g_autoptr(GPtrArray) infos = varve_volumes_list(volumes, NULL, error);
    *result = (VarveVolumesResult){0};
    for (guint i = 0; infos != NULL && i < infos->len; i++) {
        GError *failure = NULL;
        const VarveVolumeInfo *info = infos->pdata[i];
        if (!varve_check_cancelled(&volumes->engine->cancelled, error))
            return FALSE;
        if (info->unattended)
            continue;
        if (mount_listed(volumes, info->id, &failure)) {
            result->done++;
            continue;
        }
        warn("volume is skipped: it cannot be mounted", info->id, failure);
        result->failed++;
    }
    if (infos != NULL && faccessat(volumes->engine->rootfd, "volumes", F_OK, 0) == 0)
        clear_places(volumes);
    return infos != NULL;
}

gboolean
varve_volumes_unmount_all(VarveVolumes *volumes, VarveVolumesResult *result, GError **error)
{
    g_autoptr(GPtrArray) infos = varve_volumes_list(volumes, NULL, error);
    *result = (VarveVolumesResult){0};
    for (guint i = 0; infos != NULL && i < infos->len; i++) {
        GError *failure = NULL;
        const VarveVolumeInfo *info = infos->pdata[i];
        if (!info->mounted)
            continue;
        if (varve_volumes_unmount(volumes, info->id, NULL, &failure)) {
            result->done++;
            continue;
        }
        warn("volume stays mounted", info->id, failure);
        result->failed++;
    }
    return infos != NULL;
}
