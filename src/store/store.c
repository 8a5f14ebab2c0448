/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"
#include "base/batch.h"
#include "base/fd.h"
#include "store.pb-c.h"
#include "store/internal.h"
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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

#define INITIAL_MAP ((gsize)256 << 20)
#define RESERVE     ((gsize)1 << 20)
#define MAX_READERS 1024
#define LOCKS_SIZE  (4096 + MAX_READERS * 64) /* a head, and a cache line for each reader */

struct VarveStore {
    MDB_env *env;
    MDB_dbi tree;
    GRWLock map_lock; /* held for reading by every transaction, for writing to change the map */
    VarveBatch *writers;
    int datafd; /* of the data file, for reserve() */
    guint page_size;
    char uuid[37];
    guint32 schema;
};

/* --- errors and small accessors --------------------------------------------------------------- */

gboolean
varve_store_error(VarveStoreTxn *txn, int rc, const char *what, GError **error)
{
    switch (rc) {
    case MDB_MAP_FULL:
        if (txn != NULL)
            txn->full = TRUE;
        return varve_error_set(error, VARVE_ERROR_NO_SPACE, "%s: the map is full", what);
    case MDB_READERS_FULL:
        return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                               "%s: too many readers of the store at once", what);
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_VERSION_MISMATCH:
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "%s: %s", what, mdb_strerror(rc));
    case MDB_PANIC:
        return varve_error_set(error, VARVE_ERROR_INTERNAL,
                               "%s: an earlier write failed; open the store again", what);
    default:
        if (rc > 0)
            return varve_error_set_errno(error, rc, "%s", what);
        return varve_error_set(error, VARVE_ERROR_INTERNAL, "%s: %s", what, mdb_strerror(rc));
    }
}

void
varve_key_begin(VarveKey *key, guint8 kind)
{
    key->bytes[0] = kind;
    key->size = 1;
}

void
varve_key_add_bytes(VarveKey *key, const void *bytes, gsize size)
{
    g_assert(size <= sizeof(key->bytes) - key->size);
    memcpy(key->bytes + key->size, bytes, size);
    key->size += size;
}

void
varve_key_add_u32(VarveKey *key, guint32 number)
{
    number = GUINT32_TO_BE(number);
    varve_key_add_bytes(key, &number, sizeof(number));
}

void
varve_key_add_u64(VarveKey *key, guint64 number)
{
    number = GUINT64_TO_BE(number);
    varve_key_add_bytes(key, &number, sizeof(number));
}

static MDB_val
key_value(const VarveKey *key)
{
    return (MDB_val){key->size, (void *)key->bytes};
}

gboolean
varve_store_get(VarveStoreTxn *txn, const VarveKey *key, MDB_val *value, GError **error)
{
    MDB_val k = key_value(key);
    int rc = mdb_get(txn->txn, txn->store->tree, &k, value);
    if (rc == MDB_NOTFOUND)
        *value = (MDB_val){0, NULL};
    else if (rc != 0)
        return varve_store_error(txn, rc, "reading the store", error);
    return TRUE;
}

gboolean
varve_store_put(VarveStoreTxn *txn, const VarveKey *key, const void *bytes, gsize size,
                GError **error)
{
    MDB_val k = key_value(key), value = {size, (void *)bytes};
    if (!txn->room && key->bytes[0] != KIND_REMOVAL)
        return varve_error_set_errno(error, ENOSPC, "writing the store");
    txn->wrote = TRUE;
    int rc = mdb_put(txn->txn, txn->store->tree, &k, &value, 0);
    return rc == 0 || varve_store_error(txn, rc, "writing the store", error);
}

gboolean
varve_store_del(VarveStoreTxn *txn, const VarveKey *key, GError **error)
{
    MDB_val k = key_value(key);
    txn->wrote = TRUE;
    int rc = mdb_del(txn->txn, txn->store->tree, &k, NULL);
    return rc == 0 || rc == MDB_NOTFOUND || varve_store_error(txn, rc, "writing the store", error);
}

