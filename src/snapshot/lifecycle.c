/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"
#include <string.h>

/*
 * Prepare, view, commit, remove and update: the rules of SPEC's rows S1 to S8 stand here, each in
 * one function that runs inside a transaction. An operation asks them twice: before it touches the
 * disk, so that what cannot succeed costs nothing, and again in the transaction that publishes.
 */

#define MAX_ID_TRIES 1000

static gint64
now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (gint64)ts.tv_sec * G_GINT64_CONSTANT(1000000000) + ts.tv_nsec;
}

static gboolean
check_free(VarveStoreTxn *txn, VarvePool *pool, const char *what, const char *name, GError **error)
{
    guint64 id;
    if (!varve_record_find(txn, pool->number, name, &id, error))
        return FALSE;
    if (id == 0)
        return TRUE;
    g_autofree char *shown = varve_key_display(name);
    return varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS, "the %s '%s' is taken", what, shown);
}

/* Finds a parent, which must be committed: wrong is the code for one that is not. */
static gboolean
find_parent(VarveStoreTxn *txn, VarvePool *pool, const char *parent, VarveErrorCode wrong,
            guint64 *id, GError **error)
{
    *id = 0;
    if (parent == NULL || *parent == '\0')
        return TRUE;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_lookup(txn, pool, parent, id, &record, error)) {
        g_prefix_error(error, "parent: ");
        return FALSE;
    }
    if (record->kind == VARVE_KIND_COMMITTED)
        return TRUE;
    g_autofree char *shown = varve_key_display(parent);
    return varve_error_set(error, wrong, "parent '%s' is not committed, it is %s", shown,
                           varve_kind_name((VarveKind)record->kind));
}

/* A pool may have been taken away by another process while this one had it open. */
static gboolean
check_pool(VarveStoreTxn *txn, VarvePool *pool, GError **error)
{
    g_autoptr(VarvePoolRecord) record = NULL;
    if (!varve_record_get_pool(txn, pool->name, &record, error))
        return FALSE;
    return (record != NULL && record->number == pool->number) ||
           varve_error_set(error, VARVE_ERROR_NOT_FOUND, "the pool was removed");
}

/* --- prepare and view ------------------------------------------------------------------------- */

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
    return check_pool(txn, c->pool, error) && check_free(txn, c->pool, "key", c->key, error) &&
           find_parent(txn, c->pool, c->parent, VARVE_ERROR_INVALID_ARGUMENT, &parent, error) &&
           varve_lineage_load(txn, c->id, c->kind, parent, &c->lineage, error);
}

static gboolean
publish_create(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Create *c = data;
    guint64 parent;
    if (!check_pool(txn, c->pool, error) || !check_free(txn, c->pool, "key", c->key, error) ||
        !find_parent(txn, c->pool, c->parent, VARVE_ERROR_INVALID_ARGUMENT, &parent, error))
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
    record.created = record.updated = now();
    record.labels = c->labels.pointers;
    record.n_labels = c->labels.n;
    return varve_record_add(txn, c->id, &record, error);
}

/* Takes back what was done on disk for an operation that failed, as far as its record is not there:
 * a write whose sync failed is reported as failed, and yet it is done. */
static void
undo(VarvePool *pool, guint64 id)
{
    gboolean orphan;
    GError *error = NULL;
    if (varve_search_restore(pool, id, &orphan, &error))
        return;
    g_autofree char *what =
        g_strdup_printf("restoring snapshot %" G_GUINT64_FORMAT " of pool '%s'", id, pool->name);
    varve_error_log_undo(what, error);
    varve_inflight_request_search(pool->engine->inflight); /* the next start tries again */
}

/* The driver makes the snapshot under a fresh id. After a power cut, ids that were given out before
 * may still be on disk without a record; they are passed over until the search has removed them. */
