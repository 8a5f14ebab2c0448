/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"

/* Commit and capture: SPEC rows S3 and L3. */

typedef struct {
    VarvePool *pool;
    const char *name, *key, *parent;
    VarveLabels labels;
    guint64 id;
    guint64 expected;     /* the id that the work on disk was done for */
    guint64 captured;     /* by a capture: the id of the committed one */
    guint64 renewed;      /* by a renewal: the id of the active one that goes on */
    VarveLineage lineage; /* of that one */
} Commit;

/* The parent that the committed snapshot will have. Only one that was prepared on nothing can be
 * given another, and only where the driver can show its content on top of that. */
static gboolean
commit_parent(VarveStoreTxn *txn, Commit *c, const VarveSnapshotRecord *record, guint64 *parent,
              GError **error)
{
    if (!varve_rule_parent(txn, c->pool, c->parent, VARVE_ERROR_FAILED_PRECONDITION, parent, error))
        return FALSE;
    if (*parent == 0 || *parent == record->parent) {
        *parent = record->parent;
        return TRUE;
    }
    if (record->parent != 0)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "it was prepared on another parent, which cannot be changed");
    if ((c->pool->driver->flags & VARVE_DRIVER_REBASE) == 0)
        return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                               "the driver '%s' cannot rebase: prepare it on its parent",
                               c->pool->driver->name);
    return TRUE;
}

/* All rules of a commit. *record is the active one. */
static gboolean
check_commit(VarveStoreTxn *txn, Commit *c, VarveSnapshotRecord **record, guint64 *parent,
             GError **error)
{
    if (!varve_lookup(txn, c->pool, c->key, &c->id, record, error))
        return FALSE;
    if ((*record)->kind != VARVE_KIND_ACTIVE)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION, "it is not active, it is %s",
                               varve_kind_name((VarveKind)(*record)->kind));
    return varve_rule_free(txn, c->pool, "name", c->name, error) &&
           commit_parent(txn, c, *record, parent, error);
}

static gboolean
plan_commit(VarveStoreTxn *txn, gpointer data, GError **error)
{
    guint64 parent;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    return check_commit(txn, data, &record, &parent, error);
}

/* The committed snapshot's record, made from the active one's. Its pointers stay theirs. */
static VarveSnapshotRecord
committed_record(const Commit *c, const VarveSnapshotRecord *active, guint64 parent)
{
    VarveSnapshotRecord committed = *active;
    committed.name = (char *)c->name;
    committed.kind = VARVE_KIND_COMMITTED;
    committed.parent = parent;
    committed.created = committed.updated = varve_now();
    committed.labels = c->labels.pointers;
    committed.n_labels = c->labels.n;
    return committed;
}

/* The rules once more, and that the work on disk was done for this very snapshot. */
static gboolean
check_publish(VarveStoreTxn *txn, Commit *c, VarveSnapshotRecord **record, guint64 *parent,
              GError **error)
{
    return check_commit(txn, c, record, parent, error) &&
           (c->id == c->expected || varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                                                    "it was replaced meanwhile: try again"));
}

static gboolean
publish_commit(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Commit *c = data;
    guint64 parent = 0;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!check_publish(txn, c, &record, &parent, error))
        return FALSE;
    VarveSnapshotRecord committed = committed_record(c, record, parent);
    return varve_record_replace(txn, c->id, record, &committed, error);
}

gboolean
varve_commit_on_disk(VarvePool *pool, guint64 id, GError **error)
{
    const VarveDriver *driver = pool->driver;
    gboolean before = !pool->relaxed && (driver->flags & VARVE_DRIVER_COMMIT_WRITES) != 0;
    return (!before || driver->sync(pool->self, id, error)) &&
           (driver->commit == NULL || driver->commit(pool->self, id, error)) &&
           (pool->relaxed || driver->sync(pool->self, id, error));
}

/* Waits for whoever works on the snapshot, a commit of the same key in another thread, say, unless
 * that was a process that died meanwhile. What may be done is decided only then. */
