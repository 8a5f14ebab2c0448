/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"

/* Prepare and view: SPEC rows S1 and S2. */

#define MAX_ID_TRIES 1000

typedef struct {
    VarvePool *pool;
    VarveKind kind;
    const char *key, *parent;
    VarveLabels labels;
    guint64 id;
    VarveLineage lineage;
} Create;

static gboolean
plan_create(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Create *c = data;
    guint64 parent;
    return varve_rule_pool(txn, c->pool, error) &&
           varve_rule_free(txn, c->pool, "key", c->key, error) &&
           varve_rule_parent(txn, c->pool, c->parent, VARVE_ERROR_INVALID_ARGUMENT, &parent,
                             error) &&
           varve_lineage_load(txn, c->id, c->kind, parent, &c->lineage, error);
}

static gboolean
publish_create(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Create *c = data;
    guint64 parent;
    if (!varve_rule_pool(txn, c->pool, error) ||
        !varve_rule_free(txn, c->pool, "key", c->key, error) ||
        !varve_rule_parent(txn, c->pool, c->parent, VARVE_ERROR_INVALID_ARGUMENT, &parent, error))
        return FALSE;
    guint64 planned = c->lineage.snapshot.n_parents > 0 ? c->lineage.snapshot.parents[0] : 0;
    if (parent != planned)
        return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                               "the parent was replaced meanwhile: try again");

    VarveSnapshotRecord record = VARVE__STORE__SNAPSHOT__INIT;
    record.pool = c->pool->number;
    record.name = (char *)c->key;
    record.kind = c->kind;
    record.parent = parent;
    record.created = record.updated = varve_now();
    record.labels = c->labels.pointers;
    record.n_labels = c->labels.n;
    return varve_record_add(txn, c->id, &record, error);
}

gboolean
varve_make_fresh(VarvePool *pool, VarveDriverSnapshot *snapshot, VarveMakeFunc func, gpointer data,
                 guint *slot, GError **error)
{
    VarveInflight *inflight = pool->engine->inflight;
    for (int tries = 0; tries < MAX_ID_TRIES; tries++) {
        g_autoptr(GError) failure = NULL;
        snapshot->id = varve_inflight_new_id(inflight);
        if (!varve_inflight_begin(inflight, pool->number, snapshot->id, slot))
            continue;
        if (func(pool, snapshot, data, &failure))
            return TRUE;
        varve_inflight_end(inflight, *slot);
        if (!g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS)) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return FALSE;
        }
    }
    return varve_error_set(error, VARVE_ERROR_INTERNAL,
                           "%d ids in a row are taken on disk: run 'varve system cleanup'",
                           MAX_ID_TRIES);
}

static gboolean
create_on_disk(VarvePool *pool, VarveDriverSnapshot *snapshot, gpointer data, GError **error)
{
    return pool->driver->create(pool->self, snapshot, error);
}

static gboolean
run_create(Create *c, VarveMount **mount, GError **error)
{
    VarvePool *pool = c->pool;
    VarveEngine *engine = pool->engine;
    guint slot;
    if (!varve_check_cancelled(&engine->cancelled, error) ||
        !varve_store_read(engine->store, plan_create, c, error))
        return FALSE;

    g_autoptr(GError) failure = NULL;
    if (!varve_make_fresh(pool, &c->lineage.snapshot, create_on_disk, NULL, &slot, &failure)) {
        /* Why it failed may be that the parent went away; then that is the better message. */
        if (varve_store_read(engine->store, plan_create, c, error))
            g_propagate_error(error, g_steal_pointer(&failure));
        return FALSE;
    }
    c->id = c->lineage.snapshot.id;

    VarveMount *made = NULL;
    gboolean ok = (mount == NULL || (made = pool->driver->mounts(pool->self, &c->lineage.snapshot,
                                                                 error)) != NULL) &&
                  varve_pool_publish(pool, publish_create, c, error);
    if (!ok) {
        varve_search_undo(pool, c->id);
        g_clear_pointer(&made, varve_mount_free);
    }
    varve_inflight_end(engine->inflight, slot);
    if (ok && mount != NULL)
        *mount = made;
    return ok;
}

static gboolean
create(VarvePool *pool, VarveKind kind, const char *key, const char *parent, GHashTable *labels,
       VarveMount **mount, GError **error)
{
    Create c = {.pool = pool, .kind = kind, .key = key, .parent = parent};
    gboolean ok = varve_check_key("key", key, error) && varve_check_labels(labels, error);
    if (ok) {
        varve_labels_pack(labels, &c.labels);
        ok = run_create(&c, mount, error);
        varve_labels_clear(&c.labels);
        varve_lineage_clear(&c.lineage);
    }
    return ok || varve_prefix_operation(error, kind == VARVE_KIND_VIEW ? "viewing" : "preparing",
                                        pool, key);
}

gboolean
varve_snapshot_prepare(VarvePool *pool, const char *key, const char *parent, GHashTable *labels,
                       VarveMount **mount, GError **error)
{
    return create(pool, VARVE_KIND_ACTIVE, key, parent, labels, mount, error);
}

gboolean
varve_snapshot_view(VarvePool *pool, const char *key, const char *parent, GHashTable *labels,
                    VarveMount **mount, GError **error)
{
    return create(pool, VARVE_KIND_VIEW, key, parent, labels, mount, error);
}