static gboolean
create_on_disk(VarvePool *pool, VarveDriverSnapshot *snapshot, guint *slot, GError **error)
{
    VarveInflight *inflight = pool->engine->inflight;
    for (int tries = 0; tries < MAX_ID_TRIES; tries++) {
        g_autoptr(GError) failure = NULL;
        snapshot->id = varve_inflight_new_id(inflight);
        if (!varve_inflight_begin(inflight, pool->number, snapshot->id, slot))
            continue;
        if (pool->driver->create(pool->self, snapshot, &failure))
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
run_create(Create *c, VarveMount **mount, GError **error)
{
    VarvePool *pool = c->pool;
    VarveEngine *engine = pool->engine;
    guint slot;
    if (!varve_check_cancelled(&engine->cancelled, error) ||
        !varve_store_read(engine->store, plan_create, c, error))
        return FALSE;

    g_autoptr(GError) failure = NULL;
    if (!create_on_disk(pool, &c->lineage.snapshot, &slot, &failure)) {
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
        undo(pool, c->id);
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

/* --- commit ----------------------------------------------------------------------------------- */

typedef struct {
    VarvePool *pool;
    const char *name, *key, *parent;
    VarveLabels labels;
    guint64 id;
    guint64 expected; /* the id that the work on disk was done for */
} Commit;

/* The parent that the committed snapshot will have. Only one that was prepared on nothing can be
 * given another, and only where the driver can show its content on top of that. */
static gboolean
commit_parent(VarveStoreTxn *txn, Commit *c, const VarveSnapshotRecord *record, guint64 *parent,
              GError **error)
{
    if (!find_parent(txn, c->pool, c->parent, VARVE_ERROR_FAILED_PRECONDITION, parent, error))
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
    return check_free(txn, c->pool, "name", c->name, error) &&
           commit_parent(txn, c, *record, parent, error);
}

static gboolean
plan_commit(VarveStoreTxn *txn, gpointer data, GError **error)
{
    guint64 parent;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    return check_commit(txn, data, &record, &parent, error);
}

static gboolean
publish_commit(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Commit *c = data;
    guint64 parent = 0;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!check_commit(txn, c, &record, &parent, error))
        return FALSE;
    if (c->id != c->expected)
        return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                               "it was replaced meanwhile: try again");
    VarveSnapshotRecord committed = *record;
    committed.name = (char *)c->name;
    committed.kind = VARVE_KIND_COMMITTED;
    committed.parent = parent;
    committed.created = committed.updated = now();
    committed.labels = c->labels.pointers;
    committed.n_labels = c->labels.n;
    return varve_record_replace(txn, c->id, record, &committed, error);
}

static gboolean
commit_on_disk(VarvePool *pool, guint64 id, GError **error)
{
    const VarveDriver *driver = pool->driver;
    return (driver->commit == NULL || driver->commit(pool->self, id, error)) &&
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

/* A committed snapshot is durable when the caller is told of it, unless the pool is relaxed. */
static gboolean
publish(Commit *c, GError **error)
{
    if (c->pool->relaxed)
        return varve_pool_publish(c->pool, publish_commit, c, error);
    return varve_store_write(c->pool->engine->store, VARVE_STORE_DURABLE, publish_commit, c, error);
}

static gboolean
run_commit(Commit *c, GError **error)
{
    VarvePool *pool = c->pool;
    VarveEngine *engine = pool->engine;
    guint slot;
    if (!begin_commit(c, &slot, error))
        return FALSE;
    gboolean ok = commit_on_disk(pool, c->expected, error) && publish(c, error);
    if (!ok)
        undo(pool, c->expected);
    varve_inflight_end(engine->inflight, slot);
    return ok;
}

gboolean
varve_snapshot_commit(VarvePool *pool, const char *name, const char *key, const char *parent,
                      GHashTable *labels, GError **error)
{
    Commit c = {.pool = pool, .name = name, .key = key, .parent = parent};
    g_autoptr(GError) failure = NULL;
    gboolean ok = varve_check_key("key", key, &failure) &&
                  varve_check_key("name", name, &failure) && varve_check_labels(labels, &failure);
    if (ok) {
        varve_labels_pack(labels, &c.labels);
        ok = run_commit(&c, &failure);
        varve_labels_clear(&c.labels);
    }
    if (!ok) {
        varve_prefix_operation(&failure, "committing", pool, key);
        g_propagate_error(error, g_steal_pointer(&failure));
    }
    return ok;
}

/* --- remove ----------------------------------------------------------------------------------- */

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
varve_snapshot_remove(VarvePool *pool, const char *key, GError **error)
{
    Remove r = {pool, key};
    VarveEngine *engine = pool->engine;
    if (!varve_check_key("key", key, error) || !varve_check_cancelled(&engine->cancelled, error) ||
        !varve_pool_publish(pool, publish_remove, &r, error))
        return varve_prefix_operation(error, "removing", pool, key);
    varve_housekeeper_wake(engine->housekeeper);
    return TRUE;
}

/* --- update ----------------------------------------------------------------------------------- */

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
    updated.updated = now();
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
