/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/pools.h"

/* How names lead to pools. Read by every call without a lock, so it is never changed: a new
 * configuration brings new routes, and the old ones are kept until the end, since a call may still
 * be reading them. There are as many as there were reloads. */
typedef struct {
    char *fallback;
    GHashTable *refused; /* name to GError*: why it is */
} Routes;

struct VarvePools {
    VarveEngine *engine;
    Routes *routes;  /* atomic; the newest */
    GPtrArray *kept; /* all of them */
};

static void
free_routes(gpointer data)
{
    Routes *routes = data;
    g_free(routes->fallback);
    g_hash_table_unref(routes->refused);
    g_free(routes);
}

static void
publish_routes(VarvePools *self, Routes *routes)
{
    g_ptr_array_add(self->kept, routes);
    g_atomic_pointer_set(&self->routes, routes);
}

static Routes *
new_routes(const char *fallback)
{
    Routes *routes = g_new0(Routes, 1);
    routes->fallback = g_strdup(fallback);
    routes->refused =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_error_free);
    return routes;
}

VarvePools *
varve_pools_new(VarveEngine *engine)
{
    VarvePools *self = g_new0(VarvePools, 1);
    self->engine = engine;
    self->kept = g_ptr_array_new_with_free_func(free_routes);
    publish_routes(self, new_routes(NULL));
    return self;
}

void
varve_pools_free(VarvePools *self)
{
    if (self == NULL)
        return;
    g_ptr_array_unref(self->kept);
    g_free(self);
}

VarveEngine *
varve_pools_get_engine(VarvePools *self)
{
    return self->engine;
}

/* --- checking a configuration --------------------------------------------------------------- */

static gboolean
check_pool(const VarveConfigPool *pool, guint *line, GError **error)
{
    *line = pool->line;
    if (*pool->name == '\0') {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT, "a pool without a name");
        return FALSE;
    }
    *line = pool->driver_line;
    if (!varve_driver_check(pool->driver, NULL, error))
        return FALSE;
    for (guint i = 0; i < pool->settings->len; i++) {
        VarveConfigSetting *setting = &g_array_index(pool->settings, VarveConfigSetting, i);
        g_autoptr(GHashTable) alone = g_hash_table_new(g_str_hash, g_str_equal);
        g_hash_table_insert(alone, setting->name, setting->value);
        *line = setting->line;
        if (!varve_driver_check(pool->driver, alone, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
varve_pools_check(const VarveConfig *config, GError **error)
{
    for (guint i = 0; i < config->pools->len; i++) {
        guint line = 0;
        if (!check_pool(config->pools->pdata[i], &line, error)) {
            g_prefix_error(error, "%s:%u: ", config->file, line);
            return FALSE;
        }
    }
    return TRUE;
}

/* --- making it hold ------------------------------------------------------------------------- */

/* What a pool has for a setting, told or not; NULL: nothing. */
static const char *
setting_in_force(VarveEngine *engine, const VarvePoolInfo *info, const char *name)
{
    const char *value = g_hash_table_lookup(info->settings, name);
    if (value != NULL)
        return value;
    g_autoptr(GPtrArray) drivers = varve_engine_list_drivers(engine);
    for (guint i = 0; i < drivers->len; i++) {
        VarveDriverInfo *driver = drivers->pdata[i];
        for (guint j = 0; g_str_equal(driver->name, info->driver) && j < driver->settings->len;
             j++) {
            VarveSettingInfo *setting = &g_array_index(driver->settings, VarveSettingInfo, j);
            if (g_str_equal(setting->name, name))
                return setting->fallback; /* the driver's own, static */
        }
    }
    return NULL;
}

/* A pool's settings are those it was made with; the file cannot change them later. */
static gboolean
compare_pool(VarvePools *self, const VarveConfigPool *pool, const VarvePoolInfo *info,
             GError **error)
{
    if (!g_str_equal(pool->driver, "auto") && !g_str_equal(pool->driver, info->driver)) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION,
                    "it exists with driver %s, and the configuration says %s", info->driver,
                    pool->driver);
        return FALSE;
    }
    for (guint i = 0; i < pool->settings->len; i++) {
        VarveConfigSetting *setting = &g_array_index(pool->settings, VarveConfigSetting, i);
        const char *value = setting_in_force(self->engine, info, setting->name);
        if (g_strcmp0(value, setting->value) != 0)
            varve_log(VARVE_LOG_WARNING, "pool keeps the setting that it was made with", "pool",
                      pool->name, "setting", setting->name, "value", value != NULL ? value : "",
                      "configured", setting->value, NULL);
    }
    return TRUE;
}

static gboolean
make_pool(VarvePools *self, const VarveConfigPool *pool, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autoptr(VarvePoolInfo) info = varve_engine_inspect_pool(self->engine, pool->name, &cause);
    if (info != NULL)
        return compare_pool(self, pool, info, error);
    if (!g_error_matches(cause, VARVE_ERROR, VARVE_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&cause));
        return FALSE;
    }
    g_autoptr(GHashTable) settings = varve_config_pool_settings(pool);
    if (!varve_engine_create_pool(self->engine, pool->name, pool->driver, settings, error))
        return FALSE;
    varve_log(VARVE_LOG_INFO, "made pool", "pool", pool->name, NULL);
    return TRUE;
}

