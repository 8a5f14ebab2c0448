/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/tree.h"
#include "snapshot/internal.h"
#include <dirent.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define POOL_MODE    0711 /* users in containers pass through */
#define MAX_NAME     64
#define DEFAULT_NAME "default"

/* --- records ---------------------------------------------------------------------------------- */

static GHashTable *
settings_unpack(const VarvePoolRecord *record)
{
    return varve_labels_unpack(record->settings, record->n_settings);
}

static gboolean
list_records(VarveStoreTxn *txn, gpointer data, GError **error)
{
    return varve_record_list_pools(txn, data, error);
}

GPtrArray *
varve_engine_pool_records(VarveEngine *engine, GError **error)
{
    g_autoptr(GPtrArray) records =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_pool_record_free);
    if (!varve_store_read(engine->store, list_records, records, error))
        return NULL;
    return g_steal_pointer(&records);
}

typedef struct {
    const char *name;
    VarvePoolRecord *record;
} Find;

static gboolean
find_record(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Find *find = data;
    if (!varve_record_get_pool(txn, find->name, &find->record, error))
        return FALSE;
    return find->record != NULL ||
           varve_error_set(error, VARVE_ERROR_NOT_FOUND, "there is no pool of that name");
}

/* --- an open pool ----------------------------------------------------------------------------- */

/* Where a pool's snapshots are: its setting, or a place beneath the root. */
static char *
pool_path(VarveEngine *engine, const char *name, GHashTable *settings)
{
    const char *path = settings != NULL ? g_hash_table_lookup(settings, "path") : NULL;
    return path != NULL ? g_strdup(path) : g_build_filename(engine->root, "pools", name, NULL);
}

static VarvePool *
pool_new(VarveEngine *engine, const char *name, const VarveDriver *driver, GHashTable *settings)
{
    VarvePool *pool = g_new0(VarvePool, 1);
    pool->engine = engine;
    pool->name = g_strdup(name);
    pool->settings =
        settings != NULL ? g_hash_table_ref(settings) : g_hash_table_new(g_str_hash, g_str_equal);
    pool->path = pool_path(engine, name, settings);
    pool->driver = driver;
    pool->relaxed =
        g_str_equal(varve_driver_setting(driver, pool->settings, "durability"), "relaxed");
    pool->host.dirfd = -1;
    return pool;
}

void
varve_pool_free(VarvePool *pool)
{
    if (pool == NULL)
        return;
    if (pool->self != NULL)
        pool->driver->close(pool->self);
    varve_fd_clear(&pool->host.dirfd);
    g_hash_table_unref(pool->settings);
    g_free(pool->path);
    g_free(pool->name);
    g_free(pool);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarvePool, varve_pool_free)

/* Watches of the engine are read when they are used: they may be set after the pool is opened. */
static void
tell_progress(const char *verb, guint64 files, guint64 bytes, gpointer data)
{
    VarveEngine *engine = data;
    if (engine->progress != NULL)
        engine->progress(verb, files, bytes, engine->progress_data);
}

static gboolean
open_driver(VarvePool *pool, gboolean fresh, GError **error)
{
    pool->host.name = pool->name;
    pool->host.path = pool->path;
    pool->host.settings = pool->settings;
    pool->host.cancelled = &pool->engine->cancelled;
    pool->host.progress = tell_progress;
    pool->host.progress_data = pool->engine;
    pool->host.dirfd = varve_fd_open_dir(AT_FDCWD, pool->path, error);
    if (pool->host.dirfd < 0)
        return FALSE;
    pool->self = pool->driver->open(&pool->host, fresh, error);
    return pool->self != NULL;
}

static VarvePool *
open_record(VarveEngine *engine, const VarvePoolRecord *record, GError **error)
{
    const VarveDriver *driver = varve_driver_find(record->driver, error);
    if (driver == NULL)
        return NULL;
    g_autoptr(GHashTable) settings = settings_unpack(record);
    g_autoptr(VarvePool) pool = pool_new(engine, record->name, driver, settings);
    pool->number = record->number;
    if (!open_driver(pool, FALSE, error))
        return NULL;
    return g_steal_pointer(&pool);
}

/* The pool of a record, opened if it is not yet. Under pools_lock. */
static VarvePool *
get_open(VarveEngine *engine, const VarvePoolRecord *record, GError **error)
{
    VarvePool *pool = g_hash_table_lookup(engine->pools, record->name);
    if (pool != NULL && pool->number == record->number)
        return pool;
    if (pool != NULL) { /* removed, and made anew, by another process */
        g_hash_table_remove(engine->pools, pool->name);
        g_ptr_array_add(engine->retired, pool);
    }
    pool = open_record(engine, record, error);
    if (pool != NULL)
        g_hash_table_insert(engine->pools, pool->name, pool);
    return pool;
}

gboolean
varve_pool_publish(VarvePool *pool, VarveStoreFunc func, gpointer data, GError **error)
{
    VarveEngine *engine = pool->engine;
    if (!varve_store_write(engine->store, VARVE_STORE_ORDERED, func, data, error))
        return FALSE;
    varve_housekeeper_settle(engine->housekeeper);
    return TRUE;
}

const char *
varve_pool_get_name(VarvePool *pool)
{
    return pool->name;
}

/* --- getting one ------------------------------------------------------------------------------ */

/* "the only pool, or the one named default": NULL without an error where there is none at all. */
static char *
choose_default(VarveEngine *engine, GError **error)
{
    g_autoptr(GPtrArray) records = varve_engine_pool_records(engine, error);
    if (records == NULL)
        return NULL;
    for (guint i = 0; i < records->len; i++) {
        const VarvePoolRecord *record = g_ptr_array_index(records, i);
        if (records->len == 1 || g_str_equal(record->name, DEFAULT_NAME))
            return g_strdup(record->name);
    }
    if (records->len > 0)
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                        "there are %u pools and none is named '%s': name the one that is meant",
                        records->len, DEFAULT_NAME);
    return NULL;
}