gboolean
varve_store_open_cursor(VarveStoreTxn *txn, MDB_cursor **cursor, GError **error)
{
    int rc = mdb_cursor_open(txn->txn, txn->store->tree, cursor);
    return rc == 0 || varve_store_error(txn, rc, "reading the store", error);
}

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

gboolean
varve_store_read(VarveStore *store, VarveStoreFunc func, gpointer data, GError **error)
{
    VarveStoreTxn txn;
    if (!begin(store, MDB_RDONLY, &txn, error))
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

static void
run_writes(gpointer *items, gsize n, gpointer data)
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

/* --- opening ---------------------------------------------------------------------------------- */

/* LMDB copies pages itself; doing it again, and summing each, makes a sync on btrfs twice as slow.
 */
void
varve_store_set_nocow(int fd)
{
    int flags;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_NOCOW_FL;
        (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
}

void
varve_superblock_key(VarveKey *key)
{
    varve_key_begin(key, KIND_META);
    varve_key_add_bytes(key, "superblock", strlen("superblock"));
}

static gboolean
read_superblock(VarveStoreTxn *txn, gpointer data, GError **error)
{
    VarveStore *store = data;
    VarveKey key;
    MDB_val value;
    varve_superblock_key(&key);
    if (!varve_store_get(txn, &key, &value, error))
        return FALSE;
    if (value.mv_data == NULL)
        return TRUE;
    Varve__Store__Superblock *sb =
        varve__store__superblock__unpack(NULL, value.mv_size, value.mv_data);
    if (sb == NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "the superblock cannot be read");
    store->schema = sb->schema;
    g_strlcpy(store->uuid, sb->uuid, sizeof(store->uuid));
    varve__store__superblock__free_unpacked(sb, NULL);
    return TRUE;
}

static gboolean
write_superblock(VarveStoreTxn *txn, gpointer data, GError **error)
{
    VarveStore *store = data;
    if (!read_superblock(txn, data, error))
        return FALSE;
    if (store->schema != 0)
        return TRUE; /* another process was faster */
    g_autofree char *uuid = g_uuid_string_random();
    Varve__Store__Superblock sb = VARVE__STORE__SUPERBLOCK__INIT;
    sb.schema = STORE_SCHEMA;
    sb.uuid = uuid;
    sb.created = g_get_real_time() * 1000;
    guint8 buffer[256];
    VarveKey key;
    varve_superblock_key(&key);
    gsize size = varve__store__superblock__pack(&sb, buffer);
    store->schema = STORE_SCHEMA;
    g_strlcpy(store->uuid, uuid, sizeof(store->uuid));
    return varve_store_put(txn, &key, buffer, size, error);
}

static gboolean
open_tree(VarveStore *store, GError **error)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (rc == 0) {
        rc = mdb_dbi_open(txn, NULL, 0, &store->tree);
        mdb_txn_abort(txn);
    }
    return rc == 0 || varve_store_error(NULL, rc, "opening the store's tree", error);
}

/* LMDB maps the file: reading behind its end would kill the process, so a truncated one is found
 * now. */
static gboolean
check_size(VarveStore *store, GError **error)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat st;
    mdb_env_info(store->env, &info);
    mdb_env_stat(store->env, &stat);
    store->page_size = stat.ms_psize;
    if (fstat(store->datafd, &st) < 0)
        return varve_error_set_errno(error, errno, "looking at the data file");
    gsize used = (info.me_last_pgno + 1) * store->page_size;
    if (info.me_last_txnid > 0 && (gsize)st.st_size < used)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the data file is truncated: it has %zu bytes of %zu",
                               (gsize)st.st_size, used);
    return TRUE;
}

static gsize
initial_map(void)
{
    const char *text = g_getenv("VARVE_STORE_MAP"); /* for tests of growth */
    return text != NULL ? (gsize)strtoull(text, NULL, 10) : INITIAL_MAP;
}

