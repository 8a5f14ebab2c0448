/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/text.h"
#include <stdio.h>

/* --- info ---------------------------------------------------------------------------------- */

static void
print_info_json(const VarveEngineInfo *info)
{
    json_t *object = json_object();
    cli_json_set(object, "root", info->root);
    cli_json_set(object, "version", info->version);
    cli_json_set_int(object, "schema", info->schema);
    cli_json_set(object, "uuid", info->uuid);
    cli_json_set_int(object, "store_used", info->store_used);
    cli_json_set_int(object, "store_size", info->store_size);
    cli_json_set_int(object, "store_readers", info->store_readers);
    cli_json_set_int(object, "snapshots", info->snapshots);
    cli_json_set_int(object, "pending", info->pending);
    cli_json_print(object);
}

static void
add_number(CliTable *table, const char *name, guint64 value)
{
    cli_table_add(table, g_strdup(name), g_strdup_printf("%" G_GUINT64_FORMAT, value));
}

static void
print_info(const VarveEngineInfo *info)
{
    g_autoptr(CliTable) table = cli_table_new("|");
    cli_table_add(table, g_strdup("root"), cli_escape(info->root));
    cli_table_add(table, g_strdup("version"), g_strdup(info->version));
    add_number(table, "schema", info->schema);
    cli_table_add(table, g_strdup("uuid"), cli_escape(info->uuid));
    cli_table_add(table, g_strdup("store used"), cli_format_size(info->store_used));
    cli_table_add(table, g_strdup("store size"), cli_format_size(info->store_size));
    add_number(table, "store readers", info->store_readers);
    add_number(table, "snapshots", info->snapshots);
    add_number(table, "pending removals", info->pending);
    cli_table_print(table);
}

static gboolean
info(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveEngineInfo) all = varve_engine_get_info(cli->engine, error);
    if (all == NULL)
        return FALSE;
    if (cli->json)
        print_info_json(all);
    else
        print_info(all);
    return TRUE;
}

/* --- cleanup ------------------------------------------------------------------------------- */

static void
print_cleanup(const Cli *cli, const VarveCleanup *result, const VarveContainerPrune *containers)
{
    if (cli->json) {
        json_t *object = json_object();
        cli_json_set_int(object, "orphans", result->orphans);
        cli_json_set_int(object, "removed", result->removed);
        cli_json_set_int(object, "containers", containers->removed);
        cli_json_set_int(object, "failed", result->failed + containers->failed);
        cli_json_print(object);
        return;
    }
    g_autoptr(CliTable) table = cli_table_new("|");
    add_number(table, "half-made snapshots removed", result->orphans);
    add_number(table, "removals finished", result->removed);
    add_number(table, "abandoned containers removed", containers->removed);
    add_number(table, "failed", result->failed + containers->failed);
    cli_table_print(table);
}

static gboolean
cleanup(const Cli *cli, char **args, GError **error)
{
    VarvePool *pool = NULL;
    if (cli->pool_name != NULL) {
        pool = varve_engine_get_pool(cli->engine, cli->pool_name, error);
        if (pool == NULL)
            return FALSE;
    }
    VarveCleanup result = {0};
    VarveContainerPrune swept = {0};
    g_autoptr(VarveContainers) containers = varve_containers_open(cli->engine, error);
    if (containers == NULL || !varve_containers_cleanup(containers, &swept, error) ||
        !varve_engine_cleanup(cli->engine, pool, &result, error))
        return FALSE;
    print_cleanup(cli, &result, &swept);
    guint64 failed = result.failed + swept.failed;
    if (failed == 0)
        return TRUE;
    g_set_error(error, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE,
                "cleaning up: %" G_GUINT64_FORMAT
                " could not be removed, and stay for the next time",
                failed);
    return FALSE;
}

/* --- the table ----------------------------------------------------------------------------- */

static const CliVerb verbs[] = {
    {
        .name = "info",
        .synopsis = "",
        .summary = "Show the store: its version, room and use",
        .example = "varve system info\n",
        .needs = CLI_NEEDS_ENGINE,
        .flags = CLI_LOOK,
        .run = info,
    },
    {
        .name = "cleanup",
        .synopsis = "",
        .summary = "Remove what crashes left behind, and finish removals, now",
        .about =
            "Searches the disk for all that no record names and nobody works on: in every pool,\n"
            "or in the one given with --pool. Safe at any time, beside any other process. Each\n"
            "start does the same for what is known to be left behind, without the search.",
        .example = "varve system cleanup\n",
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .run = cleanup,
    },
    {NULL},
};

const CliNoun cli_system_noun = {
    .name = "system",
    .summary = "The root as a whole: its store, and what was left behind",
    .about =
        "Everything lives under one root directory (--root): the store with the records of all\n"
        "pools, and the pools themselves, unless they were given another place.",
    .verbs = verbs,
};