static VarvePool *
get_default_pool(VarveEngine *engine, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autofree char *name = choose_default(engine, &failure);
    if (failure != NULL) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    if (name == NULL) {
        name = g_strdup(DEFAULT_NAME);
        if (!varve_engine_create_pool(engine, name, NULL, NULL, &failure) &&
            !g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS)) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return NULL;
        }
    }
    return varve_engine_get_pool(engine, name, error);
}

VarvePool *
varve_engine_get_pool(VarveEngine *engine, const char *name, GError **error)
{
    if (name == NULL)
        return get_default_pool(engine, error);
    VarvePool *pool = NULL;
    Find find = {.name = name};
    if (varve_store_read(engine->store, find_record, &find, error)) {
        g_mutex_lock(&engine->pools_lock);
        pool = get_open(engine, find.record, error);
        g_mutex_unlock(&engine->pools_lock);
    }
    varve_pool_record_free(find.record);
    if (pool == NULL)
        g_prefix_error(error, "opening pool '%s': ", name);
    return pool;
}

VarvePool *
varve_engine_get_pool_by_number(VarveEngine *engine, guint32 number, GError **error)
{
    g_autoptr(GPtrArray) records = varve_engine_pool_records(engine, error);
    if (records == NULL)
        return NULL;
    for (guint i = 0; i < records->len; i++) {
        const VarvePoolRecord *record = g_ptr_array_index(records, i);
        if (record->number == number)
            return varve_engine_get_pool(engine, record->name, error);
    }
    varve_error_set(error, VARVE_ERROR_NOT_FOUND, "there is no pool number %u", number);
    return NULL;
}

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

typedef struct {
    VarvePool *pool;
} Publish;

static gboolean
publish_pool(VarveStoreTxn *txn, gpointer data, GError **error)
{
    VarvePool *pool = ((Publish *)data)->pool;
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
    Find find = {.name = name};
    if (varve_store_read(engine->store, find_record, &find, &failure)) {
        varve_pool_record_free(find.record);
        return varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS, "the name is taken");
    }
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
    Publish publish = {pool};
    if (!make_directory(pool, error))
        return FALSE;
    if (open_driver(pool, TRUE, error)) {
        if (pool->driver->sync(pool->self, 0, error) &&
            varve_store_write(engine->store, VARVE_STORE_DURABLE, publish_pool, &publish, error))
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

    g_autofree char *wanted = pool_path(engine, name, settings);
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
    g_autoptr(VarvePool) pool = pool_new(engine, name, driver, settings);
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
    VarvePool *pool = ((Publish *)data)->pool;
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
    Publish publish = {pool};
    if (!varve_store_write(engine->store, VARVE_STORE_DURABLE, publish_removal, &publish, error))
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

/* --- looking at them -------------------------------------------------------------------------- */

void
varve_pool_info_free(VarvePoolInfo *info)
{
    if (info == NULL)
        return;
    g_free(info->name);
    g_free(info->driver);
    g_free(info->path);
    g_hash_table_unref(info->settings);
    g_free(info->problem);
    g_free(info);
}

typedef struct {
    guint32 number;
    guint64 count;
} Count;

static gboolean
count_snapshots(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Count *count = data;
    return varve_record_count(txn, count->number, &count->count, error);
}

static VarvePoolInfo *
describe(VarveEngine *engine, const VarvePoolRecord *record, GError **error)
{
    Count count = {.number = record->number};
    if (!varve_store_read(engine->store, count_snapshots, &count, error))
        return NULL;
    VarvePoolInfo *info = g_new0(VarvePoolInfo, 1);
    info->name = g_strdup(record->name);
    info->driver = g_strdup(record->driver);
    info->settings = settings_unpack(record);
    info->path = pool_path(engine, record->name, info->settings);
    info->created = record->created;
    info->snapshots = count.count;

    g_autoptr(GError) failure = NULL;
    struct statvfs st;
    VarvePool *pool = varve_engine_get_pool(engine, record->name, &failure);
    if (pool == NULL) {
        info->problem = g_strdup(failure->message);
    } else if (fstatvfs(pool->driver->get_fd(pool->self), &st) == 0) {
        info->size = (guint64)(st.f_blocks - st.f_bfree + st.f_bavail) * st.f_frsize; /* as df */
        info->free = (guint64)st.f_bavail * st.f_frsize;
    }
    return info;
}

GPtrArray *
varve_engine_list_pools(VarveEngine *engine, GError **error)
{
    g_autoptr(GPtrArray) infos =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_pool_info_free);
    g_autoptr(GPtrArray) records = varve_engine_pool_records(engine, error);
    for (guint i = 0; records != NULL && i < records->len; i++) {
        VarvePoolInfo *info = describe(engine, g_ptr_array_index(records, i), error);
        if (info == NULL)
            g_clear_pointer(&records, g_ptr_array_unref);
        else
            g_ptr_array_add(infos, info);
    }
    if (records != NULL)
        return g_steal_pointer(&infos);
    g_prefix_error(error, "listing pools: ");
    return NULL;
}

VarvePoolInfo *
varve_engine_inspect_pool(VarveEngine *engine, const char *name, GError **error)
{
    VarvePoolInfo *info = NULL;
    Find find = {.name = name};
    if (varve_store_read(engine->store, find_record, &find, error))
        info = describe(engine, find.record, error);
    varve_pool_record_free(find.record);
    if (info == NULL)
        g_prefix_error(error, "inspecting pool '%s': ", name);
    return info;
}
