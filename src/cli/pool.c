/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/names.h"
#include "cli/table.h"
#include "cli/text.h"
#include <stdio.h>

static struct {
    char *driver;
    GHashTable *settings;
} option;

static gboolean
add_setting(const char *name, const char *value, gpointer data, GError **error)
{
    return cli_add_pair(&option.settings, name, value, error);
}

/* --- showing pools ------------------------------------------------------------------------- */

static json_t *
pool_to_json(const VarvePoolInfo *info)
{
    json_t *object = json_object();
    cli_json_set(object, "name", info->name);
    cli_json_set(object, "driver", info->driver);
    cli_json_set(object, "path", info->path);
    cli_json_set_pairs(object, "settings", info->settings);
    cli_json_set_time(object, "created", info->created);
    cli_json_set_int(object, "snapshots", info->snapshots);
    cli_json_set_int(object, "size", info->size);
    cli_json_set_int(object, "free", info->free);
    cli_json_set(object, "problem", info->problem);
    return object;
}

/* "-" for a file system that does not tell. */
static char *
size_or_dash(const VarvePoolInfo *info, guint64 bytes)
{
    return info->size == 0 ? g_strdup("-") : cli_format_size(bytes);
}

static void
print_pool(const VarvePoolInfo *info)
{
    g_autoptr(CliTable) table = cli_table_new("|");
    cli_table_add(table, g_strdup("name"), cli_escape(info->name));
    cli_table_add(table, g_strdup("driver"), cli_escape(info->driver));
    cli_table_add(table, g_strdup("path"), cli_escape(info->path));
    cli_table_add(table, g_strdup("created"), cli_format_time(info->created));
    cli_table_add(table, g_strdup("snapshots"),
                  g_strdup_printf("%" G_GUINT64_FORMAT, info->snapshots));
    cli_table_add(table, g_strdup("used"), size_or_dash(info, info->size - info->free));
    cli_table_add(table, g_strdup("free"), size_or_dash(info, info->free));
    g_autofree const char **keys = cli_sorted_keys(info->settings);
    for (gsize i = 0; keys[i] != NULL; i++) {
        g_autofree char *setting =
            g_strdup_printf("%s=%s", keys[i], (char *)g_hash_table_lookup(info->settings, keys[i]));
        cli_table_add(table, g_strdup("setting"), cli_escape(setting));
    }
    if (info->problem != NULL)
        cli_table_add(table, g_strdup("problem"), cli_escape(info->problem));
    cli_table_print(table);
}

static gboolean
show_pool(const Cli *cli, const char *name, GError **error)
{
    g_autoptr(VarvePoolInfo) info = varve_engine_inspect_pool(cli->engine, name, error);
    if (info == NULL)
        return FALSE;
    if (cli->json)
        cli_json_print(pool_to_json(info));
    else
        print_pool(info);
    return TRUE;
}

/* --- the verbs ----------------------------------------------------------------------------- */

static gboolean
create(const Cli *cli, char **args, GError **error)
{
    return varve_engine_create_pool(cli->engine, args[0], option.driver, option.settings, error) &&
           show_pool(cli, args[0], error);
}

static gboolean
inspect(const Cli *cli, char **args, GError **error)
{
    return show_pool(cli, args[0], error);
}

static gboolean
rm(const Cli *cli, char **args, GError **error)
{
    return varve_engine_remove_pool(cli->engine, args[0], error);
}

static void
print_pools(GPtrArray *pools)
{
    g_autoptr(CliTable) table = cli_table_new("NAME|DRIVER|>SNAPSHOTS|>USED|>FREE|PATH");
    for (guint i = 0; i < pools->len; i++) {
        const VarvePoolInfo *info = g_ptr_array_index(pools, i);
        cli_table_add(table, cli_display_name(info->name, FALSE), cli_escape(info->driver),
                      g_strdup_printf("%" G_GUINT64_FORMAT, info->snapshots),
                      size_or_dash(info, info->size - info->free), size_or_dash(info, info->free),
                      cli_escape(info->path));
    }
    cli_table_print(table);
    for (guint i = 0; i < pools->len; i++) {
        const VarvePoolInfo *info = g_ptr_array_index(pools, i);
        if (info->problem == NULL)
            continue;
        g_autofree char *name = cli_escape(info->name), *problem = cli_escape(info->problem);
        printf("\nproblem of '%s': %s\n", name, problem);
    }
}

static gboolean
ls(const Cli *cli, char **args, GError **error)
{
    g_autoptr(GPtrArray) pools = varve_engine_list_pools(cli->engine, error);
    if (pools == NULL)
        return FALSE;
    if (!cli->json && !cli_names_wanted()) {
        print_pools(pools);
        return TRUE;
    }
    gsize count = 0;
    for (guint i = 0; i < pools->len; i++) {
        const VarvePoolInfo *info = g_ptr_array_index(pools, i);
        if (cli->json)
            cli_json_list_add(&count, pool_to_json(info));
        else
            cli_names_print(info->name);
    }
    if (cli->json)
        cli_json_list_end(&count);
    return TRUE;
}

/* --- drivers ------------------------------------------------------------------------------- */

