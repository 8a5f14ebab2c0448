/* SPDX-License-Identifier: Apache-2.0 */
#include "base/batch.h"
#include "store/internal.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * How writes are made durable. The environment is opened with MDB_NOMETASYNC: a commit writes and
 * syncs the changed pages, then writes the meta page that makes them current without waiting for
 * it. Any later sync, at the latest the next commit's, brings the meta page to the disk; until then
 * a power cut brings back the transaction before. A durable write adds that one sync, once for all
 * writers of the batch.
 *
 * The data file is kept ahead of its use (reserve): pages that LMDB appends overwrite zeros that
 * are already allocated. So a sync need not change the file system's own metadata, which costs as
 * much again. And on a full disk snapshots can still be removed: the last of the reserve is not
 * given to records that are added.
 */

#define RESERVE ((gsize)1 << 20)

/* --- the map ---------------------------------------------------------------------------------- */

/* Makes the map as large as another process has made it (size 0), or that large. */
static gboolean
resize_map(VarveStore *store, gsize size, GError **error)
{
    g_rw_lock_writer_lock(&store->map_lock);
    int rc = mdb_env_set_mapsize(store->env, size);
    g_rw_lock_writer_unlock(&store->map_lock);
    return rc == 0 || varve_store_error(NULL, rc, "resizing the store's map", error);
}

static gboolean
grow_map(VarveStore *store, GError **error)
{
    MDB_envinfo info;
    mdb_env_info(store->env, &info);
    return resize_map(store, info.me_mapsize * 2, error);
}

/* Begins a transaction with the map lock held for reading, which end() gives back. */
static gboolean
begin(VarveStore *store, unsigned flags, VarveStoreTxn *txn, GError **error)
{
    *txn = (VarveStoreTxn){.store = store};
    gboolean checked = FALSE;
    for (;;) {
        g_rw_lock_reader_lock(&store->map_lock);
        int rc = mdb_txn_begin(store->env, NULL, flags, &txn->txn);
        if (rc == 0)
            return TRUE;
        g_rw_lock_reader_unlock(&store->map_lock);
        if (rc == MDB_MAP_RESIZED) {
            if (!resize_map(store, 0, error))
                return FALSE;
        } else if (rc == MDB_READERS_FULL && !checked) {
            checked = TRUE; /* slots of killed processes can be taken back */
            (void)mdb_reader_check(store->env, NULL);
        } else {
            return varve_store_error(NULL, rc, "beginning a transaction of the store", error);
        }
    }
}

static void
end(VarveStore *store)
{
    g_rw_lock_reader_unlock(&store->map_lock);
}

/* Pages inside the file that are free: LMDB's table 0 lists them, by the transaction that freed
 * them, each list headed by its length. It can be read in a read transaction only. */
static gsize
count_free_pages(VarveStore *store)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, value;
    gsize sum = 0, n;
    if (mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn) != 0)
        return 0;
    if (mdb_cursor_open(txn, 0, &cursor) == 0) {
        while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
            memcpy(&n, value.mv_data, sizeof(n));
            sum += n;
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return sum;
}

/* Writes zeros behind what LMDB uses, so that at least half of RESERVE is allocated ahead. Called
 * inside a write transaction, so nobody appends meanwhile. Returns whether there is room to add
 * something: the last of it is kept for taking records away. */
static gboolean
reserve(VarveStore *store)
{
    MDB_envinfo info;
    struct stat st;
    mdb_env_info(store->env, &info);
    gsize used = (info.me_last_pgno + 1) * store->page_size;
    if (fstat(store->datafd, &st) < 0 || (gsize)st.st_size >= used + RESERVE / 2)
        return TRUE;

    g_autofree char *zeros = g_malloc0(RESERVE);
    gsize from = MAX((gsize)st.st_size, used);
    ssize_t n = pwrite(store->datafd, zeros, RESERVE, (off_t)from);
    gsize room = from + (gsize)MAX(n, 0) - used;
    return room >= RESERVE / 4 || room + count_free_pages(store) * store->page_size >= RESERVE / 4;
}

/* --- reading and writing ---------------------------------------------------------------------- */

static guint64
last_written(VarveStore *store)
{
    MDB_envinfo info;
    mdb_env_info(store->env, &info);
    return info.me_last_txnid;
}

