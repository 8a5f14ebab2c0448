/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "snapshot/internal.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The root can be passed, for what is mounted beneath it; the store and the pools cannot. */
#define ROOT_MODE  0711
#define POOLS_MODE 0700

static gboolean
max_id(VarveStoreTxn *txn, gpointer data, GError **error)
{
    return varve_record_max_id(txn, data, error);
}

/* Makes the directory path, its parents too. */
static int
open_root(const char *path, gboolean must_exist, GError **error)
{
    if (!must_exist) {
        g_autofree char *parent = g_path_get_dirname(path);
        if (g_mkdir_with_parents(parent, 0755) < 0) {
            varve_error_set_errno(error, errno, "making directory %s", parent);
            return -1;
        }
        return varve_fd_make_dir(AT_FDCWD, path, ROOT_MODE, error);
    }
    return varve_fd_open_dir(AT_FDCWD, path, error);
}

/* Varve made it passable once, and users could reach programs in snapshots that set the user id. */
static int
open_pools(int rootfd, GError **error)
{
    struct stat st;
    varve_autofd fd = varve_fd_make_dir(rootfd, "pools", POOLS_MODE, error);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0 || ((st.st_mode & 0077) != 0 && fchmod(fd, POOLS_MODE) < 0)) {
        varve_error_set_errno(error, errno, "closing directory pools to others than root");
        return -1;
    }
    int pools = fd;
    fd = -1;
    return pools;
}

static gboolean
open_engine(VarveEngine *engine, GError **error)
{
    gboolean must_exist = (engine->flags & VARVE_ENGINE_MUST_EXIST) != 0;
    engine->rootfd = open_root(engine->root, must_exist, error);
    if (engine->rootfd < 0)
        return FALSE;
    g_autofree char *store_path = g_build_filename(engine->root, "store", NULL);
    engine->store = varve_store_open(store_path, must_exist, error);
    if (engine->store == NULL)
        return FALSE;
    engine->poolsfd = open_pools(engine->rootfd, error);
    if (engine->poolsfd < 0)
        return FALSE;

    guint64 last = 0;
    if (!varve_store_read(engine->store, max_id, &last, error))
        return FALSE;
    engine->inflight = varve_inflight_open(engine->rootfd, "inflight", last, error);
    if (engine->inflight == NULL)
        return FALSE;
    if ((engine->flags & VARVE_ENGINE_NO_RECOVERY) == 0)
        varve_housekeeper_reap(engine);
    engine->housekeeper = varve_housekeeper_new(engine);
    return TRUE;
}

VarveEngine *
varve_engine_open(const char *root, VarveEngineFlags flags, GError **error)
{
    g_autoptr(VarveEngine) engine = g_new0(VarveEngine, 1);
    engine->root = g_canonicalize_filename(root, NULL);
    engine->flags = flags;
    engine->rootfd = engine->poolsfd = -1;
    engine->pools = g_hash_table_new(g_str_hash, g_str_equal);
    engine->retired = g_ptr_array_new_with_free_func((GDestroyNotify)varve_pool_free);
    g_mutex_init(&engine->pools_lock);
    if (!open_engine(engine, error)) {
        g_prefix_error(error, "opening %s: ", engine->root);
        return NULL;
    }
    return g_steal_pointer(&engine);
}

void
varve_engine_close(VarveEngine *engine)
{
    if (engine == NULL)
        return;
    varve_housekeeper_free(engine->housekeeper);
    GHashTableIter iter;
    gpointer pool;
    g_hash_table_iter_init(&iter, engine->pools);
    while (g_hash_table_iter_next(&iter, NULL, &pool))
        varve_pool_free(pool);
    g_hash_table_unref(engine->pools);
    g_ptr_array_unref(engine->retired);
    varve_inflight_close(engine->inflight);
    varve_store_close(engine->store);
    varve_fd_clear(&engine->poolsfd);
    varve_fd_clear(&engine->rootfd);
    g_mutex_clear(&engine->pools_lock);
    g_free(engine->root);
    g_free(engine);
}

void
varve_engine_cancel(VarveEngine *engine)
{
    g_atomic_int_set(&engine->cancelled, 1);
}

void
varve_engine_set_progress(VarveEngine *engine, VarveProgressFunc func, gpointer data)
{
    engine->progress = func;
    engine->progress_data = data;
}

const char *
varve_engine_get_root(VarveEngine *engine)
{
    return engine->root;
}

