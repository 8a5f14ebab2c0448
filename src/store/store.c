/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"
#include "base/batch.h"
#include "base/fd.h"
#include "base/uuid.h"
#include "store.pb-c.h"
#include "store/internal.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define INITIAL_MAP ((gsize)256 << 20)
#define MAX_READERS 1024
#define LOCKS_NAME  "lock.mdb"
#define LOCKS_SIZE  (4096 + MAX_READERS * 64) /* a head, and a cache line for each reader */

/*
 * The stores that this process has open. One must not be opened twice: closing any descriptor of
 * its lock file, which opening it does too, ends the process's locks on it, and with them all that
 * keeps other processes from setting it up anew.
 */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static GPtrArray *open_stores; /* VarveStore */

static gboolean
is_open(const VarveStore *store)
{
    for (guint i = 0; i < open_stores->len; i++) {
        const VarveStore *other = open_stores->pdata[i];
        if (other->dev == store->dev && other->ino == store->ino && other->pid == store->pid)
            return TRUE;
    }
    return FALSE;
}

static gboolean
enter(VarveStore *store, int dirfd, GError **error)
{
    struct stat st;
    if (fstat(dirfd, &st) < 0)
        return varve_error_set_errno(error, errno, "looking at its directory");
    store->dev = st.st_dev;
    store->ino = st.st_ino;
    store->pid = getpid(); /* who was forked has none of its parent's locks */
    pthread_mutex_lock(&open_lock);
    if (open_stores == NULL)
        open_stores = g_ptr_array_new();
    gboolean is_first = !is_open(store);
    if (is_first)
        g_ptr_array_add(open_stores, store);
    else
        store->pid = 0;
    pthread_mutex_unlock(&open_lock);
    return is_first ||
           varve_error_set(error, VARVE_ERROR_BUSY,
                           "this process has it open already, and its threads can share that");
}

static void
leave(VarveStore *store)
{
    pthread_mutex_lock(&open_lock);
    if (store->pid != 0)
        g_ptr_array_remove_fast(open_stores, store);
    pthread_mutex_unlock(&open_lock);
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
    g_autofree char *uuid = varve_uuid_new();
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

static int
retry_lock(int fd, struct flock *lock)
{
    int rc;
    do
        rc = fcntl(fd, F_SETLKW, lock);
    while (rc < 0 && errno == EINTR);
    return rc;
}

/*
 * Whoever opens an environment that nobody has open takes a write lock on the first byte of its
 * lock file, sets the file up anew (mutexes; no last transaction, no readers), fills in the last
 * transaction, and turns the lock into a read lock, which every process keeps. LMDB does not see
 * when that one is killed before it has come to the end: who was waiting for the read lock gets it,
 * and works with what is there, upon a state that is a transaction old, and what it writes is lost.
 *
 * So processes open it one after the other, and each first waits until the write lock of one that
 * was killed is gone; then LMDB finds nobody there, and sets the file up once more. The descriptor
 * that the wait needs must be closed before LMDB has its own: closing one ends a process's locks.
 */
static gboolean
wait_for_turn(int dirfd, GError **error)
{
    int rc;
    do
        rc = flock(dirfd, LOCK_EX);
    while (rc < 0 && errno == EINTR);
    varve_autofd fd = rc < 0 ? -1 : openat(dirfd, LOCKS_NAME, O_RDWR | O_CLOEXEC);
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    return (fd >= 0 && retry_lock(fd, &lock) == 0) ||
           varve_error_set_errno(error, errno, "waiting for others who open it");
}

static gboolean
open_env(VarveStore *store, int dirfd, const char *path, GError **error)
{
    /* Before LMDB sees it, which would make it sparse. */
    if (!varve_shared_file_open(&store->locks, dirfd, LOCKS_NAME, LOCKS_SIZE, error)) {
        g_prefix_error(error, "the store's locks: ");
        return FALSE;
    }
    if (!wait_for_turn(dirfd, error))
        return FALSE;
    int rc = mdb_env_create(&store->env);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(store->env, MAX_READERS);
    if (rc == 0)
        rc = mdb_env_set_mapsize(store->env, initial_map());
    if (rc == 0)
        rc = mdb_env_open(store->env, path, MDB_NOTLS | MDB_NOMETASYNC | MDB_NORDAHEAD, 0600);
    (void)flock(dirfd, LOCK_UN);
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
    /* LMDB copies pages itself; doing it again, and summing each, makes a sync on btrfs twice as
     * slow. */
    if (fresh)
        varve_fd_set_nocow(dirfd);
    if (!enter(store, dirfd, error) || !open_env(store, dirfd, path, error) ||
        !open_tree(store, error) || !varve_store_read(store, read_superblock, store, error))
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
    store->locks = (VarveSharedFile)VARVE_SHARED_FILE_INIT;
    g_rw_lock_init(&store->map_lock);
    store->writers = varve_batch_new(varve_store_run_writes, store);
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
    varve_shared_file_close(&store->locks);
    leave(store);
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
