/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"
#include "snapshot/kept.h"
#include <string.h>

/*
 * What nobody waits for: freeing what was removed (removals.c), searching for what crashes left
 * (search.c), making durable what need not be at once, keeping usages that were computed.
 *
 * Whoever holds the housekeeping lock, one thread of one process, frees and searches. A process
 * that cannot get the lock leaves its removals to the one that has it: that one looks at the table
 * once more after it has let go. Removals that fail are tried again after a while. One that is to
 * end does one pass at most, since others might add removals for ever.
 */

#define RETRY_AFTER (10 * G_USEC_PER_SEC)
#define SETTLE_IN   (G_USEC_PER_SEC / 10)
#define FREE_IN     G_USEC_PER_SEC /* so that what is removed together is freed together */

static gpointer keep_house(gpointer data);

struct VarveHousekeeper {
    VarveEngine *engine;
    GMutex lock;
    GCond cond;
    GThread *thread; /* started when there is something to do */
    gint stopping;   /* written under the lock, and atomic: it is read without it too */
    gint64 due;      /* when to do what follows, on the monotonic clock; 0: nothing */
    gboolean free;   /* there are removals */
    gboolean settle; /* there are writes that are not durable yet */
    GArray *usages;  /* of Computed: to be kept in their records */
};

typedef struct {
    guint64 id;
    VarveUsage usage;
} Computed;

/* --- passes ----------------------------------------------------------------------------------- */

/* Under the housekeeping lock. */
static gboolean
run_pass(VarveEngine *engine, VarvePool *only, gboolean search, VarveCleanup *result,
         GError **error)
{
    if (!varve_removals_free(engine, only, result, error))
        return FALSE;
    if (!search)
        return TRUE;
    if (only != NULL)
        return varve_search_pool(only, result, error);
    varve_kept_expire(engine);
    guint64 failed = result->failed;
    if (!varve_search_all(engine, result, error))
        return FALSE;
    if (result->failed == failed)
        varve_inflight_search_done(engine->inflight);
    return TRUE;
}

gboolean
varve_housekeeper_run(VarveEngine *engine, VarvePool *pool, VarveCleanup *result, GError **error)
{
    varve_housekeeper_reap(engine);
    if (!varve_inflight_lock(engine->inflight, TRUE))
        return varve_error_set(error, VARVE_ERROR_INTERNAL, "locking failed");
    gboolean ok = run_pass(engine, pool, TRUE, result, error);
    varve_inflight_unlock(engine->inflight);
    return ok;
}

/* One pass, unless another process does it, and more while removals are added. TRUE when some may
 * be left. */
static gboolean
run_background(VarveHousekeeper *keeper)
{
    VarveEngine *engine = keeper->engine;
    do {
        VarveCleanup result = {0};
        g_autoptr(GError) error = NULL;
        varve_housekeeper_reap(engine); /* what the dead worked on could not be freed */
        if (!varve_inflight_lock(engine->inflight, FALSE))
            return TRUE;
        gboolean search = varve_inflight_search_due(engine->inflight);
        gboolean ok = run_pass(engine, NULL, search, &result, &error);
        varve_inflight_unlock(engine->inflight);
        if (!ok && !g_error_matches(error, VARVE_ERROR, VARVE_ERROR_CANCELLED))
            varve_log(VARVE_LOG_WARNING, "freeing removed snapshots failed", "error",
                      error->message, NULL);
        if (result.orphans > 0) {
            g_autofree char *n = g_strdup_printf("%" G_GUINT64_FORMAT, result.orphans);
            varve_log(VARVE_LOG_INFO, "removed half-made snapshots", "count", n, NULL);
        }
        if (!ok || result.failed > 0)
            return TRUE;
        /* Somebody may have added one, and failed to get the lock, before it was let go. */
        if (!varve_removals_left(engine))
            return FALSE;
    } while (!g_atomic_int_get(&keeper->stopping));
    return TRUE;
}

/* --- computed usages ---------------------------------------------------------------------- */

/* A committed snapshot does not change any more, so its usage is computed once. */
static gboolean
keep_usage(VarveStoreTxn *txn, const Computed *computed, GError **error)
{
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_record_get(txn, computed->id, &record, error))
        return FALSE;
    if (record == NULL || record->kind != VARVE_KIND_COMMITTED || record->usage != NULL)
        return TRUE; /* removed meanwhile, or computed by two at once */
    Varve__Store__Usage usage = VARVE__STORE__USAGE__INIT;
    usage.bytes = computed->usage.bytes;
    usage.inodes = computed->usage.inodes;
    VarveSnapshotRecord updated = *record;
    updated.usage = &usage;
    return varve_record_replace(txn, computed->id, record, &updated, error);
}

static gboolean
keep_usages(VarveStoreTxn *txn, gpointer data, GError **error)
{
    GArray *usages = data;
    for (guint i = 0; i < usages->len; i++) {
        if (!keep_usage(txn, &g_array_index(usages, Computed, i), error))
            return FALSE;
    }
    return TRUE;
}

/* If this fails, on a full disk say, they are computed again when they are asked for. */
static void
write_usages(VarveEngine *engine, GArray *usages)
{
    g_autoptr(GError) error = NULL;
    if (!varve_store_write(engine->store, VARVE_STORE_ORDERED, keep_usages, usages, &error))
        varve_log(VARVE_LOG_DEBUG, "computed usages were not kept", "error", error->message, NULL);
}

