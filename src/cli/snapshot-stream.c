/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/names.h"
#include "cli/snapshot.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/transfer.h"
#include <stdio.h>

static char *
find_base(const Cli *cli, VarvePool *pool, const char *base, GError **error)
{
    return varve_snapshot_uuid(pool, base, error);
}

gboolean
cli_snapshot_send(const Cli *cli, char **args, GError **error)
{
    return cli_transfer_send(cli, cli->pool, args[0], find_base, error);
}

static gboolean
receive(VarveSource source, const VarveReceiveOptions *options, VarveTransfer *transfer,
        gpointer pool, GError **error)
{
    return varve_snapshot_receive(pool, source, options, transfer, error);
}

gboolean
cli_snapshot_receive(const Cli *cli, char **args, GError **error)
{
    VarveReceiveOptions options = {.labels = cli_snapshot_options.labels, .name = args[0]};
    g_auto(VarveTransfer) transfer = {0};
    if (!cli_transfer_receive(cli, &options, receive, cli->pool, &transfer, error))
        return FALSE;
    if (cli->json)
        cli_transfer_print(&transfer);
    else
        puts(transfer.uuid);
    return TRUE;
}

gboolean
cli_snapshot_haves(const Cli *cli, char **args, GError **error)
{
    g_auto(GStrv) haves = varve_pool_haves(cli->pool, args[0], error);
    if (haves == NULL)
        return FALSE;
    if (cli->json) {
        json_t *object = json_object();
        cli_json_set(object, "format", varve_pool_stream_format(cli->pool));
        cli_json_set_strings(object, "haves", haves);
        cli_json_print(object);
        return TRUE;
    }
    for (char **uuid = haves; *uuid != NULL; uuid++)
        printf("%s\n", *uuid);
    return TRUE;
}

/* --- what is kept ----------------------------------------------------------------------------- */

static json_t *
kept_to_json(const VarveKeptTransfer *kept)
{
    json_t *object = json_object();
    cli_json_set(object, "uuid", kept->uuid);
    cli_json_set(object, "name", kept->name);
    cli_json_set(object, "base", kept->base);
    cli_json_set(object, "format", kept->format);
    cli_json_set_int(object, "bytes", kept->bytes);
    cli_json_set_int(object, "expected", kept->expected);
    cli_json_set_time(object, "touched_at", kept->touched);
    json_object_set_new(object, "busy", json_boolean(kept->busy));
    return object;
}

static void
add_row(CliTable *table, const VarveKeptTransfer *kept)
{
    cli_table_add(table, cli_escape(kept->uuid), cli_display_name(kept->name, FALSE),
                  cli_escape(kept->format), cli_format_size(kept->bytes),
                  cli_format_time(kept->touched), g_strdup(kept->busy ? "yes" : "no"));
}

static gboolean
list_transfers(const Cli *cli, GError **error)
{
    gsize count = 0;
    g_autoptr(GPtrArray) all = varve_pool_kept_transfers(cli->pool, error);
    if (all == NULL)
        return FALSE;
    g_autoptr(CliTable) table = cli_table_new("UUID|NAME|FORMAT|>KEPT|TOUCHED|BUSY");
    for (guint i = 0; i < all->len; i++) {
        const VarveKeptTransfer *kept = all->pdata[i];
        if (cli_names_wanted())
            cli_names_print(kept->uuid);
        else if (cli->json)
            cli_json_list_add(&count, kept_to_json(kept));
        else
            add_row(table, kept);
    }
    if (cli->json && !cli_names_wanted())
        cli_json_list_end(&count);
    else if (all->len > 0 && !cli_names_wanted())
        cli_table_print(table);
    return TRUE;
}

static gboolean
print_token(const Cli *cli, const char *uuid, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autofree char *token = varve_pool_resume_token(cli->pool, uuid, &failure);
    if (token == NULL && failure == NULL)
        g_set_error(&failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND, "nothing is kept of %s", uuid);
    if (failure != NULL) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return FALSE;
    }
    if (cli->json) {
        json_t *object = json_object();
        cli_json_set(object, "uuid", uuid);
        cli_json_set(object, "resume", token);
        cli_json_print(object);
    } else {
        puts(token);
    }
    return TRUE;
}

static gboolean
forget_one(const char *uuid, gpointer pool, GError **error)
{
    return varve_pool_forget_transfer(pool, uuid, error);
}

gboolean
cli_snapshot_transfers(const Cli *cli, char **args, GError **error)
{
    const struct CliSnapshotOptions *o = &cli_snapshot_options;
    if (o->token && o->forget)
        return cli_usage_error(error, "--token and --forget are opposites");
    if ((o->token || o->forget) != (args[0] != NULL))
        return cli_usage_error(error, "--token and --forget are of a UUID, a list of all of them");
    if (o->forget)
        return cli_for_each(cli, args, forget_one, cli->pool, error);
    if (!o->token)
        return list_transfers(cli, error);
    if (args[1] != NULL)
        return cli_usage_error(error, "--token is of one UUID");
    return print_token(cli, args[0], error);
}
