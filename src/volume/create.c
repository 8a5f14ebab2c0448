/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"
#include "volume/internal.h"

/* New volumes: SPEC rows V2, V3 and V5. */

VarveVolumeInfo *
varve_volume_plan(const VarveVolumeOptions *options, const VarveVolumeInfo *from, GError **error)
{
    static const VarveVolumeOptions none = {0};
    const VarveVolumeOptions *o = options != NULL ? options : &none;
    g_autofree char *fresh = varve_uuid_new();
    if (o->id != NULL && !varve_volume_id_check(o->id, error))
        return NULL;
    VarveVolumeInfo *info = g_new0(VarveVolumeInfo, 1);
    info->id = g_strdup(o->id != NULL ? o->id : fresh);
    info->key = g_strconcat(VARVE_VOLUME_PREFIX, info->id, NULL);
    info->type = g_strdup(o->type != NULL ? o->type
                          : from != NULL  ? from->type
                                          : VARVE_VOLUME_DEFAULT_TYPE);
    info->meta = o->meta != NULL ? g_hash_table_ref(o->meta)
                                 : g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    info->size = o->size == 0 && from != NULL ? from->size : o->size;
    info->unattended = o->no_mount;
    info->atomic = TRUE;
    return info;
}

gboolean
varve_volume_size_parse(const char *text, guint64 *size, GError **error)
{
    return varve_driver_parse_size(text, size, error);
}

gboolean
varve_volume_check_free(VarveVolumes *volumes, const char *id, GError **error)
{
    g_autoptr(VarveVolumeInfo) other = NULL;
    if (!varve_volume_find(volumes, id, &other, error))
        return FALSE;
    return other == NULL ||
           varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS,
                           "there is a volume '%s' already, in pool '%s'", id, other->provider);
}

static void
undo_create(VarveVolumes *volumes, VarvePool *pool, const VarveVolumeInfo *info)
{
    GError *failure = NULL;
    if (!varve_snapshot_remove(pool, info->key, &failure))
        varve_error_log_undo("removing a volume that could not be finished", failure);
    varve_volume_remove_place(volumes, info->id);
}

/* Made, limited, durable and mounted, or not at all. Should the process die in between, it is a
 * volume: what is missing is made up for when it is mounted. */
static gboolean
make(VarveVolumes *volumes, VarvePool *pool, const VarveVolumeInfo *plan, const char *parent,
     GError **error)
{
    g_autoptr(GHashTable) labels = varve_volume_labels_new(plan, error);
    if (labels == NULL || (plan->size > 0 && !varve_pool_can_limit(pool, error)) ||
        !varve_snapshot_prepare(pool, plan->key, parent, labels, NULL, error))
        return FALSE;
    g_autoptr(VarveVolumeInfo) made = NULL;
    if ((plan->size == 0 || varve_snapshot_limit(pool, plan->key, plan->size, error)) &&
        varve_snapshot_sync(pool, plan->key, error) &&
        (made = varve_volume_get(volumes, plan->id, error)) != NULL &&
        (plan->unattended || varve_volume_attach(volumes, made, error)))
        return TRUE;
    undo_create(volumes, pool, plan);
    return FALSE;
}

/* Under the locks. */
static VarveVolumeInfo *
make_checked(VarveVolumes *volumes, VarvePool *pool, const VarveVolumeInfo *plan,
             const char *parent, GError **error)
{
    if (pool == NULL || !varve_volume_check_free(volumes, plan->id, error) ||
        !make(volumes, pool, plan, parent, error))
        return NULL;
    return varve_volumes_inspect(volumes, plan->id, error);
}

VarveVolumeInfo *
varve_volumes_create(VarveVolumes *volumes, const VarveVolumeOptions *options, GError **error)
{
    VarveVolumeInfo *made = NULL;
    g_autoptr(VarveVolumeInfo) plan = varve_volume_plan(options, NULL, error);
    varve_autofd lock = plan != NULL ? varve_volume_lock(volumes, plan->id, NULL, error) : -1;
    if (lock >= 0) {
        const char *provider = options != NULL ? options->provider : NULL;
        VarvePool *pool = varve_engine_get_pool(volumes->engine, provider, error);
        made = make_checked(volumes, pool, plan, NULL, error);
    }
    if (made == NULL && plan != NULL)
        g_prefix_error(error, "making volume '%s': ", plan->id);
    return made;
}

/* --- fork ------------------------------------------------------------------------------------- */

static VarveVolumeInfo *
fork_locked(VarveVolumes *volumes, const char *snapshot, const VarveVolumeOptions *options,
            const char *id, GError **error)
{
    g_autoptr(VarveVolumeInfo) from = varve_volume_get(volumes, snapshot, error);
    if (from == NULL)
        return NULL;
    if (!from->snapshot) {
        varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                        "only a snapshot can be forked, and it is a volume: take a snapshot of it, "
                        "and fork that");
        return NULL;
    }
    VarveVolumeOptions with_id = options != NULL ? *options : (VarveVolumeOptions){0};
    with_id.id = id;
    g_autoptr(VarveVolumeInfo) plan = varve_volume_plan(&with_id, from, error);
    if (plan == NULL)
        return NULL;
    VarvePool *pool = varve_engine_get_pool(volumes->engine, from->provider, error);
    /* A size that came along from another host is not insisted on. */
    if (pool != NULL && with_id.size == 0 && !varve_pool_can_limit(pool, NULL))
        plan->size = 0;
    return make_checked(volumes, pool, plan, from->key, error);
}

VarveVolumeInfo *
varve_volumes_fork(VarveVolumes *volumes, const char *snapshot, const VarveVolumeOptions *options,
                   GError **error)
{
    VarveVolumeInfo *made = NULL;
    g_autofree char *fresh = varve_uuid_new();
    const char *id = options != NULL && options->id != NULL ? options->id : fresh;
    if (varve_volume_id_check(id, error) && varve_volume_id_check(snapshot, error)) {
        varve_autofd lock = varve_volume_lock(volumes, snapshot, id, error);
        if (lock >= 0)
            made = fork_locked(volumes, snapshot, options, id, error);
    }
    if (made == NULL)
        g_prefix_error(error, "forking volume '%s': ", snapshot);
    return made;
}
