/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/place.h"
#include "base/fd.h"
#include "base/mount.h"
#include "snapshot/internal.h"

void
varve_place_clear(VarvePlace *place)
{
    varve_fd_clear(&place->root);
    varve_fd_clear(&place->below);
}

typedef struct {
    VarvePool *pool;
    const char *key;
    VarveKind kind; /* that it has to be of: active; or committed, which is shown as a view on it */
    VarveLineage lineage;
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
    if (kind != o->kind)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION, "it is not %s, but %s",
                               varve_kind_name(o->kind), varve_kind_name(kind));
    if (kind == VARVE_KIND_COMMITTED)
        return varve_lineage_load(txn, 0, VARVE_KIND_VIEW, id, &o->lineage, error);
    return varve_lineage_load(txn, id, kind, record->parent, &o->lineage, error);
}

int
varve_open_mounted(VarvePool *pool, const VarveDriverSnapshot *snapshot, GError **error)
{
    g_autoptr(VarveMount) mount = pool->driver->mounts(pool->self, snapshot, error);
    return mount == NULL ? -1 : varve_mount_open(mount, pool->path, error);
}

int
varve_open_parents(VarvePool *pool, const VarveDriverSnapshot *snapshot, GError **error)
{
    VarveDriverSnapshot parents = *snapshot;
    parents.kind = VARVE_KIND_VIEW;
    return varve_open_mounted(pool, &parents, error);
}

static gboolean
open_place(VarvePool *pool, const VarveDriverSnapshot *snapshot, VarvePlace *place, GError **error)
{
    gboolean on_parents = snapshot->n_parents > 0;
    place->layer = pool->driver->open_layer != NULL;
    place->empty = place->layer || !on_parents;
    place->root = place->layer ? pool->driver->open_layer(pool->self, snapshot->id, error)
                               : varve_open_mounted(pool, snapshot, error);
    if (place->root < 0 || !place->layer || !on_parents)
        return place->root >= 0;
    place->below = varve_open_parents(pool, snapshot, error);
    return place->below >= 0;
}

gboolean
varve_snapshot_open_place(VarvePool *pool, const char *key, VarvePlace *place, GError **error)
{
    Opening o = {.pool = pool, .key = key, .kind = VARVE_KIND_ACTIVE};
    g_auto(VarvePlace) opened = VARVE_PLACE_INIT;
    gboolean ok = varve_store_read(pool->engine->store, load, &o, error) &&
                  open_place(pool, &o.lineage.snapshot, &opened, error);
    varve_lineage_clear(&o.lineage);
    if (!ok)
        return varve_prefix_operation(error, "opening", pool, key);
    *place = opened;
    opened = (VarvePlace)VARVE_PLACE_INIT;
    return TRUE;
}

int
varve_snapshot_open_tree(VarvePool *pool, const char *name, GError **error)
{
    Opening o = {.pool = pool, .key = name, .kind = VARVE_KIND_COMMITTED};
    int fd = varve_store_read(pool->engine->store, load, &o, error)
                 ? varve_open_mounted(pool, &o.lineage.snapshot, error)
                 : -1;
    varve_lineage_clear(&o.lineage);
    if (fd < 0)
        varve_prefix_operation(error, "opening", pool, name);
    return fd;
}

VarveMount *
varve_snapshot_tree_mount(VarvePool *pool, const char *name, GError **error)
{
    Opening o = {.pool = pool, .key = name, .kind = VARVE_KIND_COMMITTED};
    VarveMount *mount = varve_store_read(pool->engine->store, load, &o, error)
                            ? pool->driver->mounts(pool->self, &o.lineage.snapshot, error)
                            : NULL;
    varve_lineage_clear(&o.lineage);
    if (mount == NULL)
        varve_prefix_operation(error, "mounting", pool, name);
    return mount;
}