static gboolean
begin_commit(Commit *c, guint *slot, GError **error)
{
    VarveEngine *engine = c->pool->engine;
    for (;;) {
        if (!varve_check_cancelled(&engine->cancelled, error) ||
            !varve_store_read(engine->store, plan_commit, c, error))
            return FALSE;
        guint64 id = c->id;
        if (!varve_inflight_begin(engine->inflight, c->pool->number, id, slot)) {
            varve_housekeeper_reap(engine);
            g_usleep(500);
            continue;
        }
        if (varve_store_read(engine->store, plan_commit, c, error) && c->id == id) {
            c->expected = id;
            return TRUE;
        }
        varve_inflight_end(engine->inflight, *slot);
        if (error != NULL && *error != NULL)
            return FALSE;
    }
}

gboolean
varve_commit_publish(VarvePool *pool, VarveStoreFunc func, gpointer data, GError **error)
{
    if (pool->relaxed)
        return varve_pool_publish(pool, func, data, error);
    return varve_store_write(pool->engine->store, VARVE_STORE_DURABLE, func, data, error);
}

static gboolean
run_commit(Commit *c, GError **error)
{
    VarvePool *pool = c->pool;
    VarveEngine *engine = pool->engine;
    guint slot;
    if (!begin_commit(c, &slot, error))
        return FALSE;
    gboolean ok = varve_commit_on_disk(pool, c->expected, error) &&
                  varve_commit_publish(pool, publish_commit, c, error);
    if (!ok)
        varve_search_undo(pool, c->expected);
    varve_inflight_end(engine->inflight, slot);
    return ok;
}

gboolean
varve_commit_publish_made(VarvePool *pool, guint64 id, guint slot, VarveStoreFunc func,
                          gpointer data, GError **error)
{
    gboolean durable = pool->relaxed || (pool->driver->flags & VARVE_DRIVER_COPIES_DURABLY) != 0;
    gboolean ok = (durable || pool->driver->sync(pool->self, id, error)) &&
                  varve_commit_publish(pool, func, data, error);
    if (!ok)
        varve_search_undo(pool, id);
    varve_inflight_end(pool->engine->inflight, slot);
    return ok;
}

/* --- capture ---------------------------------------------------------------------------------- */

static gboolean
publish_capture(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Commit *c = data;
    guint64 parent = 0;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!check_publish(txn, c, &record, &parent, error))
        return FALSE;
    VarveSnapshotRecord committed = committed_record(c, record, parent);
    VarveSnapshotRecord going_on = *record;
    going_on.parent = c->captured;
    going_on.updated = committed.created;
    return varve_record_add(txn, c->captured, &committed, error) &&
           varve_record_replace(txn, c->id, record, &going_on, error);
}

static gboolean
capture_on_disk(VarvePool *pool, VarveDriverSnapshot *snapshot, gpointer data, GError **error)
{
    const Commit *c = data;
    return pool->driver->capture(pool->self, c->expected, snapshot->id, error);
}

/* Under the active snapshot's own slot: nobody commits it meanwhile. */
static gboolean
make_capture(Commit *c, GError **error)
{
    VarvePool *pool = c->pool;
    VarveDriverSnapshot made = {.kind = VARVE_KIND_COMMITTED};
    guint slot;
    if (!varve_make_fresh(pool, &made, capture_on_disk, c, &slot, error))
        return FALSE;
    c->captured = made.id;
    return varve_commit_publish_made(c->pool, made.id, slot, publish_capture, c, error);
}

static gboolean
run_capture(Commit *c, GError **error)
{
    guint slot;
    if (c->pool->driver->capture == NULL)
        return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                               "the driver '%s' cannot commit a snapshot that goes on: commit it, "
                               "and prepare another one upon it",
                               c->pool->driver->name);
    if (!begin_commit(c, &slot, error))
        return FALSE;
    gboolean ok = make_capture(c, error);
    varve_inflight_end(c->pool->engine->inflight, slot);
    return ok;
}

