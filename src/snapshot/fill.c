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
    VarveSnapshotRecord record = VARVE__STORE__SNAPSHOT__INIT;
    record.pool = f->pool->number;
    record.name = (char *)f->filling->name;
    record.kind = VARVE_KIND_COMMITTED;
    record.parent = parent;
    record.created = record.updated = varve_now();
    record.labels = f->labels.pointers;
    record.n_labels = f->labels.n;
    return varve_record_add(txn, f->id, &record, error);
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
    varve_autofd root = varve_open_mounted(pool, &f->lineage.snapshot, error);
    if (root < 0 || !f->func(root, f->data, error))
        return FALSE;
    varve_fd_clear(&root);
    return varve_commit_on_disk(pool, f->id, error);
}

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
    gboolean ok = fill_on_disk(f, error) && varve_commit_publish(pool, publish, f, error);
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
