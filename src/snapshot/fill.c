/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/fill.h"
#include "base/fd.h"
#include "snapshot/internal.h"

typedef struct {
    VarvePool *pool;
    const VarveFilling *filling;
    VarveLabels labels;
    guint64 id;
    VarveLineage lineage;
    VarveLineage upon;  /* of what is made upon it */
    VarveFillFunc func; /* NULL: the driver fills it itself, from source */
    gpointer data;
    const VarveSource *source;
    gboolean begun; /* something was read of source */
} Fill;

/* --- records ---------------------------------------------------------------------------------- */

static gboolean
check(VarveStoreTxn *txn, Fill *f, guint64 *parent, GError **error)
{
    return varve_rule_pool(txn, f->pool, error) &&
           varve_rule_free(txn, f->pool, "name", f->filling->name, error) &&
           varve_rule_parent(txn, f->pool, f->filling->parent, VARVE_ERROR_FAILED_PRECONDITION,
                             parent, error);
}

static gboolean
plan(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Fill *f = data;
    guint64 parent;
    VarveKind kind = f->func != NULL ? VARVE_KIND_ACTIVE : VARVE_KIND_COMMITTED;
    return check(txn, f, &parent, error) &&
           varve_lineage_load(txn, f->id, kind, parent, &f->lineage, error);
}

static VarveSnapshotRecord
fresh_record(const Fill *f, const char *name, VarveKind kind, guint64 parent,
             const VarveLabels *labels)
{
    VarveSnapshotRecord record = VARVE__STORE__SNAPSHOT__INIT;
    record.pool = f->pool->number;
    record.name = (char *)name;
    record.kind = kind;
    record.parent = parent;
    record.created = record.updated = varve_now();
    record.labels = labels->pointers;
    record.n_labels = labels->n;
    return record;
}

static gboolean
publish(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Fill *f = data;
    guint64 parent;
    const VarveDriverSnapshot *made = &f->lineage.snapshot;
    if (!check(txn, f, &parent, error))
        return FALSE;
    if (parent != (made->n_parents > 0 ? made->parents[0] : 0))
        return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                               "the parent was replaced meanwhile: try again");
    VarveSnapshotRecord record =
        fresh_record(f, f->filling->name, VARVE_KIND_COMMITTED, parent, &f->labels);
    return varve_record_add(txn, f->id, &record, error);
}

/* Upon what is published in the same transaction. */
static gboolean
publish_new(VarveStoreTxn *txn, Fill *f, GError **error)
{
    const VarveFillUpon *upon = f->filling->upon;
    g_auto(VarveLabels) labels;
    varve_labels_pack(upon->labels, &labels);
    VarveSnapshotRecord record = fresh_record(f, upon->key, VARVE_KIND_ACTIVE, f->id, &labels);
    return varve_record_add(txn, f->upon.snapshot.id, &record, error);
}

static gboolean
publish_instead(VarveStoreTxn *txn, Fill *f, guint64 old, GError **error)
{
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_record_get(txn, old, &record, error))
        return FALSE;
    if (record == NULL || record->kind != VARVE_KIND_ACTIVE)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "what is to be replaced is not active");
    VarveSnapshotRecord going_on = *record;
    going_on.parent = f->id;
    going_on.updated = varve_now();
    return varve_record_remove(txn, old, record, error) &&
           varve_record_add(txn, f->upon.snapshot.id, &going_on, error);
}

static gboolean
publish_both(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Fill *f = data;
    guint64 old;
    return publish(txn, f, error) &&
           varve_record_find(txn, f->pool->number, f->filling->upon->key, &old, error) &&
           (old == 0 ? publish_new(txn, f, error) : publish_instead(txn, f, old, error));
}

/* --- files ------------------------------------------------------------------------------------ */

static gssize
read_source(gpointer data, void *buffer, gsize size, GError **error)
{
    Fill *f = data;
    f->begun = TRUE;
    return f->source->read(f->source->data, buffer, size, error);
}

/* That an id is taken can be found before the stream is begun only; afterwards such an error is of
 * something in the snapshot, and must not have another id tried. */
static gboolean
receive(VarvePool *pool, const VarveDriverSnapshot *snapshot, Fill *f, GError **error)
{
    const VarveSource source = {read_source, f};
    GError *failure = NULL;
    if (pool->driver->receive(pool->self, snapshot, &source, &failure))
        return TRUE;
    if (f->begun && g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS))
        failure->code = VARVE_ERROR_CORRUPT;
    g_propagate_error(error, failure);
    return FALSE;
}

static gboolean
make_on_disk(VarvePool *pool, VarveDriverSnapshot *snapshot, gpointer data, GError **error)
{
    Fill *f = data;
    return f->func == NULL ? receive(pool, snapshot, f, error)
                           : pool->driver->create(pool->self, snapshot, error);
}

/* A stream is right when its end was seen, whatever the driver made of it. */
static gboolean
check_end(Fill *f, GError **error)
{
    guint8 more;
    gssize n = f->source->read(f->source->data, &more, 1, error);
    return n == 0 || (n > 0 && varve_error_set(error, VARVE_ERROR_CORRUPT,
                                               "the stream goes on after its end"));
}

static gboolean
fill_on_disk(Fill *f, GError **error)
{
    VarvePool *pool = f->pool;
    if (f->func == NULL)
        return check_end(f, error) &&
               (pool->relaxed || pool->driver->sync(pool->self, f->id, error));
    f->lineage.snapshot.relaxed = TRUE;
    varve_autofd root = varve_open_mounted(pool, &f->lineage.snapshot, error);
    if (root < 0 || !f->func(root, f->data, error))
        return FALSE;
    varve_fd_clear(&root);
    return varve_commit_on_disk(pool, f->id, error);
}

