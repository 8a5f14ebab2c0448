/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"
#include "snapshot/place.h"

/* Remove: SPEC row S5. */

typedef struct {
    VarvePool *pool;
    const char *key;
} Remove;

static gboolean
refuse_child(guint64 id, const VarveSnapshotRecord *record, gpointer data, GError **error)
{
    g_autofree char *shown = varve_key_display(record->name);
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "cannot remove a snapshot with children, '%s' is one: remove that first",
                           shown);
}

static gboolean
publish_remove(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Remove *r = data;
    guint64 id;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    return varve_lookup(txn, r->pool, r->key, &id, &record, error) &&
           varve_record_children(txn, id, refuse_child, NULL, error) &&
           varve_record_remove(txn, id, record, error);
}

gboolean
varve_snapshot_undo(VarvePool *pool, const char *key, GError **error)
{
    Remove r = {pool, key};
    if (!varve_check_key("key", key, error) || !varve_pool_publish(pool, publish_remove, &r, error))
        return varve_prefix_operation(error, "removing", pool, key);
    varve_housekeeper_wake(pool->engine->housekeeper);
    return TRUE;
}

gboolean
varve_snapshot_remove(VarvePool *pool, const char *key, GError **error)
{
    return varve_check_cancelled(&pool->engine->cancelled, error)
               ? varve_snapshot_undo(pool, key, error)
               : varve_prefix_operation(error, "removing", pool, key);
}
