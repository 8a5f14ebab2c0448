/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"
#include <string.h>

/* Changing labels: SPEC rows S6 and S7. */

typedef struct {
    VarvePool *pool;
    const char *key;
    GHashTable *labels;
    const char *const *fields;
    VarveSnapshotInfo *info;
} Update;

/* Sets in table what one field of the mask asks for. */
static gboolean
apply_field(Update *u, const char *field, GHashTable *table, GError **error)
{
    if (g_str_equal(field, "labels")) {
        g_hash_table_remove_all(table);
        GHashTableIter iter;
        gpointer key, value;
        if (u->labels == NULL)
            return TRUE;
        g_hash_table_iter_init(&iter, u->labels);
        while (g_hash_table_iter_next(&iter, &key, &value))
            g_hash_table_replace(table, g_strdup(key), g_strdup(value));
        return TRUE;
    }
    if (g_str_has_prefix(field, "labels.")) {
        const char *key = field + strlen("labels.");
        const char *value = u->labels != NULL ? g_hash_table_lookup(u->labels, key) : NULL;
        g_hash_table_replace(table, g_strdup(key), g_strdup(value != NULL ? value : ""));
        return TRUE;
    }
    g_autofree char *shown = varve_key_display(field);
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "the field '%s' cannot be changed, only labels can", shown);
}

static gboolean
apply_fields(Update *u, GHashTable *table, GError **error)
{
    static const char *const all[] = {"labels", NULL};
    const char *const *fields = u->fields != NULL && u->fields[0] != NULL ? u->fields : all;
    for (; *fields != NULL; fields++) {
        if (!apply_field(u, *fields, table, error))
            return FALSE;
    }
    return varve_check_labels(table, error);
}

static gboolean
publish_update(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Update *u = data;
    guint64 id;
    g_autofree char *parent = NULL;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_lookup(txn, u->pool, u->key, &id, &record, error) ||
        !varve_record_name(txn, record->parent, &parent, error))
        return FALSE;
    g_autoptr(GHashTable) table = varve_labels_unpack(record->labels, record->n_labels);
    if (!apply_fields(u, table, error))
        return FALSE;

    g_auto(VarveLabels) labels;
    varve_labels_pack(table, &labels);
    VarveSnapshotRecord updated = *record;
    updated.updated = varve_now();
    updated.labels = labels.pointers;
    updated.n_labels = labels.n;
    g_clear_pointer(&u->info, varve_snapshot_info_free); /* the transaction may run twice */
    u->info = varve_snapshot_info_new(&updated, parent);
    return varve_record_replace(txn, id, record, &updated, error);
}

gboolean
varve_snapshot_update(VarvePool *pool, const char *key, GHashTable *labels,
                      const char *const *fields, VarveSnapshotInfo **info, GError **error)
{
    Update u = {.pool = pool, .key = key, .labels = labels, .fields = fields};
    gboolean ok = varve_check_key("key", key, error) && varve_check_labels(labels, error) &&
                  varve_pool_publish(pool, publish_update, &u, error);
    if (ok && info != NULL)
        *info = g_steal_pointer(&u.info);
    g_clear_pointer(&u.info, varve_snapshot_info_free);
    return ok || varve_prefix_operation(error, "updating", pool, key);
}
