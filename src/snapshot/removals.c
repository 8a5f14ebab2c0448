/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"

/*
 * Freeing what was removed. The removals table is the queue: what it names is freed, in batches,
 * and struck off. A removal is durable before its files go, else a power cut could bring back a
 * record whose files are gone.
 *
 * Snapshots that stand on each other are freed from the top: some file systems (zfs) refuse
 * otherwise. Ids grow from parent to child, unless the parent was captured from the child, so a
 * batch goes from the highest id down, and what failed is tried once more as long as others were
 * freed. What fails then (a snapshot is still mounted, say) stays in the table and is logged.
 */

#define BATCH 512
#define GROUP 64 /* freed in one go; well below the slots that a process has (inflight.c) */

typedef struct {
    guint64 id;
    guint32 pool;
} Removal;

typedef struct {
    VarveEngine *engine;
    VarvePool *only;     /* NULL: all pools */
    GHashTable *skipped; /* id -> Skipped: those that failed in this round */
    GArray *batch;       /* of Removal */
    guint64 freed, failed;
} Pass;

static gboolean
take_removal(guint64 id, guint32 pool, gpointer data)
{
    Pass *pass = data;
    Removal removal = {id, pool};
    if ((pass->only == NULL || pass->only->number == pool) &&
        !g_hash_table_contains(pass->skipped, &id))
        g_array_append_val(pass->batch, removal);
    return pass->batch->len < BATCH;
}

static gboolean
take_batch(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Pass *pass = data;
    g_array_set_size(pass->batch, 0);
    return varve_record_removals(txn, take_removal, pass, error);
}

static gboolean
strike_off(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Pass *pass = data;
    for (guint i = 0; i < pass->batch->len; i++) {
        guint64 id = g_array_index(pass->batch, Removal, i).id;
        if (!g_hash_table_contains(pass->skipped, &id) &&
            !varve_record_removal_done(txn, id, error))
            return FALSE;
    }
    return TRUE;
}

typedef struct {
    guint32 pool;
    char *why; /* NULL: it was not tried */
} Skipped;

static void
skipped_free(Skipped *skipped)
{
    g_free(skipped->why);
    g_free(skipped);
}

static void
skip(Pass *pass, const Removal *removal, const GError *why)
{
    Skipped *skipped = g_new0(Skipped, 1);
    skipped->pool = removal->pool;
    skipped->why = why != NULL ? g_strdup(why->message) : NULL;
    g_hash_table_replace(pass->skipped, g_memdup2(&removal->id, sizeof(removal->id)), skipped);
    pass->failed += why != NULL;
}

static void
log_failures(Pass *pass)
{
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, pass->skipped);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const Skipped *skipped = value;
        if (skipped->why == NULL)
            continue;
        g_autofree char *id = g_strdup_printf("%" G_GUINT64_FORMAT, *(guint64 *)key);
        g_autofree char *pool = g_strdup_printf("%u", skipped->pool);
        varve_log(VARVE_LOG_WARNING, "cannot free a removed snapshot yet", "pool-number", pool,
                  "id", id, "error", skipped->why, NULL);
    }
}

/* The ids of one pool that this process works on now. */
typedef struct {
    VarvePool *pool;
    const Removal *removals[GROUP];
    guint64 ids[GROUP];
    guint slots[GROUP];
    GError *errors[GROUP];
    gsize n;
} Group;

static void
remove_group(Group *group)
{
    const VarvePool *pool = group->pool;
    if (pool->driver->remove_many != NULL) {
        pool->driver->remove_many(pool->self, group->ids, group->n, group->errors);
        return;
    }
    for (gsize i = 0; i < group->n; i++)
        (void)pool->driver->remove(pool->self, group->ids[i], &group->errors[i]);
}

static void
flush_group(Pass *pass, Group *group)
{
    if (group->n > 0)
        remove_group(group);
    for (gsize i = 0; i < group->n; i++) {
        varve_inflight_end(pass->engine->inflight, group->slots[i]);
        if (group->errors[i] == NULL)
            pass->freed++;
        else
            skip(pass, group->removals[i], group->errors[i]);
        g_clear_error(&group->errors[i]);
    }
    group->n = 0;
}

/* The pool of a removal is gone only if somebody took its directory away too; then so are the
 * files. */
static gboolean
add_to_group(Pass *pass, Group *group, const Removal *removal, GError **error)
{
    if (group->pool == NULL || group->pool->number != removal->pool || group->n == GROUP) {
        flush_group(pass, group);
        group->pool = pass->only != NULL
                          ? pass->only
                          : varve_engine_get_pool_by_number(pass->engine, removal->pool, error);
        if (group->pool == NULL)
            return FALSE;
    }
    if (!varve_inflight_begin(pass->engine->inflight, removal->pool, removal->id,
                              &group->slots[group->n]))
        return varve_error_set(error, VARVE_ERROR_BUSY, "somebody is working on it");
    group->removals[group->n] = removal;
    group->ids[group->n++] = removal->id;
    return TRUE;
}

static void
free_files(Pass *pass)
{
    Group group = {0};
    for (guint i = pass->batch->len; i-- > 0;) {
        g_autoptr(GError) failure = NULL;
        const Removal *removal = &g_array_index(pass->batch, Removal, i);
        if (g_atomic_int_get(&pass->engine->cancelled))
            skip(pass, removal, NULL);
        else if (!add_to_group(pass, &group, removal, &failure))
            skip(pass, removal, failure);
    }
    flush_group(pass, &group);
}

/* Frees one batch; *more: whether there was something to free. */
static gboolean
free_batch(Pass *pass, gboolean *more, GError **error)
{
    VarveStore *store = pass->engine->store;
    *more = FALSE;
    if (!varve_store_read(store, take_batch, pass, error))
        return FALSE;
    if (pass->batch->len == 0)
        return TRUE;
    if (!varve_store_sync(store, error))
        return FALSE;
    *more = TRUE;
    guint64 before = pass->freed;
    free_files(pass);
    return (pass->freed == before ||
            varve_store_write(store, VARVE_STORE_ORDERED, strike_off, pass, error)) &&
           varve_check_cancelled(&pass->engine->cancelled, error);
}

/* Everything in the table once. */
static gboolean
run_round(Pass *pass, GError **error)
{
    pass->freed = pass->failed = 0;
    g_hash_table_remove_all(pass->skipped);
    for (gboolean more = TRUE; more;) {
        if (!free_batch(pass, &more, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
varve_removals_free(VarveEngine *engine, VarvePool *only, VarveCleanup *result, GError **error)
{
    g_autoptr(GHashTable) skipped =
        g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, (GDestroyNotify)skipped_free);
    g_autoptr(GArray) batch = g_array_new(FALSE, FALSE, sizeof(Removal));
    Pass pass = {.engine = engine, .only = only, .skipped = skipped, .batch = batch};
    gboolean ok;
    do {
        ok = run_round(&pass, error);
        result->removed += pass.freed;
    } while (ok && pass.freed > 0 && pass.failed > 0);
    log_failures(&pass);
    result->failed += pass.failed;
    return ok;
}

static gboolean
have_removal(guint64 id, guint32 pool, gpointer data)
{
    ++*(guint64 *)data;
    return FALSE;
}

static gboolean
count_removals(VarveStoreTxn *txn, gpointer data, GError **error)
{
    *(guint64 *)data = 0;
    return varve_record_removals(txn, have_removal, data, error);
}

gboolean
varve_removals_left(VarveEngine *engine)
{
    guint64 left = 0;
    return !varve_store_read(engine->store, count_removals, &left, NULL) || left > 0;
}