/* All pools; where there is none, and none was asked for, the default one is made. */
static GPtrArray *
list_pools(VarvePools *self, const VarveConfig *config, GError **error)
{
    g_autoptr(GPtrArray) pools = varve_engine_list_pools(self->engine, error);
    if (pools == NULL || pools->len > 0 || config->pools->len > 0)
        return g_steal_pointer(&pools);
    if (varve_engine_get_pool(self->engine, NULL, error) == NULL)
        return NULL;
    return varve_engine_list_pools(self->engine, error);
}

/* Tells of every pool; to list them opened them, so that calls find them open. */
static void
log_pools(VarvePools *self, const Routes *routes, const VarveConfig *config)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) pools = list_pools(self, config, &error);
    if (pools == NULL) {
        varve_log(VARVE_LOG_ERROR, "there is no pool", "error", error->message, NULL);
        return;
    }
    for (guint i = 0; i < pools->len; i++) {
        const VarvePoolInfo *info = pools->pdata[i];
        if (g_hash_table_contains(routes->refused, info->name))
            continue; /* told already */
        if (info->problem == NULL)
            varve_log(VARVE_LOG_INFO, "pool is ready", "pool", info->name, "driver", info->driver,
                      "path", info->path, NULL);
        else
            varve_log(VARVE_LOG_ERROR, "pool cannot be used", "pool", info->name, "driver",
                      info->driver, "path", info->path, "error", info->problem, NULL);
    }
}

static VarvePool *
find_known(VarvePools *self, const Routes *routes, const char *name, GError **error)
{
    const GError *refused = name != NULL ? g_hash_table_lookup(routes->refused, name) : NULL;
    if (refused == NULL)
        return varve_engine_get_pool(self->engine, name, error);
    g_propagate_error(error, g_error_copy(refused));
    return NULL;
}

static void
check_fallback(VarvePools *self, const Routes *routes)
{
    g_autoptr(GError) error = NULL;
    if (routes->fallback != NULL && find_known(self, routes, routes->fallback, &error) == NULL)
        varve_log(VARVE_LOG_ERROR, "fallback pool cannot be used", "pool", routes->fallback,
                  "error", error->message, NULL);
}

void
varve_pools_apply(VarvePools *self, const VarveConfig *config)
{
    Routes *routes = new_routes(config->fallback_pool);
    for (guint i = 0; i < config->pools->len; i++) {
        const VarveConfigPool *pool = config->pools->pdata[i];
        GError *error = NULL;
        if (make_pool(self, pool, &error))
            continue;
        g_autofree char *where = g_strdup_printf("%s:%u", config->file, pool->line);
        g_prefix_error(&error, "pool '%s' is refused: ", pool->name);
        varve_log(VARVE_LOG_ERROR, "pool is refused", "pool", pool->name, "config", where, "error",
                  error->message, NULL);
        g_hash_table_insert(routes->refused, g_strdup(pool->name), error);
    }
    log_pools(self, routes, config);
    check_fallback(self, routes);
    publish_routes(self, routes);
}

/* --- finding one ---------------------------------------------------------------------------- */