/* LMDB makes its file of locks and readers sparse, and maps it: to write to a hole of it on a full
 * disk would kill the process. So all of it is allocated before LMDB sees it; not later, since to
 * close a file takes this process's locks on it away. */
static gboolean
allocate_locks(const char *path, GError **error)
{
    g_autofree char *name = g_build_filename(path, "lock.mdb", NULL);
    struct stat st;
    if (stat(name, &st) == 0 && st.st_blocks * 512 >= LOCKS_SIZE)
        return TRUE;
    varve_autofd fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return varve_error_set_errno(error, errno, "opening the store's locks");
    int rc = posix_fallocate(fd, 0, LOCKS_SIZE);
    return rc == 0 || varve_error_set_errno(error, rc, "allocating the store's locks");
}

static gboolean
open_env(VarveStore *store, const char *path, GError **error)
{
    if (!allocate_locks(path, error))
        return FALSE;
    int rc = mdb_env_create(&store->env);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(store->env, MAX_READERS);
    if (rc == 0)
        rc = mdb_env_set_mapsize(store->env, initial_map());
    if (rc == 0)
        rc = mdb_env_open(store->env, path, MDB_NOTLS | MDB_NOMETASYNC | MDB_NORDAHEAD, 0600);
    if (rc != 0)
        return varve_store_error(NULL, rc, "opening the store", error);
    (void)mdb_reader_check(store->env, NULL);
    if (mdb_env_get_fd(store->env, &store->datafd) != 0)
        return varve_error_set(error, VARVE_ERROR_INTERNAL, "the store has no data file");
    return check_size(store, error);
}

static gboolean
open_store(VarveStore *store, const char *path, gboolean must_exist, GError **error)
{
    if (must_exist && access(path, F_OK) < 0)
        return varve_error_set_errno(error, errno, "looking for it");
    gboolean fresh = access(path, F_OK) < 0;
    varve_autofd dirfd = varve_fd_make_dir(AT_FDCWD, path, 0700, error);
    if (dirfd < 0)
        return FALSE;
    if (fresh)
        varve_store_set_nocow(dirfd);
    if (!open_env(store, path, error) || !open_tree(store, error) ||
        !varve_store_read(store, read_superblock, store, error))
        return FALSE;
    if (store->schema > STORE_SCHEMA)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "it was written by a newer Varve (schema %u, this one knows up to "
                               "%u): use that one",
                               store->schema, STORE_SCHEMA);
    if (store->schema != 0)
        return TRUE;
    return varve_store_write(store, VARVE_STORE_DURABLE, write_superblock, store, error);
}

VarveStore *
varve_store_open(const char *path, gboolean must_exist, GError **error)
{
    g_autoptr(VarveStore) store = g_new0(VarveStore, 1);
    g_rw_lock_init(&store->map_lock);
    store->writers = varve_batch_new(run_writes, store);
    if (!open_store(store, path, must_exist, error)) {
        g_prefix_error(error, "opening the store in %s: ", path);
        return NULL;
    }
    return g_steal_pointer(&store);
}

void
varve_store_close(VarveStore *store)
{
    if (store == NULL)
        return;
    varve_batch_free(store->writers);
    if (store->env != NULL)
        mdb_env_close(store->env);
    g_rw_lock_clear(&store->map_lock);
    g_free(store);
}

gboolean
varve_store_get_info(VarveStore *store, VarveStoreInfo *info, GError **error)
{
    MDB_envinfo env;
    int rc = mdb_env_info(store->env, &env);
    if (rc != 0)
        return varve_store_error(NULL, rc, "asking the store", error);
    info->schema = store->schema;
    g_strlcpy(info->uuid, store->uuid, sizeof(info->uuid));
    info->used = (env.me_last_pgno + 1) * store->page_size;
    info->size = env.me_mapsize;
    info->readers = env.me_numreaders;
    return TRUE;
}