/* --- what is made upon it --------------------------------------------------------------------- */

static gboolean
create_upon(VarvePool *pool, VarveDriverSnapshot *snapshot, gpointer data, GError **error)
{
    return pool->driver->create(pool->self, snapshot, error);
}

/* The parents of what is made upon what no record names yet. */
static void
plan_upon(Fill *f)
{
    f->upon.parents = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_array_append_val(f->upon.parents, f->id);
    g_array_append_vals(f->upon.parents, f->lineage.parents->data, f->lineage.parents->len);
    f->upon.snapshot = (VarveDriverSnapshot){
        .kind = VARVE_KIND_ACTIVE,
        .parents = (const guint64 *)(void *)f->upon.parents->data,
        .n_parents = f->upon.parents->len,
    };
}

static gboolean
make_upon(Fill *f, GError **error)
{
    VarvePool *pool = f->pool;
    const VarveFillUpon *upon = f->filling->upon;
    guint slot;
    plan_upon(f);
    if (!upon->begin(upon->data, error) ||
        !varve_make_fresh(pool, &f->upon.snapshot, create_upon, NULL, &slot, error))
        return FALSE;
    if (!varve_commit_publish_made(pool, f->upon.snapshot.id, slot, publish_both, f, error))
        return FALSE;
    varve_housekeeper_wake(pool->engine->housekeeper); /* to free what was replaced */
    return TRUE;
}

static gboolean
finish(Fill *f, GError **error)
{
    return f->filling->upon != NULL ? make_upon(f, error)
                                    : varve_commit_publish(f->pool, publish, f, error);
}

/* --- all -------------------------------------------------------------------------------------- */

static gboolean
run(Fill *f, GError **error)
{
    VarvePool *pool = f->pool;
    VarveEngine *engine = pool->engine;
    guint slot;
    if (!varve_check_cancelled(&engine->cancelled, error) ||
        !varve_store_read(engine->store, plan, f, error))
        return FALSE;
    g_autoptr(GError) failure = NULL;
    if (!varve_make_fresh(pool, &f->lineage.snapshot, make_on_disk, f, &slot, &failure)) {
        /* Why it failed may be that the parent went away; then that is the better message. */
        if (varve_store_read(engine->store, plan, f, error))
            g_propagate_error(error, g_steal_pointer(&failure));
        return FALSE;
    }
    f->id = f->lineage.snapshot.id;
    gboolean ok = fill_on_disk(f, error) && finish(f, error);
    if (!ok)
        varve_search_undo(pool, f->id);
    varve_inflight_end(engine->inflight, slot);
    return ok;
}

static gboolean
check_and_run(Fill *f, GError **error)
{
    const VarveFilling *filling = f->filling;
    if (!varve_check_key("name", filling->name, error) ||
        !varve_check_labels(filling->labels, error))
        return FALSE;
    varve_labels_pack(filling->labels, &f->labels);
    gboolean ok = run(f, error);
    varve_labels_clear(&f->labels);
    varve_lineage_clear(&f->lineage);
    varve_lineage_clear(&f->upon);
    return ok;
}

gboolean
varve_snapshot_fill(VarvePool *pool, const VarveFilling *filling, VarveFillFunc func, gpointer data,
                    GError **error)
{
    Fill f = {.pool = pool, .filling = filling, .func = func, .data = data};
    return check_and_run(&f, error);
}

/* --- streams of the driver's own -------------------------------------------------------------- */

const char *
varve_snapshot_stream_format(VarvePool *pool)
{
    return pool->driver->stream_format;
}

static gboolean
check_native(VarvePool *pool, GError **error)
{
    return pool->driver->stream_format != NULL ||
           varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                           "the driver '%s' has no streams of its own", pool->driver->name);
}

gboolean
varve_snapshot_fill_native(VarvePool *pool, const VarveFilling *filling, const VarveSource *source,
                           GError **error)
{
    Fill f = {.pool = pool, .filling = filling, .source = source};
    return check_native(pool, error) && check_and_run(&f, error);
}

typedef struct {
    VarvePool *pool;
    const char *name, *base;
    guint64 base_id;
    VarveLineage lineage;
    const VarveSink *sink;
} Sending;

static gboolean
load(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Sending *s = data;
    guint64 id;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_lookup(txn, s->pool, s->name, &id, &record, error) ||
        !varve_lineage_load(txn, id, (VarveKind)record->kind, record->parent, &s->lineage, error))
        return FALSE;
    s->base_id = 0;
    return s->base == NULL ||
           varve_rule_parent(txn, s->pool, s->base, VARVE_ERROR_CORRUPT, &s->base_id, error);
}

static gboolean
send_from_disk(VarvePool *pool, VarveDriverSnapshot *scratch, gpointer data, GError **error)
{
    Sending *s = data;
    return pool->driver->send(pool->self, &s->lineage.snapshot, s->base_id, scratch->id, s->sink,
                              error);
}

gboolean
varve_snapshot_send_native(VarvePool *pool, const char *name, const char *base,
                           const VarveSink *sink, GError **error)
{
    Sending s = {.pool = pool, .name = name, .base = base, .sink = sink};
    VarveDriverSnapshot scratch = {0};
    guint slot;
    gboolean ok = check_native(pool, error) &&
                  varve_store_read(pool->engine->store, load, &s, error) &&
                  varve_make_fresh(pool, &scratch, send_from_disk, &s, &slot, error);
    if (ok)
        varve_inflight_end(pool->engine->inflight, slot);
    varve_lineage_clear(&s.lineage);
    return ok;
}