static gboolean
pool_exists(VarvePools *self, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarvePoolInfo) info = varve_engine_inspect_pool(self->engine, name, &error);
    return info != NULL || !g_error_matches(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
}

static void
set_unknown(VarvePools *self, const char *name, GError **error)
{
    g_autoptr(GPtrArray) pools = varve_engine_list_pools(self->engine, NULL);
    g_autoptr(GString) names = g_string_new(NULL);
    for (guint i = 0; pools != NULL && i < pools->len; i++) {
        const VarvePoolInfo *info = pools->pdata[i];
        g_string_append_printf(names, "%s%s", i > 0 ? ", " : "", info->name);
    }
    g_set_error(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND,
                "there is no pool '%s' for this snapshotter, and no fallback pool; there are: %s",
                name, names->len > 0 ? names->str : "none");
}

VarvePool *
varve_pools_find(VarvePools *self, const char *snapshotter, GError **error)
{
    const Routes *routes = g_atomic_pointer_get(&self->routes);
    if (*snapshotter == '\0')
        return find_known(self, routes, routes->fallback, error);

    g_autoptr(GError) cause = NULL;
    VarvePool *pool = find_known(self, routes, snapshotter, &cause);
    if (pool != NULL)
        return pool;
    if (!g_error_matches(cause, VARVE_ERROR, VARVE_ERROR_NOT_FOUND) ||
        g_hash_table_contains(routes->refused, snapshotter) || pool_exists(self, snapshotter))
        g_propagate_error(error, g_steal_pointer(&cause));
    else if (routes->fallback != NULL)
        return find_known(self, routes, routes->fallback, error);
    else
        set_unknown(self, snapshotter, error);
    return NULL;
}

/* --- help ----------------------------------------------------------------------------------- */

static void
describe_setting(GString *text, const VarveSettingInfo *setting)
{
    g_autofree char *words = g_strdup_printf("%s (%s)", setting->summary, setting->type);
    g_string_append(text, "#\n");
    varve_config_describe_text(text, words);
    g_string_append_printf(text, "#%s =%s%s\n", setting->name, setting->fallback ? " " : "",
                           setting->fallback ? setting->fallback : "");
}

/* Whether all drivers have the setting: then it is every pool's. */
static gboolean
is_common(GPtrArray *drivers, const char *name)
{
    for (guint i = 0; i < drivers->len; i++) {
        const VarveDriverInfo *driver = drivers->pdata[i];
        gboolean found = FALSE;
        for (guint j = 0; j < driver->settings->len; j++)
            found |= g_str_equal(name, g_array_index(driver->settings, VarveSettingInfo, j).name);
        if (!found)
            return FALSE;
    }
    return TRUE;
}

static void
describe_driver(GString *text, GPtrArray *drivers, const VarveDriverInfo *driver, gboolean common)
{
    for (guint i = 0; i < driver->settings->len; i++) {
        VarveSettingInfo *setting = &g_array_index(driver->settings, VarveSettingInfo, i);
        if (is_common(drivers, setting->name) == common)
            describe_setting(text, setting);
    }
}

void
varve_pools_describe(GString *text)
{
    g_autoptr(GPtrArray) drivers = varve_engine_list_drivers(NULL);
    g_string_append(text, "\n");
    varve_config_describe_text(
        text, "A pool, known to clients as the snapshotter NAME; any number of them. It is made at "
              "start if it does not exist, and keeps the settings that it was made with. Where no "
              "pool is configured and none exists, one called default is made.");
    g_string_append(text, "#[pool NAME]\n#\n");
    varve_config_describe_text(
        text, "The driver: one of those below, or auto: btrfs where its directory is on btrfs, "
              "else overlay, else native. (choice)");
    g_string_append(text, "#driver = auto\n");
    describe_driver(text, drivers, drivers->pdata[0], TRUE);
    for (guint i = 0; i < drivers->len; i++) {
        const VarveDriverInfo *driver = drivers->pdata[i];
        g_autofree char *words = g_strdup_printf("Driver %s: %s", driver->name, driver->summary);
        g_string_append(text, "#\n");
        varve_config_describe_text(text, words);
        describe_driver(text, drivers, driver, FALSE);
    }
}
