/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"
#include "snapshot/identity.h"
#include "volume/internal.h"
#include <string.h>

/* Snapshots of volumes, and which ones a volume stands on: SPEC rows V4 and V6. */

/* A copy is made file by file: it is of one moment only when nobody can write meanwhile. */
static gboolean
copy_volume(VarvePool *pool, const VarveVolumeInfo *volume, const VarveVolumeInfo *plan,
            GError **error)
{
    g_autoptr(GHashTable) labels = varve_volume_labels_new(plan, error);
    return labels != NULL && varve_snapshot_capture(pool, plan->key, volume->key, labels, error);
}

static gboolean
copy_frozen(VarvePool *pool, const VarveVolumeInfo *volume, const VarveVolumeInfo *plan,
            GError **error)
{
    g_autofree char *user = varve_volume_find_user(volume);
    if (user != NULL)
        return varve_error_set(error, VARVE_ERROR_BUSY,
                               "it cannot be frozen: it is also mounted %s", user);
    if (!varve_volume_set_read_only(volume, TRUE, error))
        return FALSE;
    gboolean ok = copy_volume(pool, volume, plan, error);
    GError *failure = NULL;
    if (!varve_volume_set_read_only(volume, FALSE, &failure))
        varve_error_log_undo("making a volume writable again", failure);
    return ok;
}

/* By a driver that can only commit what nobody uses. */
static gboolean
commit_unused(VarveVolumes *volumes, VarvePool *pool, const VarveVolumeInfo *volume,
              const VarveVolumeInfo *plan, GError **error)
{
    gboolean was;
    g_autoptr(GHashTable) labels = varve_volume_labels_new(plan, error);
    if (labels == NULL || !varve_volume_free_of_users(volumes, volume, &was, error)) {
        g_prefix_error(error, "the driver '%s' can only take snapshots of what is not in use: ",
                       volume->driver);
        return FALSE;
    }
    gboolean ok = varve_snapshot_renew(pool, plan->key, volume->key, labels, error);
    GError *failure = NULL;
    if (was && !varve_volume_attach(volumes, volume, &failure))
        varve_error_log_undo("mounting a volume again", failure);
    return ok;
}

static gboolean
take(VarveVolumes *volumes, VarvePool *pool, const VarveVolumeInfo *volume, VarveVolumeInfo *plan,
     gboolean freeze, GError **error)
{
    if (pool->driver->capture == NULL)
        return commit_unused(volumes, pool, volume, plan, error);
    if ((pool->driver->flags & VARVE_DRIVER_CAPTURE_ATOMIC) != 0)
        return copy_volume(pool, volume, plan, error);
    if (freeze && volume->mounted)
        return copy_frozen(pool, volume, plan, error);
    plan->atomic = !volume->mounted;
    return copy_volume(pool, volume, plan, error);
}

static VarveVolumeInfo *
snapshot_locked(VarveVolumes *volumes, const char *id, const VarveVolumeOptions *options,
                const char *new_id, GError **error)
{
    g_autoptr(VarveVolumeInfo) volume = varve_volumes_inspect(volumes, id, error);
    if (volume == NULL || !varve_volume_check_free(volumes, new_id, error))
        return NULL;
    if (volume->snapshot) {
        varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                        "it is a snapshot itself, and never changes");
        return NULL;
    }
    VarveVolumeOptions with_id = options != NULL ? *options : (VarveVolumeOptions){0};
    with_id.id = new_id;
    g_autoptr(VarveVolumeInfo) plan = varve_volume_plan(&with_id, volume, error);
    VarvePool *pool =
        plan != NULL ? varve_engine_get_pool(volumes->engine, volume->provider, error) : NULL;
    if (pool == NULL)
        return NULL;
    plan->snapshot = TRUE;
    plan->of = g_strdup(id);
    if (!take(volumes, pool, volume, plan, with_id.freeze, error))
        return NULL;
    return varve_volume_present(volumes, new_id, error);
}

VarveVolumeInfo *
varve_volumes_snapshot(VarveVolumes *volumes, const char *id, const VarveVolumeOptions *options,
                       GError **error)
{
    VarveVolumeInfo *made = NULL;
    g_autofree char *fresh = varve_uuid_new();
    const char *new_id = options != NULL && options->id != NULL ? options->id : fresh;
    if (varve_volume_id_check(new_id, error) && varve_volume_id_check(id, error)) {
        varve_autofd lock = varve_volume_lock(volumes, id, new_id, error);
        if (lock >= 0)
            made = snapshot_locked(volumes, id, options, new_id, error);
    }
    if (made == NULL)
        g_prefix_error(error, "taking a snapshot of volume '%s': ", id);
    return made;
}

/* --- haves ------------------------------------------------------------------------------------ */

static void
free_have(gpointer data)
{
    VarveVolumeHave *have = data;
    g_free(have->uuid);
    g_free(have->id);
    g_free(have);
}

static void
add_have(GPtrArray *haves, const VarveAncestor *ancestor)
{
    if (ancestor->uuid == NULL)
        return;
    VarveVolumeHave *have = g_new0(VarveVolumeHave, 1);
    have->uuid = g_strdup(ancestor->uuid);
    if (g_str_has_prefix(ancestor->name, VARVE_VOLUME_PREFIX))
        have->id = g_strdup(ancestor->name + strlen(VARVE_VOLUME_PREFIX));
    g_ptr_array_add(haves, have);
}

GPtrArray *
varve_volumes_haves(VarveVolumes *volumes, const char *id, GError **error)
{
    g_autoptr(GPtrArray) haves = g_ptr_array_new_with_free_func(free_have), lineage = NULL;
    g_autoptr(VarveVolumeInfo) info = varve_volume_get(volumes, id, error);
    VarvePool *pool =
        info != NULL ? varve_engine_get_pool(volumes->engine, info->provider, error) : NULL;
    if (pool == NULL || (lineage = varve_identity_lineage(pool, info->key, error)) == NULL) {
        g_prefix_error(error, "looking up what volume '%s' stands on: ", id);
        return NULL;
    }
    for (guint i = 0; i < lineage->len; i++)
        add_have(haves, lineage->pdata[i]);
    return g_steal_pointer(&haves);
}
