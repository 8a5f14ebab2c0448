/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"

/* How many records a walk reads in one transaction: enough that its beginning costs nothing, few
 * enough that a slow reader neither keeps old pages from being used again nor takes much memory. */
#define WALK_CHUNK 512

const char *
varve_kind_name(VarveKind kind)
{
    static const char *const names[] = {"unknown", "view", "active", "committed"};
    return names[(guint)kind < G_N_ELEMENTS(names) ? kind : VARVE_KIND_UNKNOWN];
}

VarveSnapshotInfo *
varve_snapshot_info_new(const VarveSnapshotRecord *record, const char *parent)
{
    VarveSnapshotInfo *info = g_new(VarveSnapshotInfo, 1);
    info->name = g_strdup(record->name);
    info->parent = g_strdup(parent);
    info->kind = (VarveKind)record->kind;
    info->created = record->created;
    info->updated = record->updated;
    info->labels = varve_labels_unpack(record->labels, record->n_labels);
    return info;
}

void
varve_snapshot_info_free(VarveSnapshotInfo *info)
{
    if (info == NULL)
        return;
    g_free(info->name);
    g_free(info->parent);
    g_hash_table_unref(info->labels);
    g_free(info);
}

gboolean
varve_record_name(VarveStoreTxn *txn, guint64 id, char **name, GError **error)
{
    g_autoptr(VarveSnapshotRecord) record = NULL;
    g_clear_pointer(name, g_free);
    if (id != 0 && !varve_record_get(txn, id, &record, error))
        return FALSE;
    if (id != 0 && record == NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "parent %" G_GUINT64_FORMAT " has no record", id);
    *name = g_strdup(record != NULL ? record->name : "");
    return TRUE;
}

/* --- one snapshot ----------------------------------------------------------------------------- */

typedef struct {
    VarvePool *pool;
    const char *key;
    guint64 id;
    VarveSnapshotRecord *record;
    char *parent;
    VarveLineage lineage;
} Query;

static void
query_clear(Query *q)
{
    g_clear_pointer(&q->record, varve_snapshot_record_free);
    g_clear_pointer(&q->parent, g_free);
    varve_lineage_clear(&q->lineage);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Query, query_clear)

static gboolean
load_record(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Query *q = data;
    return varve_lookup(txn, q->pool, q->key, &q->id, &q->record, error) &&
           varve_record_name(txn, q->record->parent, &q->parent, error);
}

static gboolean
load_lineage(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Query *q = data;
    return varve_lookup(txn, q->pool, q->key, &q->id, &q->record, error) &&
           varve_lineage_load(txn, q->id, (VarveKind)q->record->kind, q->record->parent,
                              &q->lineage, error);
}

gboolean
varve_snapshot_stat(VarvePool *pool, const char *key, VarveSnapshotInfo **info, GError **error)
{
    g_auto(Query) q = {.pool = pool, .key = key};
    if (!varve_check_key("key", key, error) ||
        !varve_store_read(pool->engine->store, load_record, &q, error))
        return varve_prefix_operation(error, "looking up", pool, key);
    *info = varve_snapshot_info_new(q.record, q.parent);
    return TRUE;
}

static gboolean
find_mount(Query *q, VarveMount **mount, GError **error)
{
    VarvePool *pool = q->pool;
    if (!varve_check_key("key", q->key, error) ||
        !varve_store_read(pool->engine->store, load_lineage, q, error))
        return FALSE;
    if (q->record->kind == VARVE_KIND_COMMITTED)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "it is committed, only active snapshots and views have mounts: "
                               "view it");
    *mount = pool->driver->mounts(pool->self, &q->lineage.snapshot, error);
    return *mount != NULL;
}

gboolean
varve_snapshot_mounts(VarvePool *pool, const char *key, VarveMount **mount, GError **error)
{
    g_auto(Query) q = {.pool = pool, .key = key};
    return find_mount(&q, mount, error) ||
           varve_prefix_operation(error, "finding the mounts of", pool, key);
}

/* --- usage ------------------------------------------------------------------------------------ */

