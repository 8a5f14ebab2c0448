/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"

/* How much an active snapshot may hold. */

typedef struct {
    VarvePool *pool;
    const char *key;
    guint64 id, parent;
} Limit;

static gboolean
find_active(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Limit *limit = data;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_lookup(txn, limit->pool, limit->key, &limit->id, &record, error))
        return FALSE;
    limit->parent = record->parent;
    return record->kind == VARVE_KIND_ACTIVE ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION, "it is not active, it is %s",
                           varve_kind_name((VarveKind)record->kind));
}

gboolean
varve_pool_can_limit(VarvePool *pool, GError **error)
{
    return pool->driver->limit != NULL ||
           varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                           "a size cannot be set: the driver '%s' of pool '%s' knows no limit for "
                           "one snapshot",
                           pool->driver->name, pool->name);
}

gboolean
varve_snapshot_limit(VarvePool *pool, const char *key, guint64 bytes, GError **error)
{
    Limit limit = {.pool = pool, .key = key};
    if (varve_pool_can_limit(pool, error) &&
        varve_store_read(pool->engine->store, find_active, &limit, error) &&
        pool->driver->limit(pool->self, limit.id, bytes, error))
        return TRUE;
    return varve_prefix_operation(error, "limiting", pool, key);
}

static gboolean
is_durable(const Limit *synced)
{
    return synced->parent != 0 && (synced->pool->driver->flags & VARVE_DRIVER_COPIES_DURABLY) != 0;
}

gboolean
varve_snapshot_sync(VarvePool *pool, const char *key, GError **error)
{
    Limit synced = {.pool = pool, .key = key};
    if (pool->relaxed)
        return TRUE;
    if (varve_store_read(pool->engine->store, find_active, &synced, error) &&
        (is_durable(&synced) || pool->driver->sync(pool->self, synced.id, error)) &&
        varve_store_sync(pool->engine->store, error))
        return TRUE;
    return varve_prefix_operation(error, "syncing", pool, key);
}
