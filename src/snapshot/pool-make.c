/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/tree.h"
#include "snapshot/internal.h"
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/*
 * Making pools and taking them away. One process at a time does so, under a lock on the directory
 * pools/. The directory of a pool is made before its record and removed after it, so one without a
 * record is the rest of something that was cut short.
 */

/* In a snapshot are files that set the user id, and data of whoever ran it: what is presented is
 * mounted elsewhere, and nobody but root gets at it by this path. */
#define POOL_MODE 0700
#define MAX_NAME  64

/* --- making one ------------------------------------------------------------------------------- */

static gboolean
check_name(const char *name, GError **error)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    gsize length = name != NULL ? strlen(name) : 0;
    if (length > 0 && length <= MAX_NAME && g_ascii_isalnum(name[0]) &&
        strspn(name, allowed) == length)
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "a pool's name has 1 to %d letters, digits, '_', '.' and '-', and "
                           "begins with a letter or digit",
                           MAX_NAME);
}

/* One at a time makes or removes pools, over all processes. */
static int
lock_pools(VarveEngine *engine, GError **error)
{
    varve_autofd fd = varve_fd_open_dir(engine->rootfd, "pools", error);
    if (fd < 0)
        return -1;
    int rc;
    do
        rc = flock(fd, LOCK_EX);
    while (rc < 0 && errno == EINTR);
    if (rc < 0) {
        varve_error_set_errno(error, errno, "locking the pools");
        return -1;
    }
    int locked = fd;
    fd = -1;
    return locked;
}

static gboolean
is_empty(const char *path, GError **error)
{
    g_autoptr(GDir) dir = NULL;
    g_autoptr(GError) failure = NULL;
    dir = g_dir_open(path, 0, &failure);
    if (dir == NULL)
        return varve_error_set(error, VARVE_ERROR_INTERNAL, "%s", failure->message);
    return g_dir_read_name(dir) == NULL ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "the directory %s is not empty: it may hold somebody's data", path);
}

/* The directory of a new pool. One beneath the root that no record names is the rest of a pool
 * whose making or removal was cut short; any other must be empty. */
static gboolean
make_directory(VarvePool *pool, GError **error)
{
    VarveEngine *engine = pool->engine;
    if (g_hash_table_lookup(pool->settings, "path") == NULL &&
        !varve_tree_remove(engine->poolsfd, pool->name, NULL, error))
        return FALSE;
    g_autofree char *parent = g_path_get_dirname(pool->path);
    if (g_mkdir_with_parents(parent, 0755) < 0)
        return varve_error_set_errno(error, errno, "making directory %s", parent);
    varve_autofd fd = varve_fd_make_dir(AT_FDCWD, pool->path, POOL_MODE, error);
    return fd >= 0 && is_empty(pool->path, error);
}

/* --- leftovers -------------------------------------------------------------------------------- */

static gboolean
is_recorded(GPtrArray *records, const char *name)
{
    for (guint i = 0; i < records->len; i++) {
        if (g_str_equal(((const VarvePoolRecord *)g_ptr_array_index(records, i))->name, name))
            return TRUE;
    }
    return FALSE;
}

gboolean
varve_pools_clear_leftovers(VarveEngine *engine, VarveCleanup *result, GError **error)
{
    varve_autofd lock = varve_fd_open_dir(engine->rootfd, "pools", error);
    if (lock < 0)
        return FALSE;
    if (flock(lock, LOCK_EX | LOCK_NB) < 0)
        return TRUE; /* somebody makes or removes one: not now */
    g_autoptr(GPtrArray) records = varve_engine_pool_records(engine, error);
    if (records == NULL)
        return FALSE;
    g_autofree char *path = g_build_filename(engine->root, "pools", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        if (is_recorded(records, name))
            continue;
        g_autoptr(GError) failure = NULL;
        if (varve_tree_remove(engine->poolsfd, name, NULL, &failure)) {
            result->orphans++;
        } else {
            result->failed++;
            varve_log(VARVE_LOG_WARNING, "cannot clear away what is left of a pool", "directory",
                      name, "error", failure->message, NULL);
        }
    }
    return TRUE;
}

/* --- publishing ------------------------------------------------------------------------------- */

static gboolean
publish_pool(VarveStoreTxn *txn, gpointer data, GError **error)
{
    VarvePool *pool = data;
    g_autoptr(VarvePoolRecord) taken = NULL;
    if (!varve_record_get_pool(txn, pool->name, &taken, error))
        return FALSE;
    if (taken != NULL)
        return varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS, "the name is taken");

    g_auto(VarveLabels) settings;
    varve_labels_pack(pool->settings, &settings);
    VarvePoolRecord record = VARVE__STORE__POOL__INIT;
    record.name = pool->name;
    record.driver = (char *)pool->driver->name;
    record.settings = settings.pointers;
    record.n_settings = settings.n;
    record.created = g_get_real_time() * 1000;
    if (!varve_record_add_pool(txn, &record, error))
        return FALSE;
    pool->number = record.number;
    return TRUE;
}

