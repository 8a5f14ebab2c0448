/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/snapshot.h"
#include "cli/text.h"
#include <stdio.h>
#include <unistd.h>

#define option cli_snapshot_options

/* --- options ---------------------------------------------------------------------------------- */

static gboolean
choose(const char *name, const char *text, const char *const *words, guint n, guint *choice,
       GError **error)
{
    GString *all = g_string_new(NULL);
    for (*choice = 0; *choice < n; ++*choice) {
        if (text == NULL || g_str_equal(text, words[*choice])) {
            g_string_free(all, TRUE);
            return TRUE;
        }
        g_string_append_printf(all, "%s%s", *choice > 0 ? ", " : "", words[*choice]);
    }
    g_autofree char *known = g_string_free(all, FALSE);
    return cli_usage_error(error, "--%s is one of %s, not '%s'", name, known, text);
}

static gboolean
read_options(VarveSendOptions *options, GError **error)
{
    static const char *const formats[] = {[VARVE_TRANSFER_AUTO] = "auto",
                                          [VARVE_TRANSFER_PORTABLE] = "portable",
                                          [VARVE_TRANSFER_NATIVE] = "native"};
    static const char *const compressions[] = {
        [VARVE_TRANSFER_ZSTD_AUTO] = "auto", [VARVE_TRANSFER_PLAIN] = "none"};
    guint format, compression;
    if (!choose("format", option.format, formats, G_N_ELEMENTS(formats), &format, error) ||
        !choose("compression", option.compression, compressions, G_N_ELEMENTS(compressions),
                &compression, error))
        return FALSE;
    options->format = (VarveTransferFormat)format;
    options->compression = (VarveTransferCompression)compression;
    options->formats = (const char *const *)option.accept;
    return TRUE;
}

/* A base is told by its name here, or by its universal id. */
static char **
read_bases(const Cli *cli, GError **error)
{
    g_autoptr(GPtrArray) haves = g_ptr_array_new_with_free_func(g_free);
    for (char **base = option.base; base != NULL && *base != NULL; base++) {
        g_autoptr(GError) failure = NULL;
        char *uuid = varve_snapshot_uuid(cli->pool, *base, &failure);
        gboolean is_uuid = g_uuid_string_is_valid(*base);
        if (uuid == NULL && !is_uuid) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return NULL;
        }
        g_ptr_array_add(haves, uuid != NULL ? uuid : g_strdup(*base));
    }
    g_ptr_array_add(haves, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&haves), FALSE);
}

/* --- what is told ----------------------------------------------------------------------------- */

static json_t *
transfer_to_json(const VarveTransfer *transfer)
{
    json_t *object = json_object();
    cli_json_set(object, "name", transfer->name);
    cli_json_set(object, "uuid", transfer->uuid);
    cli_json_set(object, "base", transfer->base);
    cli_json_set(object, "format", transfer->format);
    cli_json_set(object, "digest", transfer->digest);
    cli_json_set_int(object, "bytes", transfer->bytes);
    cli_json_set_int(object, "payload", transfer->payload);
    cli_json_set_int(object, "entries", transfer->entries);
    return object;
}

/* Standard output may have the stream: then it is told on the other one. */
static void
tell(const Cli *cli, const char *done, const VarveTransfer *transfer, gboolean to_stdout)
{
    cli_clear_progress();
    if (cli->json && to_stdout) {
        cli_json_print(transfer_to_json(transfer));
        return;
    }
    if (cli->json) {
        json_t *object = transfer_to_json(transfer);
        json_dumpf(object, stderr, JSON_COMPACT | JSON_ENSURE_ASCII);
        fputc('\n', stderr);
        json_decref(object);
        return;
    }
    g_autofree char *name = cli_display_name(transfer->name, FALSE);
    g_autofree char *bytes = cli_format_size(transfer->bytes);
    g_autofree char *payload = cli_format_size(transfer->payload);
    fprintf(stderr, "%s '%s', %s: %s, %s as a stream\n", done, name,
            transfer->base != NULL ? "the difference" : "in full", payload, bytes);
    if (to_stdout)
        printf("%s\n", transfer->uuid);
}

/* --- verbs ------------------------------------------------------------------------------------ */

gboolean
cli_snapshot_send(const Cli *cli, char **args, GError **error)
{
    VarveSendOptions options = {.format = VARVE_TRANSFER_AUTO};
    VarveTransferFile file = {STDOUT_FILENO, cli->engine};
    g_auto(VarveTransfer) transfer = {0};
    if (!read_options(&options, error))
        return FALSE;
    if (isatty(STDOUT_FILENO))
        return cli_usage_error(error, "a stream is nothing for a terminal: lead it to a file or to "
                                      "another program");
    g_auto(GStrv) haves = read_bases(cli, error);
    if (haves == NULL)
        return FALSE;
    options.haves = (const char *const *)haves;
    if (!varve_snapshot_send(cli->pool, args[0], &options, varve_transfer_sink(&file), &transfer,
                             error))
        return FALSE;
    tell(cli, "sent", &transfer, FALSE);
    return TRUE;
}

gboolean
cli_snapshot_receive(const Cli *cli, char **args, GError **error)
{
    const VarveReceiveOptions options = {.labels = option.labels, .name = args[0]};
    VarveTransferFile file = {STDIN_FILENO, cli->engine};
    g_auto(VarveTransfer) transfer = {0};
    if (isatty(STDIN_FILENO))
        return cli_usage_error(error, "the stream is read from standard input, which is a terminal "
                                      "here");
    if (!varve_snapshot_receive(cli->pool, varve_transfer_source(&file), &options, &transfer,
                                error))
        return FALSE;
    tell(cli, "received", &transfer, TRUE);
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