/* Begins a transaction that sees everything that was committed before. A commit writes the meta
 * page and then tells readers of it, in the lock file. Of one whose process was killed in between
 * readers know nothing until the next writer, who inherits its lock, finds the page: what they saw
 * would come true later, and with it what they concluded, that a snapshot's files belong to nobody,
 * say. So whoever finds a page that was not told of becomes that writer. */
static gboolean
begin_read(VarveStore *store, VarveStoreTxn *txn, GError **error)
{
    guint64 written = last_written(store);
    if (!begin(store, MDB_RDONLY, txn, error))
        return FALSE;
    if (mdb_txn_id(txn->txn) >= written)
        return TRUE;
    mdb_txn_abort(txn->txn);
    end(store);
    if (!begin(store, 0, txn, error))
        return FALSE;
    mdb_txn_abort(txn->txn);
    end(store);
    return begin(store, MDB_RDONLY, txn, error);
}

gboolean
varve_store_read(VarveStore *store, VarveStoreFunc func, gpointer data, GError **error)
{
    VarveStoreTxn txn;
    if (!begin_read(store, &txn, error))
        return FALSE;
    gboolean ok = func(&txn, data, error);
    mdb_txn_abort(txn.txn);
    end(store);
    return ok;
}

typedef struct {
    VarveStoreSync sync;
    VarveStoreFunc func;
    gpointer data;
    gboolean ok;
    GError *error;
} Write;

static void
fail(Write *write, const GError *error)
{
    write->ok = FALSE;
    g_clear_error(&write->error);
    write->error = g_error_copy(error);
}

typedef enum { RAN, GROW, AGAIN } Ran;

/* Runs the functions of those writes that are still ok, in one transaction, and commits it. AGAIN:
 * a function failed after it had changed something; it is marked, the rest is as if nothing was. */
static Ran
run_once(VarveStore *store, Write **writes, gsize n, GError **error)
{
    VarveStoreTxn txn;
    if (!begin(store, 0, &txn, error))
        return RAN;
    txn.room = reserve(store);

    Ran result = RAN;
    gboolean any = FALSE;
    for (gsize i = 0; i < n && result == RAN; i++) {
        Write *w = writes[i];
        if (!w->ok)
            continue;
        txn.wrote = FALSE;
        w->ok = w->func(&txn, w->data, &w->error);
        if (txn.full) {
            w->ok = TRUE;
            g_clear_error(&w->error);
            result = GROW;
        } else if (!w->ok && txn.wrote) {
            result = AGAIN;
        }
        any = any || w->ok;
    }

    if (result != RAN || !any) {
        mdb_txn_abort(txn.txn);
    } else {
        int rc = mdb_txn_commit(txn.txn);
        if (rc == MDB_MAP_FULL)
            result = GROW;
        else if (rc != 0)
            varve_store_error(NULL, rc, "committing to the store", error);
    }
    end(store);
    return result;
}

void
varve_store_run_writes(gpointer *items, gsize n, gpointer data)
{
    VarveStore *store = data;
    Write **writes = (Write **)items;
    g_autoptr(GError) error = NULL;

    Ran ran;
    do {
        ran = run_once(store, writes, n, &error);
        if (ran == GROW && !grow_map(store, &error))
            break;
    } while (ran != RAN && error == NULL);

    gboolean durable = FALSE;
    for (gsize i = 0; i < n; i++)
        durable = durable || (writes[i]->ok && writes[i]->sync == VARVE_STORE_DURABLE);
    if (error == NULL && durable)
        varve_store_sync(store, &error);

    for (gsize i = 0; i < n && error != NULL; i++) {
        if (writes[i]->ok)
            fail(writes[i], error);
    }
}

gboolean
varve_store_write(VarveStore *store, VarveStoreSync sync, VarveStoreFunc func, gpointer data,
                  GError **error)
{
    Write write = {.sync = sync, .func = func, .data = data, .ok = TRUE};
    varve_batch_submit(store->writers, &write);
    if (!write.ok)
        g_propagate_error(error, write.error);
    return write.ok;
}

gboolean
varve_store_sync(VarveStore *store, GError **error)
{
    int rc = mdb_env_sync(store->env, 1);
    return rc == 0 || varve_store_error(NULL, rc, "syncing the store", error);
}