/* Whether the name is free, told before anything is done for it. */
static gboolean
check_untaken(VarveEngine *engine, const char *name, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(VarvePoolRecord) record = varve_engine_pool_record(engine, name, &failure);
    if (record != NULL)
        return varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS, "the name is taken");
    if (g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

/* Makes the pool on disk, publishes it, and undoes what it did when that fails. */
static gboolean
establish(VarvePool *pool, GError **error)
{
    VarveEngine *engine = pool->engine;
    g_autoptr(GError) undo_error = NULL;
    if (!make_directory(pool, error))
        return FALSE;
    if (varve_pool_open_driver(pool, TRUE, error)) {
        if (pool->driver->sync(pool->self, 0, error) &&
            varve_store_write(engine->store, VARVE_STORE_DURABLE, publish_pool, pool, error))
            return TRUE;
        if (!pool->driver->destroy(pool->self, &undo_error))
            varve_error_log_undo("taking a new pool away", g_steal_pointer(&undo_error));
    }
    (void)rmdir(pool->path); /* only if it is empty, so nothing of anybody's is lost */
    return FALSE;
}

/* The path, or what there is of it: a driver is asked about it before anything is made. */
static char *
nearest_existing(const char *path)
{
    char *existing = g_strdup(path);
    while (!g_file_test(existing, G_FILE_TEST_IS_DIR)) {
        char *parent = g_path_get_dirname(existing);
        g_free(existing);
        existing = parent;
        if (g_str_equal(existing, "/") || g_str_equal(existing, "."))
            break;
    }
    return existing;
}

static gboolean
create_pool(VarveEngine *engine, const char *name, const char *driver_name, GHashTable *settings,
            GError **error)
{
    if (!check_name(name, error))
        return FALSE;
    varve_autofd lock = lock_pools(engine, error);
    if (lock < 0 || !check_untaken(engine, name, error))
        return FALSE;

    g_autofree char *wanted = varve_pool_path(engine, name, settings);
    g_autofree char *path = nearest_existing(wanted);
    gboolean pick = driver_name == NULL || g_str_equal(driver_name, "auto");
    const VarveDriver *driver =
        pick ? varve_driver_auto(path) : varve_driver_find(driver_name, error);
    if (driver == NULL || !varve_driver_check_settings(driver, settings, error))
        return FALSE;
    if (!driver->probe(path, settings, error)) {
        g_prefix_error(error, "the driver '%s' cannot work there: ", driver->name);
        return FALSE;
    }
    g_autoptr(VarvePool) pool = varve_pool_new(engine, name, driver, settings);
    if (!establish(pool, error))
        return FALSE;
    g_mutex_lock(&engine->pools_lock);
    VarvePool *stale = g_hash_table_lookup(engine->pools, name);
    if (stale != NULL)
        g_ptr_array_add(engine->retired, stale);
    g_hash_table_replace(engine->pools, pool->name, pool);
    pool = NULL;
    g_mutex_unlock(&engine->pools_lock);
    return TRUE;
}

gboolean
varve_engine_create_pool(VarveEngine *engine, const char *name, const char *driver,
                         GHashTable *settings, GError **error)
{
    /* A copy, so that the caller's table may change or go. */
    g_autoptr(GHashTable) copy = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    GHashTableIter iter;
    gpointer key, value;
    if (settings != NULL) {
        g_hash_table_iter_init(&iter, settings);
        while (g_hash_table_iter_next(&iter, &key, &value))
            g_hash_table_replace(copy, g_strdup(key), g_strdup(value));
    }
    if (create_pool(engine, name, driver, copy, error))
        return TRUE;
    g_prefix_error(error, "creating pool '%s': ", name != NULL ? name : "");
    return FALSE;
}

/* --- taking one away -------------------------------------------------------------------------- */

static gboolean
refuse_removal(guint64 id, guint32 pool, gpointer data)
{
    guint32 *number = data;
    if (pool == *number)
        *number = 0; /* seen one */
    return *number != 0;
}

static gboolean
publish_removal(VarveStoreTxn *txn, gpointer data, GError **error)
{
    VarvePool *pool = data;
    guint64 count;
    guint32 number = pool->number;
    if (!varve_record_count(txn, pool->number, &count, error))
        return FALSE;
    if (count > 0)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "it holds %" G_GUINT64_FORMAT " snapshots: remove them first",
                               count);
    if (!varve_record_removals(txn, refuse_removal, &number, error))
        return FALSE;
    if (number == 0)
        return varve_error_set(error, VARVE_ERROR_BUSY,
                               "files of removed snapshots are still to be freed: try again");
    return varve_record_del_pool(txn, pool->name, error);
}

static gboolean
remove_pool(VarveEngine *engine, const char *name, GError **error)
{
    VarveCleanup cleanup = {0};
    varve_autofd lock = lock_pools(engine, error);
    VarvePool *pool = lock < 0 ? NULL : varve_engine_get_pool(engine, name, error);
    if (pool == NULL || !varve_housekeeper_run(engine, pool, &cleanup, error))
        return FALSE;
    if (!varve_store_write(engine->store, VARVE_STORE_DURABLE, publish_removal, pool, error))
        return FALSE;
    g_mutex_lock(&engine->pools_lock);
    g_hash_table_remove(engine->pools, pool->name);
    g_ptr_array_add(engine->retired, pool);
    g_mutex_unlock(&engine->pools_lock);
    if (!pool->driver->destroy(pool->self, error))
        return FALSE;
    (void)rmdir(pool->path);
    return TRUE;
}

gboolean
varve_engine_remove_pool(VarveEngine *engine, const char *name, GError **error)
{
    if (remove_pool(engine, name, error))
        return TRUE;
    g_prefix_error(error, "removing pool '%s': ", name);
    return FALSE;
}
