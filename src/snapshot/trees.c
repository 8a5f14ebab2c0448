/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/trees.h"
#include "base/fd.h"
#include "snapshot/internal.h"

void
varve_trees_clear(VarveTrees *trees)
{
    g_clear_pointer(&trees->key, g_free);
    g_clear_pointer(&trees->parent, g_free);
    varve_fd_clear(&trees->after);
    varve_fd_clear(&trees->before);
}

typedef struct {
    VarvePool *pool;
    const char *key;
    VarveLineage lineage;
    char *parent;
} Opening;

static gboolean
load(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Opening *o = data;
    guint64 id;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_lookup(txn, o->pool, o->key, &id, &record, error))
        return FALSE;
    VarveKind kind = (VarveKind)record->kind;
    if (kind == VARVE_KIND_VIEW)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "it is a view, which has no changes");
    g_clear_pointer(&o->parent, g_free);
    return varve_record_name(txn, record->parent, &o->parent, error) &&
           varve_lineage_load(txn, id, kind, record->parent, &o->lineage, error);
}

/* A committed snapshot is shown as a view on it would show it. So is an active one where it is a
 * layer of overlayfs, which lets nobody mount an upper directory twice, and takes one as a lower
 * directory while it is in use; what is written to it meanwhile may or may not be seen. */
static int
open_after(VarvePool *pool, const VarveDriverSnapshot *snapshot, GError **error)
{
    if (snapshot->kind == VARVE_KIND_ACTIVE && pool->driver->open_layer == NULL)
        return varve_open_mounted(pool, snapshot, error);
    g_autofree guint64 *layers = g_new(guint64, snapshot->n_parents + 1);
    layers[0] = snapshot->id;
    for (gsize i = 0; i < snapshot->n_parents; i++)
        layers[i + 1] = snapshot->parents[i];
    const VarveDriverSnapshot view = {snapshot->id, VARVE_KIND_VIEW, layers,
                                      snapshot->n_parents + 1};
    return varve_open_mounted(pool, &view, error);
}

static gboolean
open_both(VarvePool *pool, const VarveDriverSnapshot *snapshot, VarveTrees *trees, GError **error)
{
    trees->after = open_after(pool, snapshot, error);
    if (trees->after < 0 || snapshot->n_parents == 0)
        return trees->after >= 0;
    trees->before = varve_open_parents(pool, snapshot, error);
    return trees->before >= 0;
}

gboolean
varve_snapshot_open_trees(VarvePool *pool, const char *key, VarveTrees *trees, GError **error)
{
    Opening o = {.pool = pool, .key = key};
    g_auto(VarveTrees) opened = VARVE_TREES_INIT;
    gboolean ok = varve_check_key("key", key, error) &&
                  varve_store_read(pool->engine->store, load, &o, error) &&
                  open_both(pool, &o.lineage.snapshot, &opened, error);
    opened.parent = o.parent;
    opened.id = o.lineage.snapshot.id;
    varve_lineage_clear(&o.lineage);
    if (!ok)
        return varve_prefix_operation(error, "opening", pool, key);
    *trees = opened;
    trees->pool = pool;
    trees->key = g_strdup(key);
    opened = (VarveTrees)VARVE_TREES_INIT;
    return TRUE;
}

gboolean
varve_trees_changes(const VarveTrees *trees, VarveChangeFunc func, gpointer data, GError **error)
{
    const VarveDriverTrees both = {trees->before, trees->after, &trees->pool->engine->cancelled};
    g_autoptr(VarvePlainChanges) plain = varve_plain_changes_new();
    return varve_snapshot_changes(trees->pool, trees->key, varve_plain_changes_add, plain, error) &&
           varve_plain_changes_tell(plain, &both, func, data, error);
}

gboolean
varve_trees_check(const VarveTrees *trees, GError **error)
{
    Opening o = {.pool = trees->pool, .key = trees->key};
    gboolean ok = varve_store_read(trees->pool->engine->store, load, &o, error);
    guint64 id = o.lineage.snapshot.id;
    varve_lineage_clear(&o.lineage);
    g_free(o.parent);
    if (ok && id != trees->id)
        return varve_error_set(error, VARVE_ERROR_BUSY, "it was removed meanwhile, and made again");
    return ok;
}
