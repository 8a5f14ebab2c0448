/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/internal.h"

/* Changing what is known of a volume or snapshot. */

static void
add_field(GPtrArray *fields, const char *label)
{
    g_ptr_array_add(fields, g_strconcat("labels.", label, NULL));
}

gboolean
varve_volume_set_labels(VarveVolumes *volumes, const VarveVolumeInfo *info, GHashTable *labels,
                        GPtrArray *removed, GError **error)
{
    GHashTableIter iter;
    gpointer key;
    g_autoptr(GPtrArray) fields = g_ptr_array_new_with_free_func(g_free);
    g_hash_table_iter_init(&iter, labels);
    while (g_hash_table_iter_next(&iter, &key, NULL))
        add_field(fields, key);
    for (guint i = 0; i < removed->len; i++)
        if (!g_hash_table_contains(labels, removed->pdata[i]))
            add_field(fields, removed->pdata[i]);
    if (fields->len == 0)
        return TRUE;
    g_ptr_array_add(fields, NULL);
    VarvePool *pool = varve_engine_get_pool(volumes->engine, info->provider, error);
    return pool != NULL && varve_snapshot_update(pool, info->key, labels,
                                                 (const char *const *)fields->pdata, NULL, error);
}

/* Under the lock. */
static gboolean
change_meta(VarveVolumes *volumes, const char *id, GHashTable *meta, const char *const *removed,
            GError **error)
{
    GHashTableIter iter;
    gpointer key;
    g_autoptr(GHashTable) labels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GPtrArray) gone = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(VarveVolumeInfo) info = varve_volume_get(volumes, id, error);
    if (info == NULL || (meta != NULL && !varve_volume_labels_add_meta(labels, meta, error)))
        return FALSE;
    for (; removed != NULL && *removed != NULL; removed++)
        g_ptr_array_add(gone, varve_volume_meta_label(*removed));
    g_hash_table_iter_init(&iter, info->meta);
    while (removed == NULL && g_hash_table_iter_next(&iter, &key, NULL))
        g_ptr_array_add(gone, varve_volume_meta_label(key));
    return varve_volume_set_labels(volumes, info, labels, gone, error);
}

VarveVolumeInfo *
varve_volumes_set_meta(VarveVolumes *volumes, const char *id, GHashTable *meta,
                       const char *const *removed, GError **error)
{
    VarveVolumeInfo *changed = NULL;
    varve_autofd lock =
        varve_volume_id_check(id, error) ? varve_volume_lock(volumes, id, NULL, error) : -1;
    if (lock >= 0 && change_meta(volumes, id, meta, removed, error))
        changed = varve_volumes_inspect(volumes, id, error);
    if (changed == NULL)
        g_prefix_error(error, "changing the meta of volume '%s': ", id);
    return changed;
}
