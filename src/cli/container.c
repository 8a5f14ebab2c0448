/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/names.h"
#include "cli/table.h"
#include "cli/text.h"
#include <stdio.h>

static struct {
    gboolean force, full;
} option;

/* --- ls ----------------------------------------------------------------------------------- */

static json_t *
info_to_json(const VarveContainerInfo *info)
{
    json_t *object = json_object();
    cli_json_set(object, "id", info->id);
    cli_json_set(object, "image", info->image);
    cli_json_set(object, "image_digest", info->image_digest);
    cli_json_set(object, "state", info->state);
    if (info->exit_status >= 0)
        cli_json_set_int(object, "exit_status", (guint64)info->exit_status);
    if (info->pid > 0)
        cli_json_set_int(object, "pid", (guint64)info->pid);
    json_object_set_new(object, "attended", json_boolean(info->attended));
    json_object_set_new(object, "remove", json_boolean(info->remove));
    cli_json_set_time(object, "created", info->created);
    if (info->finished != 0)
        cli_json_set_time(object, "finished", info->finished);
    cli_json_set(object, "pool", info->pool);
    cli_json_set(object, "snapshot", info->snapshot);
    cli_json_set_strings(object, "command", info->command);
    cli_json_set_pairs(object, "labels", info->labels);
    return object;
}

/* "exited (1)", or "running, unattended". */
static char *
tell_state(const VarveContainerInfo *info)
{
    if (info->exit_status >= 0)
        return g_strdup_printf("%s (%d)", info->state, info->exit_status);
    gboolean alone = !info->attended && !g_str_equal(info->state, "exited");
    return g_strconcat(info->state, alone ? ", unattended" : "", NULL);
}

static void
add_row(CliTable *table, const VarveContainerInfo *info)
{
    g_autofree char *image = varve_image_name_familiar(info->image);
    g_autofree char *command = g_strjoinv(" ", info->command);
    cli_table_add(table, g_strdup(info->id), cli_display_name(image, option.full), tell_state(info),
                  option.full ? cli_format_time(info->created) : cli_format_age(info->created),
                  cli_display_name(command, option.full));
}

static gboolean
ls(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveContainers) containers = varve_containers_open(cli->engine, error);
    g_autoptr(GPtrArray) infos =
        containers != NULL ? varve_containers_list(containers, error) : NULL;
    if (infos == NULL)
        return FALSE;
    g_autoptr(CliTable) table = cli_table_new("ID|IMAGE|STATE|CREATED|COMMAND");
    gsize count = 0;
    for (guint i = 0; i < infos->len; i++) {
        const VarveContainerInfo *info = g_ptr_array_index(infos, i);
        if (cli_names_wanted())
            cli_names_print(info->id);
        else if (cli->json)
            cli_json_list_add(&count, info_to_json(info));
        else
            add_row(table, info);
    }
    if (cli->json && !cli_names_wanted())
        cli_json_list_end(&count);
    else if (infos->len > 0 && !cli_names_wanted())
        cli_table_print(table);
    return TRUE;
}

/* --- rm, prune ---------------------------------------------------------------------------- */

static gboolean
remove_one(const char *id, gpointer containers, GError **error)
{
    return varve_containers_remove(containers, id, option.force, error);
}

static gboolean
rm(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveContainers) containers = varve_containers_open(cli->engine, error);
    return containers != NULL && cli_for_each(cli, args, remove_one, containers, error);
}

static gboolean
prune(const Cli *cli, char **args, GError **error)
{
    VarveContainerPrune result;
    g_autoptr(VarveContainers) containers = varve_containers_open(cli->engine, error);
    if (containers == NULL || !varve_containers_prune(containers, &result, error))
        return FALSE;
    if (cli->json) {
        json_t *object = json_object();
        cli_json_set_int(object, "removed", result.removed);
        cli_json_set_int(object, "failed", result.failed);
        cli_json_print(object);
    } else {
        printf("removed %" G_GUINT64_FORMAT " containers\n", result.removed);
    }
    if (result.failed == 0)
        return TRUE;
    g_set_error(error, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE,
                "%" G_GUINT64_FORMAT " containers could not be removed", result.failed);
    return FALSE;
}

/* --- the table ---------------------------------------------------------------------------- */

static const GOptionEntry ls_options[] = {
    {"full", 0, 0, G_OPTION_ARG_NONE, &option.full, "print whole names, commands and times", NULL},
    {NULL},
};
static const GOptionEntry rm_options[] = {
    {"force", 'f', 0, G_OPTION_ARG_NONE, &option.force, "kill it first if it runs", NULL},
    {NULL},
};

static const CliVerb verbs[] = {
    {
        .name = "ls",
        .synopsis = "[--full] [-q [-0]]",
        .summary = "List the containers",
        .about = "A container that runs unattended has outlived the 'varve run' that ran it.",
        .example = "varve container ls\n",
        .options = ls_options,
        .lists_names = TRUE,
        .needs = CLI_NEEDS_ENGINE,
        .flags = CLI_LOOK,
        .run = ls,
    },
    {
        .name = "rm",
        .synopsis = "ID... [--force]",
        .summary = "Remove containers, with what they wrote",
        .example = "varve container rm web\n",
        .min_args = 1,
        .max_args = CLI_ANY_ARGS,
        .options = rm_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = "'varve container ls' lists the containers",
                 [VARVE_ERROR_FAILED_PRECONDITION] = "--force kills it first"},
        .run = rm,
    },
    {
        .name = "prune",
        .synopsis = "",
        .summary = "Remove all containers that do not run",
        .about = "With what they wrote, and what crashes left of others.",
        .example = "varve container prune\n",
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .run = prune,
    },
    {NULL},
};

const CliNoun cli_container_noun = {
    .name = "container",
    .summary = "Containers: what was run and is kept, and what runs",
    .about =
        "'varve run' makes them. What one wrote is the snapshot container/ID, as long as it is\n"
        "not removed: 'varve snapshot diff container/ID' shows it.",
    .verbs = verbs,
};