static void
settle(VarveEngine *engine)
{
    g_autoptr(GError) error = NULL;
    if (!varve_store_sync(engine->store, &error))
        varve_log(VARVE_LOG_ERROR, "the last changes are not durable", "error", error->message,
                  NULL);
}

/* --- the thread ------------------------------------------------------------------------------- */

/* Under the lock. */
static void
do_within(VarveHousekeeper *keeper, gint64 delay)
{
    gint64 at = g_get_monotonic_time() + delay;
    if (keeper->due == 0 || keeper->due > at) {
        keeper->due = at;
        g_cond_signal(&keeper->cond);
    }
    if (keeper->thread == NULL)
        keeper->thread = g_thread_new("varve-keeper", keep_house, keeper);
}

/* Does what has gathered. Under the lock, which is let go meanwhile. */
static void
do_all(VarveHousekeeper *keeper)
{
    VarveEngine *engine = keeper->engine;
    g_autoptr(GArray) usages = g_steal_pointer(&keeper->usages);
    gboolean freeing = keeper->free, settling = keeper->settle, left = FALSE;
    keeper->due = 0;
    keeper->free = keeper->settle = FALSE;
    g_mutex_unlock(&keeper->lock);
    if (usages != NULL)
        write_usages(engine, usages);
    if (settling)
        settle(engine);
    if (freeing)
        left = run_background(keeper);
    g_mutex_lock(&keeper->lock);
    if (left && !keeper->stopping) {
        keeper->free = TRUE;
        do_within(keeper, RETRY_AFTER);
    }
}

static gpointer
keep_house(gpointer data)
{
    VarveHousekeeper *keeper = data;
    g_mutex_lock(&keeper->lock);
    while (!g_atomic_int_get(&keeper->engine->cancelled)) {
        if (keeper->due != 0 && (keeper->stopping || keeper->due <= g_get_monotonic_time()))
            do_all(keeper);
        else if (keeper->stopping)
            break;
        else if (keeper->due != 0)
            g_cond_wait_until(&keeper->cond, &keeper->lock, keeper->due);
        else
            g_cond_wait(&keeper->cond, &keeper->lock);
    }
    g_mutex_unlock(&keeper->lock);
    return NULL;
}

static gboolean
work_is_left(VarveEngine *engine)
{
    return varve_inflight_search_due(engine->inflight) || varve_removals_left(engine);
}

VarveHousekeeper *
varve_housekeeper_new(VarveEngine *engine)
{
    VarveHousekeeper *keeper = g_new0(VarveHousekeeper, 1);
    keeper->engine = engine;
    g_mutex_init(&keeper->lock);
    g_cond_init(&keeper->cond);
    if ((engine->flags & VARVE_ENGINE_NO_RECOVERY) == 0 && work_is_left(engine))
        varve_housekeeper_wake(keeper);
    return keeper;
}

void
varve_housekeeper_wake(VarveHousekeeper *keeper)
{
    g_mutex_lock(&keeper->lock);
    keeper->free = TRUE;
    do_within(keeper, FREE_IN);
    g_mutex_unlock(&keeper->lock);
}

void
varve_housekeeper_settle(VarveHousekeeper *keeper)
{
    g_mutex_lock(&keeper->lock);
    keeper->settle = TRUE;
    do_within(keeper, SETTLE_IN);
    g_mutex_unlock(&keeper->lock);
}

void
varve_housekeeper_keep_usage(VarveHousekeeper *keeper, guint64 id, const VarveUsage *usage)
{
    Computed computed = {id, *usage};
    g_mutex_lock(&keeper->lock);
    if (keeper->usages == NULL)
        keeper->usages = g_array_new(FALSE, FALSE, sizeof(Computed));
    g_array_append_val(keeper->usages, computed);
    do_within(keeper, SETTLE_IN);
    g_mutex_unlock(&keeper->lock);
}

void
varve_housekeeper_free(VarveHousekeeper *keeper)
{
    if (keeper == NULL)
        return;
    g_mutex_lock(&keeper->lock);
    g_atomic_int_set(&keeper->stopping, TRUE);
    g_cond_signal(&keeper->cond);
    g_mutex_unlock(&keeper->lock);
    g_clear_pointer(&keeper->thread, g_thread_join);
    g_clear_pointer(&keeper->usages, g_array_unref);
    g_mutex_clear(&keeper->lock);
    g_cond_clear(&keeper->cond);
    g_free(keeper);
}

/* --- dead processes --------------------------------------------------------------------------- */

static void
reap_one(guint32 number, guint64 id, gpointer data)
{
    VarveEngine *engine = data;
    gboolean orphan;
    g_autoptr(GError) error = NULL;
    VarvePool *pool = varve_engine_get_pool_by_number(engine, number, &error);
    if (pool == NULL) {
        if (!g_error_matches(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
            varve_inflight_request_search(engine->inflight);
    } else if (!varve_search_restore(pool, id, &orphan, &error)) {
        varve_search_log_failure(pool, id, error);
        varve_inflight_request_search(engine->inflight);
    }
}

void
varve_housekeeper_reap(VarveEngine *engine)
{
    varve_inflight_reap(engine->inflight, reap_one, engine);
}