gboolean
varve_engine_cleanup(VarveEngine *engine, VarvePool *pool, VarveCleanup *result, GError **error)
{
    VarveCleanup ignored = {0};
    result = result != NULL ? result : &ignored;
    memset(result, 0, sizeof(*result));
    if (varve_housekeeper_run(engine, pool, result, error))
        return TRUE;
    g_prefix_error(error, "cleaning up %s: ", engine->root);
    return FALSE;
}

/* --- information ------------------------------------------------------------------------------ */

static gboolean
count_removal(guint64 id, guint32 pool, gpointer data)
{
    ++*(guint64 *)data;
    return TRUE;
}

static gboolean
count_all(VarveStoreTxn *txn, gpointer data, GError **error)
{
    VarveEngineInfo *info = data;
    g_autoptr(GPtrArray) pools =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_pool_record_free);
    if (!varve_record_list_pools(txn, pools, error))
        return FALSE;
    for (guint i = 0; i < pools->len; i++) {
        guint64 count;
        const VarvePoolRecord *record = g_ptr_array_index(pools, i);
        if (!varve_record_count(txn, record->number, &count, error))
            return FALSE;
        info->snapshots += count;
    }
    return varve_record_removals(txn, count_removal, &info->pending, error);
}

VarveEngineInfo *
varve_engine_get_info(VarveEngine *engine, GError **error)
{
    VarveStoreInfo store;
    g_autoptr(VarveEngineInfo) info = g_new0(VarveEngineInfo, 1);
    if (!varve_store_get_info(engine->store, &store, error) ||
        !varve_store_read(engine->store, count_all, info, error)) {
        g_prefix_error(error, "asking the store of %s: ", engine->root);
        return NULL;
    }
    info->root = g_strdup(engine->root);
    info->version = g_strdup(VARVE_VERSION);
    info->schema = store.schema;
    info->uuid = g_strdup(store.uuid);
    info->store_used = store.used;
    info->store_size = store.size;
    info->store_readers = store.readers;
    return g_steal_pointer(&info);
}

void
varve_engine_info_free(VarveEngineInfo *info)
{
    if (info == NULL)
        return;
    g_free(info->root);
    g_free(info->version);
    g_free(info->uuid);
    g_free(info);
}

/* --- drivers ---------------------------------------------------------------------------------- */

static void
driver_info_free(VarveDriverInfo *info)
{
    g_free(info->problem);
    g_array_unref(info->settings);
    g_free(info);
}

static void
add_settings(GArray *settings, const VarveDriverSetting *setting)
{
    static const char *const types[] = {
        [VARVE_SETTING_TEXT] = "text",     [VARVE_SETTING_PATH] = "path",
        [VARVE_SETTING_SIZE] = "size",     [VARVE_SETTING_BOOL] = "bool",
        [VARVE_SETTING_CHOICE] = "choice",
    };
    for (; setting != NULL && setting->name != NULL; setting++) {
        VarveSettingInfo info = {setting->name, types[setting->type], setting->fallback,
                                 setting->summary};
        g_array_append_val(settings, info);
    }
}

GPtrArray *
varve_engine_list_drivers(VarveEngine *engine)
{
    GPtrArray *drivers = g_ptr_array_new_with_free_func((GDestroyNotify)driver_info_free);
    for (const VarveDriver *const *d = varve_driver_all(); *d != NULL; d++) {
        g_autoptr(GError) error = NULL;
        VarveDriverInfo *info = g_new0(VarveDriverInfo, 1);
        info->name = (*d)->name;
        info->summary = (*d)->summary;
        if (engine != NULL && !(*d)->probe(engine->root, NULL, &error))
            info->problem = g_strdup(error->message);
        info->settings = g_array_new(FALSE, FALSE, sizeof(VarveSettingInfo));
        add_settings(info->settings, (*d)->settings);
        add_settings(info->settings, varve_driver_common_settings());
        g_ptr_array_add(drivers, info);
    }
    return drivers;
}

gboolean
varve_driver_check(const char *name, GHashTable *settings, GError **error)
{
    if (name != NULL && !g_str_equal(name, "auto")) {
        const VarveDriver *driver = varve_driver_find(name, error);
        return driver != NULL && varve_driver_check_settings(driver, settings, error);
    }
    g_autoptr(GError) last = NULL;
    for (const VarveDriver *const *d = varve_driver_all(); *d != NULL; d++) {
        g_clear_error(&last);
        if (varve_driver_check_settings(*d, settings, &last))
            return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&last));
    return FALSE;
}