static json_t *
driver_to_json(const VarveDriverInfo *driver)
{
    json_t *settings = json_array();
    for (guint i = 0; i < driver->settings->len; i++) {
        const VarveSettingInfo *info = &g_array_index(driver->settings, VarveSettingInfo, i);
        json_t *setting = json_object();
        cli_json_set(setting, "name", info->name);
        cli_json_set(setting, "type", info->type);
        cli_json_set(setting, "default", info->fallback);
        cli_json_set(setting, "summary", info->summary);
        json_array_append_new(settings, setting);
    }
    json_t *object = json_object();
    cli_json_set(object, "name", driver->name);
    cli_json_set(object, "summary", driver->summary);
    json_object_set_new(object, "available", json_boolean(driver->problem == NULL));
    cli_json_set(object, "problem", driver->problem);
    json_object_set_new(object, "settings", settings);
    return object;
}

static void
print_driver(const VarveDriverInfo *driver)
{
    printf("%s: %s\n", driver->name, driver->summary);
    g_autofree char *problem = driver->problem ? cli_escape(driver->problem) : NULL;
    printf("  %s%s\n", problem ? "not available here: " : "available", problem ? problem : "");
    g_autoptr(CliTable) table = cli_table_new("  SETTING|TYPE|DEFAULT|MEANING");
    for (guint i = 0; i < driver->settings->len; i++) {
        const VarveSettingInfo *info = &g_array_index(driver->settings, VarveSettingInfo, i);
        cli_table_add(table, g_strconcat("  ", info->name, NULL), g_strdup(info->type),
                      g_strdup(info->fallback ? info->fallback : "-"), g_strdup(info->summary));
    }
    cli_table_print(table);
}

static gboolean
drivers(const Cli *cli, char **args, GError **error)
{
    g_autoptr(GPtrArray) all = varve_engine_list_drivers(cli->engine);
    gsize count = 0;
    for (guint i = 0; i < all->len; i++) {
        if (cli->json) {
            cli_json_list_add(&count, driver_to_json(g_ptr_array_index(all, i)));
        } else {
            if (i > 0)
                putchar('\n');
            print_driver(g_ptr_array_index(all, i));
        }
    }
    if (cli->json)
        cli_json_list_end(&count);
    return TRUE;
}

/* --- the table ----------------------------------------------------------------------------- */

static const GOptionEntry create_options[] = {
    {"driver", 0, 0, G_OPTION_ARG_FILENAME, &option.driver,
     "overlay, btrfs or native (default: what suits the root)", "DRIVER"},
    {"set", 0, G_OPTION_FLAG_FILENAME, G_OPTION_ARG_CALLBACK, (gpointer)add_setting,
     "a setting, of those that 'pool drivers' lists; may be repeated", "KEY=VALUE"},
    {NULL},
};

#define SEE_LS "'varve pool ls' lists the pools"

static const CliVerb verbs[] = {
    {
        .name = "create",
        .synopsis = "NAME [--driver DRIVER] [--set KEY=VALUE]...",
        .summary = "Make a pool",
        .about =
            "Without --driver, btrfs is taken where the root is on btrfs, else overlay where the\n"
            "kernel can mount it there, else native. A pool is there until 'pool rm', for every\n"
            "process that opens this root; containerd knows it as a snapshotter of that name.",
        .example =
            "varve pool create fast\n"
            "varve pool create sub --driver btrfs --set file=/srv/sub.btrfs --set size=20G\n",
        .min_args = 1,
        .max_args = 1,
        .options = create_options,
        .needs = CLI_NEEDS_ENGINE,
        .hint = {[VARVE_ERROR_NOT_FOUND] = "'varve pool drivers' lists the drivers",
                 [VARVE_ERROR_INVALID_ARGUMENT] = "'varve pool drivers' lists the settings"},
        .run = create,
    },
    {
        .name = "ls",
        .synopsis = "[-q [-0]]",
        .summary = "List the pools, with the room under them",
        .about =
            "USED and FREE are those of the file system that holds the pool. A pool that cannot\n"
            "be used now is listed with the reason.",
        .example = "varve pool ls\n",
        .lists_names = TRUE,
        .needs = CLI_NEEDS_ENGINE,
        .flags = CLI_LOOK,
        .run = ls,
    },
    {
        .name = "inspect",
        .synopsis = "NAME",
        .summary = "Show a pool with its settings",
        .example = "varve pool inspect fast\n",
        .min_args = 1,
        .max_args = 1,
        .needs = CLI_NEEDS_ENGINE,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = inspect,
    },
    {
        .name = "rm",
        .synopsis = "NAME",
        .summary = "Remove a pool without snapshots, and what its driver keeps on disk",
        .example = "varve pool rm fast\n",
        .min_args = 1,
        .max_args = 1,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS,
                 [VARVE_ERROR_FAILED_PRECONDITION] =
                     "'varve --pool NAME snapshot tree' shows what it holds"},
        .run = rm,
    },
    {
        .name = "drivers",
        .synopsis = "",
        .summary = "List the drivers: whether they work here, and their settings",
        .about =
            "Whether a driver works depends on the file system of the root, so the root is made\n"
            "if it is missing.",
        .example = "varve --root /srv/varve pool drivers\n",
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_NO_RECOVERY,
        .run = drivers,
    },
    {NULL},
};

const CliNoun cli_pool_noun = {
    .name = "pool",
    .summary = "Pools: a driver instance with its place, its settings and its key space",
    .about =
        "A pool holds snapshots, and its driver decides how: as overlay directories, as btrfs\n"
        "subvolumes, or as plain copies. Where there is none at all, the first command that\n"
        "needs one makes \"default\".",
    .verbs = verbs,
};