static gboolean
find_usage(Query *q, VarveUsage *usage, GError **error)
{
    VarvePool *pool = q->pool;
    *usage = (VarveUsage){0, 0};
    if (!varve_check_key("key", q->key, error) ||
        !varve_store_read(pool->engine->store, load_lineage, q, error))
        return FALSE;
    if (q->record->kind == VARVE_KIND_VIEW)
        return TRUE;
    if (q->record->usage != NULL) {
        *usage = (VarveUsage){q->record->usage->bytes, q->record->usage->inodes};
        return TRUE;
    }
    if (!pool->driver->usage(pool->self, &q->lineage.snapshot, usage, error))
        return FALSE;
    if (q->record->kind == VARVE_KIND_COMMITTED)
        varve_housekeeper_keep_usage(pool->engine->housekeeper, q->id, usage);
    return TRUE;
}

gboolean
varve_snapshot_usage(VarvePool *pool, const char *key, VarveUsage *usage, GError **error)
{
    g_auto(Query) q = {.pool = pool, .key = key};
    return find_usage(&q, usage, error) ||
           varve_prefix_operation(error, "computing the usage of", pool, key);
}

/* --- walk ------------------------------------------------------------------------------------- */

typedef struct {
    VarvePool *pool;
    VarveFilter *filter;
    VarveStoreTxn *txn;
    VarveRecordCursor cursor;
    gboolean more;
    const char *name, *parent; /* what a match must have, or NULL */
    guint64 last_parent;       /* whose name is kept, since siblings often follow each other */
    char *last_parent_name;
    GPtrArray *found; /* VarveSnapshotInfo* of one transaction */
} Walk;

static gboolean
collect(guint64 id, const VarveSnapshotRecord *record, gpointer data, GError **error)
{
    Walk *w = data;
    if (record->parent != w->last_parent || w->last_parent_name == NULL) {
        if (!varve_record_name(w->txn, record->parent, &w->last_parent_name, error))
            return FALSE;
        w->last_parent = record->parent;
    }
    g_autoptr(VarveSnapshotInfo) info = varve_snapshot_info_new(record, w->last_parent_name);
    if (varve_filter_match(w->filter, info))
        g_ptr_array_add(w->found, g_steal_pointer(&info));
    return TRUE;
}

/* The single snapshot, or the children of the single one, that can match. */
static gboolean
read_indexed(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Walk *w = data;
    guint64 id;
    w->txn = txn;
    w->more = FALSE;
    if (!varve_record_find(txn, w->pool->number, w->name != NULL ? w->name : w->parent, &id, error))
        return FALSE;
    if (id == 0)
        return TRUE;
    if (w->name == NULL)
        return varve_record_children(txn, id, collect, w, error);
    g_autoptr(VarveSnapshotRecord) record = NULL;
    return varve_record_get(txn, id, &record, error) &&
           (record == NULL || collect(id, record, w, error));
}

static gboolean
read_chunk(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Walk *w = data;
    w->txn = txn;
    g_clear_pointer(&w->last_parent_name, g_free); /* another transaction, another truth */
    return varve_record_walk(txn, w->pool->number, &w->cursor, WALK_CHUNK, &w->more, collect, w,
                             error);
}

static gboolean
run_walk(Walk *w, VarveWalkFunc func, gpointer data, GError **error)
{
    VarveEngine *engine = w->pool->engine;
    w->name = varve_filter_required(w->filter, "name");
    w->parent = varve_filter_required(w->filter, "parent");
    gboolean indexed = w->name != NULL || (w->parent != NULL && *w->parent != '\0');
    do {
        g_ptr_array_set_size(w->found, 0);
        if (!varve_check_cancelled(&engine->cancelled, error) ||
            !varve_store_read(engine->store, indexed ? read_indexed : read_chunk, w, error))
            return FALSE;
        for (guint i = 0; i < w->found->len; i++) {
            g_autoptr(GError) failure = NULL;
            if (!func(g_ptr_array_index(w->found, i), data, &failure)) {
                gboolean enough = failure == NULL;
                if (!enough)
                    g_propagate_error(error, g_steal_pointer(&failure));
                return enough;
            }
        }
    } while (w->more);
    return TRUE;
}

gboolean
varve_snapshot_walk(VarvePool *pool, const char *const *filters, VarveWalkFunc func, gpointer data,
                    GError **error)
{
    g_autoptr(VarveFilter) filter = varve_filter_new(filters, error);
    g_autoptr(GPtrArray) found =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_snapshot_info_free);
    Walk walk = {.pool = pool, .filter = filter, .found = found};
    gboolean ok = filter != NULL && run_walk(&walk, func, data, error);
    g_free(walk.last_parent_name);
    if (!ok)
        g_prefix_error(error, "listing snapshots in pool '%s': ", pool->name);
    return ok;
}
