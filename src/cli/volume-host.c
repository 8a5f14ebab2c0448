/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/text.h"
#include "cli/transfer.h"
#include "cli/volume.h"
#include <stdio.h>
#include <string.h>

#define option         cli_volume_options
#define DEFAULT_CONFIG "/etc/varve/varved.conf"

/* --- a host ------------------------------------------------------------------------------------
 */

static VarveHost *
open_host(const Cli *cli, const char *name, GError **error)
{
    g_autoptr(VarveHosts) hosts =
        varve_hosts_load(option.config != NULL ? option.config : DEFAULT_CONFIG, error);
    return hosts != NULL ? varve_host_open(hosts, name, cli->engine, error) : NULL;
}

static void
tell_retry(const GError *why, guint seconds, gpointer data)
{
    g_autofree char *message = cli_escape_message(why->message);
    g_autofree char *line =
        g_strdup_printf("varve: note: %s; trying again in %u s", message, seconds);
    cli_write_line(line);
}

static VarveHostOptions
host_options(const Cli *cli, CliTransferDrawing *drawing)
{
    return (VarveHostOptions){.provider = cli->pool_name,
                              .progress = cli_transfer_show_progress(cli),
                              .retry = tell_retry,
                              .data = drawing};
}

/* --- pulling -----------------------------------------------------------------------------------
 */

static void
print_pulled(const Cli *cli, const VarveVolumeInfo *info, const VarveTransfer *transfer)
{
    cli_clear_progress();
    if (cli->json) {
        cli_print_volume(cli, info);
        return;
    }
    if (transfer->uuid != NULL)
        cli_transfer_tell("received", transfer);
    else
        cli_write_line("it was there already");
    puts(info->id);
}

static gboolean
pull(const Cli *cli, VarveHost *host, const char *what, const char *into, GError **error)
{
    CliTransferDrawing drawing = {.verb = "receiving"};
    VarveHostOptions options = host_options(cli, &drawing);
    g_auto(VarveTransfer) transfer = {0};
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    g_autoptr(VarveVolumeInfo) there =
        volumes != NULL ? varve_host_choose(host, what, option.snapshot, error) : NULL;
    if (there == NULL)
        return FALSE;
    const char *id = into != NULL ? into : there->of != NULL ? there->of : what;
    g_autoptr(VarveVolumeInfo) info =
        varve_volumes_pull(volumes, host, there->id, id, &options, &transfer, error);
    if (info == NULL)
        return FALSE;
    print_pulled(cli, info, &transfer);
    return TRUE;
}

gboolean
cli_volume_pull_host(const Cli *cli, char **args, GError **error)
{
    const char *slash = strchr(args[0], '/');
    if (slash == NULL || slash == args[0] || slash[1] == '\0')
        return cli_usage_error(error, "'%s' is neither HOST/VOLUME nor REGISTRY/REPOSITORY:TAG",
                               args[0]);
    g_autofree char *name = g_strndup(args[0], (gsize)(slash - args[0]));
    g_autoptr(VarveHost) host = open_host(cli, name, error);
    return host != NULL && pull(cli, host, slash + 1, args[1], error);
}

/* --- replicating -------------------------------------------------------------------------------
 */

static json_t *
pruned_to_json(const VarvePruned *pruned)
{
    json_t *object = json_object();
    cli_json_set_int(object, "removed", pruned->removed);
    cli_json_set_int(object, "kept", pruned->kept);
    cli_json_set(object, "problem", pruned->problem);
    return object;
}

static void
print_as_json(const VarveReplication *result)
{
    json_t *object = json_object();
    cli_json_set(object, "snapshot", result->snapshot);
    cli_json_set(object, "uuid", result->uuid);
    cli_json_set(object, "finished", result->finished);
    cli_json_set_int(object, "bytes", result->bytes);
    cli_json_set_int(object, "resumed", result->resumed);
    json_object_set_new(object, "full", json_boolean(result->full));
    json_object_set_new(object, "here", pruned_to_json(&result->here));
    json_object_set_new(object, "there", pruned_to_json(&result->there));
    cli_json_print(object);
}

static void
tell_pruned(const char *where, const VarvePruned *pruned)
{
    if (pruned->problem == NULL)
        return;
    g_autofree char *problem = cli_escape_message(pruned->problem);
    g_autofree char *line =
        g_strdup_printf("varve: note: %u snapshots are left %s: %s", pruned->kept, where, problem);
    cli_write_line(line);
}

static void
print_replicated(const VarveReplication *result)
{
    g_autofree char *bytes = cli_format_size(result->bytes);
    g_autofree char *line = g_strdup_printf("sent %s, %s; removed %u here, %u there", bytes,
                                            result->full ? "in full" : "the difference",
                                            result->here.removed, result->there.removed);
    cli_write_line(line);
    tell_pruned("here", &result->here);
    tell_pruned("there", &result->there);
    puts(result->snapshot);
}

gboolean
cli_volume_replicate(const Cli *cli, char **args, GError **error)
{
    CliTransferDrawing drawing = {.verb = "sending"};
    VarveHostOptions options = host_options(cli, &drawing);
    g_auto(VarveReplication) result = {0};
    if (option.keep < 1)
        return cli_usage_error(error, "--keep is a number from 1 on");
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    g_autoptr(VarveHost) host = volumes != NULL ? open_host(cli, args[1], error) : NULL;
    if (host == NULL || !varve_volumes_replicate(volumes, args[0], host, (guint)option.keep,
                                                 &options, &result, error))
        return FALSE;
    cli_clear_progress();
    if (cli->json)
        print_as_json(&result);
    else
        print_replicated(&result);
    return TRUE;
}
