/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"

/* Taking a committed snapshot out of a chain. */

#define MAX_TRIES 16

typedef struct {
    VarvePool *pool;
    const char *key;
    guint64 id;
    VarveSnapshotRecord *record;
    GArray *children; /* of guint64: as they are in the transaction that runs */
    GArray *told;     /* those that the driver has been told of */
    gboolean missed;  /* there is one more */
} Drop;

static gboolean
add_child(guint64 id, const VarveSnapshotRecord *record, gpointer data, GError **error)
{
    Drop *d = data;
    if (record->kind == VARVE_KIND_VIEW) {
        g_autofree char *shown = varve_key_display(record->name);
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "the view '%s' shows it: remove that first", shown);
    }
    g_array_append_val(d->children, id);
    return TRUE;
}

static gboolean
plan_drop(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Drop *d = data;
    g_array_set_size(d->children, 0); /* the transaction may run twice */
    g_clear_pointer(&d->record, varve_snapshot_record_free);
    if (!varve_lookup(txn, d->pool, d->key, &d->id, &d->record, error))
        return FALSE;
    return varve_record_children(txn, d->id, add_child, d, error);
}

static gboolean
has_been_told(const Drop *d, guint64 id)
{
    for (guint i = 0; i < d->told->len; i++)
        if (g_array_index(d->told, guint64, i) == id)
            return TRUE;
    return FALSE;
}

/* What it takes of its own is counted against its parent. */
static gboolean
hand_over(VarveStoreTxn *txn, guint64 id, guint64 parent, GError **error)
{
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_record_get(txn, id, &record, error))
        return FALSE;
    if (record == NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "child %" G_GUINT64_FORMAT " has no record", id);
    VarveSnapshotRecord updated = *record;
    updated.parent = parent;
    updated.usage = NULL;
    return varve_record_replace(txn, id, record, &updated, error);
}

static gboolean
publish_drop(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Drop *d = data;
    d->missed = FALSE;
    if (!plan_drop(txn, d, error))
        return FALSE;
    for (guint i = 0; i < d->children->len; i++)
        d->missed |= !has_been_told(d, g_array_index(d->children, guint64, i));
    if (d->missed)
        return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                               "others came to stand on it meanwhile: try again");
    for (guint i = 0; i < d->children->len; i++)
        if (!hand_over(txn, g_array_index(d->children, guint64, i), d->record->parent, error))
            return FALSE;
    return varve_record_remove(txn, d->id, d->record, error);
}

static gboolean
tell_driver(Drop *d, GError **error)
{
    const VarveDriver *driver = d->pool->driver;
    g_array_set_size(d->told, 0);
    g_array_append_vals(d->told, d->children->data, d->children->len);
    for (guint i = 0; driver->forget_parent != NULL && i < d->told->len; i++)
        if (!driver->forget_parent(d->pool->self, g_array_index(d->told, guint64, i), error))
            return FALSE;
    return TRUE;
}

static gboolean
run_drop(Drop *d, GError **error)
{
    VarveEngine *engine = d->pool->engine;
    for (int tries = 0;; tries++) {
        g_autoptr(GError) failure = NULL;
        if (!varve_check_cancelled(&engine->cancelled, error) ||
            !varve_store_read(engine->store, plan_drop, d, error))
            return FALSE;
        if (d->children->len > 0 && (d->pool->driver->flags & VARVE_DRIVER_WHOLE) == 0)
            return varve_error_set(
                error, VARVE_ERROR_NOT_IMPLEMENTED,
                "what stands on it needs it: the driver '%s' cannot take it away "
                "alone",
                d->pool->driver->name);
        if (!tell_driver(d, error))
            return FALSE;
        if (varve_pool_publish(d->pool, publish_drop, d, &failure))
            return TRUE;
        if (!d->missed || tries == MAX_TRIES) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return FALSE;
        }
    }
}

gboolean
varve_snapshot_drop(VarvePool *pool, const char *key, GError **error)
{
    g_autoptr(GArray) children = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_autoptr(GArray) told = g_array_new(FALSE, FALSE, sizeof(guint64));
    Drop d = {.pool = pool, .key = key, .children = children, .told = told};
    gboolean ok = varve_check_key("key", key, error) && run_drop(&d, error);
    g_clear_pointer(&d.record, varve_snapshot_record_free);
    if (!ok)
        return varve_prefix_operation(error, "removing", pool, key);
    varve_housekeeper_wake(pool->engine->housekeeper);
    return TRUE;
}
