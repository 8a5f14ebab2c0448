/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"

/*
 * Searching a pool for what a crash left: files that no record names, active snapshots that an
 * unfinished commit left read-only, and, after a power cut, records whose files are gone.
 */

#define SEARCH_CHUNK 1024 /* records read in one transaction */

typedef struct {
    guint64 id;
    gboolean known;
    VarveKind kind;
} Known;

static gboolean
look_up(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Known *known = data;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_record_get(txn, known->id, &record, error))
        return FALSE;
    known->known = record != NULL;
    known->kind = record != NULL ? (VarveKind)record->kind : VARVE_KIND_UNKNOWN;
    return TRUE;
}

gboolean
varve_search_restore(VarvePool *pool, guint64 id, gboolean *orphan, GError **error)
{
    Known known = {.id = id};
    if (!varve_store_read(pool->engine->store, look_up, &known, error))
        return FALSE;
    *orphan = !known.known;
    if (*orphan)
        return pool->driver->remove(pool->self, id, error);
    if (known.kind == VARVE_KIND_ACTIVE && pool->driver->reopen != NULL)
        return pool->driver->reopen(pool->self, id, error);
    return TRUE;
}

void
varve_search_log_failure(VarvePool *pool, guint64 id, const GError *error)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, id);
    varve_log(VARVE_LOG_WARNING, "cannot clear away an unfinished operation yet", "pool",
              pool->name, "id", text, "error", error->message, NULL);
}

void
varve_search_undo(VarvePool *pool, guint64 id)
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

/* --- records without files -------------------------------------------------------------------- */

/* Records of a pool that have files: views on a parent have none. */
typedef struct {
    VarvePool *pool;
    VarveRecordCursor cursor;
    gboolean more;
    GArray *ids;
} Recorded;

static gboolean
note_record(guint64 id, const VarveSnapshotRecord *record, gpointer data, GError **error)
{
    Recorded *recorded = data;
    if (record->kind != VARVE_KIND_VIEW || record->parent == 0)
        g_array_append_val(recorded->ids, id);
    return TRUE;
}

static gboolean
read_recorded(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Recorded *r = data;
    return varve_record_walk(txn, r->pool->number, &r->cursor, SEARCH_CHUNK, &r->more, note_record,
                             r, error);
}

static GArray *
list_recorded(VarvePool *pool, GError **error)
{
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(guint64));
    Recorded recorded = {.pool = pool, .more = TRUE, .ids = ids};
    while (recorded.more) {
        if (!varve_store_read(pool->engine->store, read_recorded, &recorded, error))
            return NULL;
    }
    return g_steal_pointer(&ids);
}

typedef struct {
    VarvePool *pool;
    guint64 id;
    gboolean dropped, damaged;
} Lost;

static gboolean
drop_lost(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Lost *lost = data;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_record_get(txn, lost->id, &record, error))
        return FALSE;
    lost->damaged = record != NULL && record->kind == VARVE_KIND_COMMITTED;
    lost->dropped = record != NULL && !lost->damaged;
    return !lost->dropped || varve_record_remove(txn, lost->id, record, error);
}

/* A snapshot that was recorded before the disk was listed, and is not there: a power cut came after
 * its record was durable and before its directory was. An active one held nothing durable, so its
 * record goes; a committed one cannot get lost in this way. */
static gboolean
handle_lost(VarvePool *pool, guint64 id, VarveCleanup *result, GError **error)
{
    guint slot;
    Lost lost = {.pool = pool, .id = id};
    if (!varve_inflight_begin(pool->engine->inflight, pool->number, id, &slot))
        return TRUE; /* somebody is working on it: it is there, or being removed */
    gboolean ok =
        varve_store_write(pool->engine->store, VARVE_STORE_ORDERED, drop_lost, &lost, error);
    varve_inflight_end(pool->engine->inflight, slot);
    if (!ok)
        return FALSE;
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, id);
    if (lost.damaged) {
        result->failed++;
        varve_log(VARVE_LOG_ERROR, "a committed snapshot has lost its files", "pool", pool->name,
                  "id", text, NULL);
    } else if (lost.dropped) {
        result->orphans++;
        varve_log(VARVE_LOG_WARNING, "dropped a snapshot that a power cut took the files of",
                  "pool", pool->name, "id", text, NULL);
    }
    return TRUE;
}

static gboolean
check_recorded(VarvePool *pool, GArray *recorded, GArray *listed, VarveCleanup *result,
               GError **error)
{
    g_autoptr(GHashTable) there = g_hash_table_new(g_int64_hash, g_int64_equal);
    for (guint i = 0; i < listed->len; i++)
        g_hash_table_add(there, &g_array_index(listed, guint64, i));
    for (guint i = 0; i < recorded->len; i++) {
        guint64 id = g_array_index(recorded, guint64, i);
        if (!g_hash_table_contains(there, &id) && !handle_lost(pool, id, result, error))
            return FALSE;
    }
    return TRUE;
}

/* --- the search ------------------------------------------------------------------------------- */

static gboolean
collect_id(guint64 id, gpointer data, GError **error)
{
    g_array_append_val((GArray *)data, id);
    return TRUE;
}

/* Ids that are listed and then neither in flight nor recorded are garbage: whoever was working on
 * one when it was listed has either published it or undone it by now. */
gboolean
varve_search_pool(VarvePool *pool, VarveCleanup *result, GError **error)
{
    VarveInflight *inflight = pool->engine->inflight;
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_autoptr(GArray) recorded = list_recorded(pool, error); /* first: what is recorded is there */
    if (recorded == NULL || !pool->driver->list(pool->self, collect_id, ids, error) ||
        !check_recorded(pool, recorded, ids, result, error))
        return FALSE;
    for (guint i = 0; i < ids->len; i++) {
        guint slot;
        gboolean orphan = FALSE;
        guint64 id = g_array_index(ids, guint64, i);
        g_autoptr(GError) failure = NULL;
        if (!varve_check_cancelled(&pool->engine->cancelled, error))
            return FALSE;
        if (!varve_inflight_begin(inflight, pool->number, id, &slot))
            continue;
        gboolean ok = varve_search_restore(pool, id, &orphan, &failure);
        varve_inflight_end(inflight, slot);
        if (!ok) {
            varve_search_log_failure(pool, id, failure);
            result->failed++;
        } else if (orphan) {
            result->orphans++;
        }
    }
    return TRUE;
}

gboolean
varve_search_all(VarveEngine *engine, VarveCleanup *result, GError **error)
{
    if (!varve_pools_clear_leftovers(engine, result, error))
        return FALSE;
    g_autoptr(GPtrArray) records = varve_engine_pool_records(engine, error);
    if (records == NULL)
        return FALSE;
    for (guint i = 0; i < records->len; i++) {
        const VarvePoolRecord *record = g_ptr_array_index(records, i);
        g_autoptr(GError) failure = NULL;
        VarvePool *pool = varve_engine_get_pool(engine, record->name, &failure);
        if (pool == NULL || !varve_search_pool(pool, result, &failure)) {
            if (g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_CANCELLED)) {
                g_propagate_error(error, g_steal_pointer(&failure));
                return FALSE;
            }
            varve_log(VARVE_LOG_WARNING, "cannot search a pool", "pool", record->name, "error",
                      failure->message, NULL);
            result->failed++;
        }
    }
    return TRUE;
}