/* --- commit, and prepare upon it -------------------------------------------------------------- */

/* The key goes to the fresh one, which is what the active one was: created then, with its labels.
 */
static gboolean
publish_renewal(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Commit *c = data;
    guint64 parent = 0;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!check_publish(txn, c, &record, &parent, error))
        return FALSE;
    VarveSnapshotRecord committed = committed_record(c, record, parent);
    VarveSnapshotRecord going_on = *record;
    going_on.parent = c->id;
    going_on.updated = committed.created;
    return varve_record_replace(txn, c->id, record, &committed, error) &&
           varve_record_add(txn, c->renewed, &going_on, error);
}

static gboolean
load_renewal(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Commit *c = data;
    return varve_lineage_load(txn, 0, VARVE_KIND_ACTIVE, c->expected, &c->lineage, error);
}

static gboolean
renewal_on_disk(VarvePool *pool, VarveDriverSnapshot *snapshot, gpointer data, GError **error)
{
    return pool->driver->create(pool->self, snapshot, error);
}

/* Upon what is committed on disk, and by no record yet. */
static gboolean
make_renewal(Commit *c, GError **error)
{
    VarvePool *pool = c->pool;
    guint slot;
    if (!varve_store_read(pool->engine->store, load_renewal, c, error) ||
        !varve_make_fresh(pool, &c->lineage.snapshot, renewal_on_disk, NULL, &slot, error))
        return FALSE;
    c->renewed = c->lineage.snapshot.id;
    return varve_commit_publish_made(c->pool, c->renewed, slot, publish_renewal, c, error);
}

static gboolean
run_renewal(Commit *c, GError **error)
{
    VarvePool *pool = c->pool;
    guint slot;
    if (!begin_commit(c, &slot, error))
        return FALSE;
    gboolean ok = varve_commit_on_disk(pool, c->expected, error) && make_renewal(c, error);
    if (!ok)
        varve_search_undo(pool, c->expected);
    varve_lineage_clear(&c->lineage);
    varve_inflight_end(pool->engine->inflight, slot);
    return ok;
}

/* --- the API ---------------------------------------------------------------------------------- */

static gboolean
check_and_run(Commit *c, GHashTable *labels, gboolean (*run)(Commit *c, GError **error),
              GError **error)
{
    if (!varve_check_key("key", c->key, error) || !varve_check_key("name", c->name, error) ||
        !varve_check_labels(labels, error))
        return FALSE;
    varve_labels_pack(labels, &c->labels);
    gboolean ok = run(c, error);
    varve_labels_clear(&c->labels);
    return ok;
}

gboolean
varve_snapshot_commit(VarvePool *pool, const char *name, const char *key, const char *parent,
                      GHashTable *labels, GError **error)
{
    Commit c = {.pool = pool, .name = name, .key = key, .parent = parent};
    g_autoptr(GError) failure = NULL;
    if (check_and_run(&c, labels, run_commit, &failure))
        return TRUE;
    varve_prefix_operation(&failure, "committing", pool, key);
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

gboolean
varve_snapshot_capture(VarvePool *pool, const char *name, const char *key, GHashTable *labels,
                       GError **error)
{
    Commit c = {.pool = pool, .name = name, .key = key};
    g_autoptr(GError) failure = NULL;
    if (check_and_run(&c, labels, run_capture, &failure))
        return TRUE;
    varve_prefix_operation(&failure, "capturing", pool, key);
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

gboolean
varve_snapshot_renew(VarvePool *pool, const char *name, const char *key, GHashTable *labels,
                     GError **error)
{
    Commit c = {.pool = pool, .name = name, .key = key};
    g_autoptr(GError) failure = NULL;
    if (check_and_run(&c, labels, run_renewal, &failure))
        return TRUE;
    varve_prefix_operation(&failure, "committing", pool, key);
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}
