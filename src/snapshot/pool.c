/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "snapshot/internal.h"
#include <string.h>

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
    g_clear_pointer(&find->record, varve_pool_record_free);
    return varve_record_get_pool(txn, find->name, &find->record, error);
}

VarvePoolRecord *
varve_engine_pool_record(VarveEngine *engine, const char *name, GError **error)
{
    Find find = {.name = name};
    if (!varve_store_read(engine->store, find_record, &find, error))
        return NULL;
    if (find.record == NULL)
        varve_error_set(error, VARVE_ERROR_NOT_FOUND, "there is no pool of that name");
    return find.record;
}

/* --- an open pool ----------------------------------------------------------------------------- */

char *
varve_pool_path(VarveEngine *engine, const char *name, GHashTable *settings)
{
    const char *path = settings != NULL ? g_hash_table_lookup(settings, "path") : NULL;
    return path != NULL ? g_strdup(path) : g_build_filename(engine->root, "pools", name, NULL);
}

VarvePool *
varve_pool_new(VarveEngine *engine, const char *name, const VarveDriver *driver,
               GHashTable *settings)
{
    VarvePool *pool = g_new0(VarvePool, 1);
    pool->engine = engine;
    pool->name = g_strdup(name);
    pool->settings =
        settings != NULL ? g_hash_table_ref(settings) : g_hash_table_new(g_str_hash, g_str_equal);
    pool->path = varve_pool_path(engine, name, settings);
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

/* Watches of the engine are read when they are used: they may be set after the pool is opened. */
static void
tell_progress(const char *verb, guint64 files, guint64 bytes, gpointer data)
{
    VarveEngine *engine = data;
    if (engine->progress != NULL)
        engine->progress(verb, files, bytes, engine->progress_data);
}

gboolean
varve_pool_open_driver(VarvePool *pool, gboolean fresh, GError **error)
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
    g_autoptr(VarvePool) pool = varve_pool_new(engine, record->name, driver, settings);
    pool->number = record->number;
    if (!varve_pool_open_driver(pool, FALSE, error))
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
    g_autoptr(VarvePoolRecord) record = varve_engine_pool_record(engine, name, error);
    if (record != NULL) {
        g_mutex_lock(&engine->pools_lock);
        pool = get_open(engine, record, error);
        g_mutex_unlock(&engine->pools_lock);
    }
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
    info->path = varve_pool_path(engine, record->name, info->settings);
    info->created = record->created;
    info->snapshots = count.count;

    g_autoptr(GError) failure = NULL;
    VarvePool *pool = varve_engine_get_pool(engine, record->name, &failure);
    if (pool == NULL || !pool->driver->space(pool->self, &info->size, &info->free, &failure))
        info->problem = g_strdup(failure->message);
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
    g_autoptr(VarvePoolRecord) record = varve_engine_pool_record(engine, name, error);
    VarvePoolInfo *info = record != NULL ? describe(engine, record, error) : NULL;
    if (info == NULL)
        g_prefix_error(error, "inspecting pool '%s': ", name);
    return info;
}
