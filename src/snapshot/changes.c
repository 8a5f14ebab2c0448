/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"

/* What changed in a snapshot: SPEC row D7. */

typedef struct {
    VarvePool *pool;
    const char *key;
    VarveLineage lineage;
    VarveChangeFunc func;
    gpointer data;
    GError *failure; /* func's own */
} Changes;

static gboolean
load(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Changes *c = data;
    guint64 id;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    return varve_lookup(txn, c->pool, c->key, &id, &record, error) &&
           varve_lineage_load(txn, id, (VarveKind)record->kind, record->parent, &c->lineage, error);
}

/* An error of the caller's function ends the driver's work, and is none of its errors. */
static gboolean
tell(const VarveChange *change, gpointer data, GError **error)
{
    Changes *c = data;
    return c->func(change, c->data, &c->failure);
}

static gboolean
ask_driver(VarvePool *pool, VarveDriverSnapshot *scratch, gpointer data, GError **error)
{
    Changes *c = data;
    return pool->driver->changes(pool->self, &c->lineage.snapshot, scratch->id, tell, c, error);
}

/* The snapshot is not locked meanwhile, so that it can be committed and removed; an error may then
 * be of that, which is the better message. */
static gboolean
run(Changes *c, GError **error)
{
    VarvePool *pool = c->pool;
    if (!varve_check_key("key", c->key, error) ||
        !varve_store_read(pool->engine->store, load, c, error))
        return FALSE;
    if (c->lineage.snapshot.kind == VARVE_KIND_VIEW)
        return TRUE;
    if (pool->driver->changes == NULL)
        return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED, "the driver '%s' cannot tell",
                               pool->driver->name);
    guint slot;
    VarveDriverSnapshot scratch = {0};
    g_autoptr(GError) failure = NULL;
    if (varve_make_fresh(pool, &scratch, ask_driver, c, &slot, &failure)) {
        varve_inflight_end(pool->engine->inflight, slot);
        if (c->failure == NULL)
            return TRUE;
        g_propagate_error(error, g_steal_pointer(&c->failure));
        return FALSE;
    }
    if (varve_store_read(pool->engine->store, load, c, error))
        g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

gboolean
varve_snapshot_changes(VarvePool *pool, const char *key, VarveChangeFunc func, gpointer data,
                       GError **error)
{
    Changes c = {.pool = pool, .key = key, .func = func, .data = data};
    gboolean ok = run(&c, error);
    varve_lineage_clear(&c.lineage);
    g_clear_error(&c.failure);
    return ok || varve_prefix_operation(error, "finding the changes of", pool, key);
}
