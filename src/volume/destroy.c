/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/internal.h"
#include <string.h>

/* The end of volumes: SPEC row V3. */

#define MAX_NAMED 8

/* A volume and all that stands on it, each before its children. */
typedef struct {
    const VarveVolumeInfo *info;
    guint32 pool;
    GArray *numbers; /* of guint64: their snapshots */
    GPtrArray *ids;  /* char*: theirs */
} Family;

static gboolean
add_child(guint64 number, const VarveSnapshotRecord *record, gpointer data, GError **error)
{
    Family *family = data;
    if (!g_str_has_prefix(record->name, VARVE_VOLUME_PREFIX)) {
        g_autofree char *shown = varve_key_display(record->name);
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "the snapshot '%s' stands on it, which is no volume: remove that "
                               "first",
                               shown);
    }
    g_array_append_val(family->numbers, number);
    g_ptr_array_add(family->ids, g_strdup(record->name + strlen(VARVE_VOLUME_PREFIX)));
    return TRUE;
}

static gboolean
collect_family(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Family *family = data;
    guint64 number;
    g_array_set_size(family->numbers, 0); /* the transaction may run twice */
    g_ptr_array_set_size(family->ids, 0);
    if (!varve_record_find(txn, family->pool, family->info->key, &number, error))
        return FALSE;
    g_array_append_val(family->numbers, number);
    g_ptr_array_add(family->ids, g_strdup(family->info->id));
    for (guint i = 0; number != 0 && i < family->numbers->len; i++)
        if (!varve_record_children(txn, g_array_index(family->numbers, guint64, i), add_child,
                                   family, error))
            return FALSE;
    return TRUE;
}

static gboolean
refuse_family(GPtrArray *ids, GError **error)
{
    g_autoptr(GString) names = g_string_new(NULL);
    for (guint i = 1; i < ids->len && i <= MAX_NAMED; i++)
        g_string_append_printf(names, "%s'%s'", i > 1 ? ", " : "", (char *)ids->pdata[i]);
    if (ids->len > MAX_NAMED + 1)
        g_string_append(names, ", ...");
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "%s stand%s on it: destroy what stands on it first, or ask for all to "
                           "be destroyed",
                           names->str, ids->len == 2 ? "s" : "");
}

static GPtrArray *
find_family(VarveVolumes *volumes, const char *id, VarveVolumesOthers others, GError **error)
{
    g_autoptr(VarveVolumeInfo) info = varve_volume_get(volumes, id, error);
    g_autoptr(VarvePoolRecord) pool =
        info != NULL ? varve_engine_pool_record(volumes->engine, info->provider, error) : NULL;
    if (pool == NULL)
        return NULL;
    g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
    if (others == VARVE_VOLUMES_ONLY) {
        g_ptr_array_add(ids, g_strdup(id));
        return g_steal_pointer(&ids);
    }
    Family family = {.info = info, .pool = pool->number, .numbers = numbers, .ids = ids};
    if (!varve_store_read(volumes->engine->store, collect_family, &family, error) ||
        (others == VARVE_VOLUMES_REFUSE && ids->len > 1 && !refuse_family(ids, error)))
        return NULL;
    return g_steal_pointer(&ids);
}

/* The record goes once nobody has it mounted. */
static gboolean
destroy_locked(VarveVolumes *volumes, const VarveVolumeInfo *info, gboolean only, GError **error)
{
    gboolean was;
    VarvePool *pool = varve_engine_get_pool(volumes->engine, info->provider, error);
    if (pool == NULL || !varve_volume_free_of_users(volumes, info, &was, error))
        return FALSE;
    if ((only ? varve_snapshot_drop : varve_snapshot_remove)(pool, info->key, error)) {
        varve_volume_remove_place(volumes, info->id);
        return TRUE;
    }
    GError *failure = NULL;
    if (was && !varve_volume_attach(volumes, info, &failure))
        varve_error_log_undo("mounting a volume again", failure);
    return FALSE;
}

static gboolean
destroy_one(VarveVolumes *volumes, const char *id, gboolean only, gboolean gone_is_fine,
            GError **error)
{
    g_autoptr(VarveVolumeInfo) info = NULL;
    varve_autofd lock = varve_volume_lock(volumes, id, NULL, error);
    if (lock < 0 || !varve_volume_find(volumes, id, &info, error))
        return FALSE;
    if (info != NULL)
        return destroy_locked(volumes, info, only, error);
    return gone_is_fine ||
           varve_error_set(error, VARVE_ERROR_NOT_FOUND, "there is no volume '%s'", id);
}

gboolean
varve_volumes_destroy(VarveVolumes *volumes, const char *id, VarveVolumesOthers others,
                      GError **error)
{
    g_autoptr(GPtrArray) ids = find_family(volumes, id, others, error);
    gboolean ok = ids != NULL;
    for (guint i = ok ? ids->len : 0; ok && i > 0; i--)
        ok = destroy_one(volumes, ids->pdata[i - 1], others == VARVE_VOLUMES_ONLY, i > 1, error);
    if (!ok)
        g_prefix_error(error, "destroying volume '%s': ", id);
    return ok;
}
