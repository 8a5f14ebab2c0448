/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/transfer.h"
#include "cli/json.h"
#include "cli/text.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_HAVES ((gsize)16 * 1024 * 1024) /* bytes of a list */
#define BETWEEN   (G_USEC_PER_SEC / 10)     /* two drawings */

struct CliTransferOptions cli_transfer_options;
#define option cli_transfer_options

const GOptionEntry cli_send_options[] = {
    {"base", 'b', 0, G_OPTION_ARG_FILENAME_ARRAY, &option.base,
     "what the receiver has: a name here or a universal id; may be repeated", "BASE"},
    {"haves-from", 0, 0, G_OPTION_ARG_FILENAME, &option.haves_from,
     "more of that, a universal id on each line; - is standard input", "FILE"},
    {"accept", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &option.accept,
     "a driver's own format that the receiver takes; may be repeated", "FORMAT"},
    {"format", 0, 0, G_OPTION_ARG_FILENAME, &option.format,
     "auto, the default: the driver's own if it is accepted; portable; or native", "KIND"},
    {"compression", 0, 0, G_OPTION_ARG_FILENAME, &option.compression,
     "auto, the default: zstd where it gains; or none", "KIND"},
    {"resume", 0, 0, G_OPTION_ARG_FILENAME, &option.resume,
     "go on where the receiver with this token is; it also says what the above do", "TOKEN"},
    {NULL},
};

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
    options->resume = option.resume;
    return TRUE;
}

static gboolean
add_bases(const Cli *cli, VarvePool *pool, CliBaseFunc find_base, GPtrArray *haves, GError **error)
{
    for (char **base = option.base; base != NULL && *base != NULL; base++) {
        g_autoptr(GError) failure = NULL;
        char *uuid = find_base(cli, pool, *base, &failure);
        if (uuid == NULL && !g_uuid_string_is_valid(*base)) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return FALSE;
        }
        g_ptr_array_add(haves, uuid != NULL ? uuid : g_strdup(*base));
    }
    return TRUE;
}

static gboolean
add_listed(GPtrArray *haves, GError **error)
{
    if (option.haves_from == NULL)
        return TRUE;
    gboolean is_stdin = g_str_equal(option.haves_from, "-");
    FILE *file = is_stdin ? stdin : fopen(option.haves_from, "re");
    if (file == NULL)
        return cli_usage_error(error, "--haves-from %s: %s", option.haves_from, g_strerror(errno));
    char line[128];
    gsize read = 0;
    while (read < MAX_HAVES && fgets(line, sizeof line, file) != NULL) {
        read += strlen(line);
        if (*g_strstrip(line) != '\0')
            g_ptr_array_add(haves, g_strdup(line));
    }
    if (!is_stdin)
        fclose(file);
    return TRUE;
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
    cli_json_set_int(object, "resumed", transfer->resumed);
    return object;
}

void
cli_transfer_print(const VarveTransfer *transfer)
{
    cli_json_print(transfer_to_json(transfer));
}

void
cli_transfer_tell(const char *done, const VarveTransfer *transfer)
{
    g_autofree char *name = cli_display_name(transfer->name, FALSE);
    g_autofree char *bytes = cli_format_size(transfer->bytes);
    g_autofree char *payload = cli_format_size(transfer->payload);
    g_autofree char *resumed = cli_format_size(transfer->resumed);
    g_autofree char *line = g_strdup_printf(
        "%s '%s', %s: %s, %s as a stream%s%s%s", done, name,
        transfer->base != NULL ? "the difference" : "in full", payload, bytes,
        transfer->resumed > 0 ? ", of which " : "", transfer->resumed > 0 ? resumed : "",
        transfer->resumed > 0 ? " had come before" : "");
    cli_write_line(line);
}

/* Standard output has the stream. */
static void
tell_sent(const Cli *cli, const VarveTransfer *transfer)
{
    cli_clear_progress();
    if (!cli->json) {
        cli_transfer_tell("sent", transfer);
        return;
    }
    json_t *object = transfer_to_json(transfer);
    json_dumpf(object, stderr, JSON_COMPACT | JSON_ENSURE_ASCII);
    fputc('\n', stderr);
    json_decref(object);
}

/* --- progress --------------------------------------------------------------------------------- */

static void
append_left(GString *text, guint64 left, double rate)
{
    guint64 seconds = (guint64)((double)left / rate);
    g_string_append_printf(text, ", %" G_GUINT64_FORMAT ":%02" G_GUINT64_FORMAT " left",
                           seconds / 60, seconds % 60);
}

/* "receiving: 1.5 GiB of about 3.0 GiB, 80.0 MiB/s, 0:19 left" */
static void
draw(const VarveTransferProgress *progress, gpointer data)
{
    CliTransferDrawing *drawing = data;
    gint64 now = g_get_monotonic_time();
    if (drawing->started == 0) {
        drawing->started = now;
        drawing->first = progress->done;
    }
    if (now < drawing->last + BETWEEN)
        return;
    drawing->last = now;
    double passed = (double)MAX(now - drawing->started, 1) / G_USEC_PER_SEC;
    double rate = (double)(progress->done - drawing->first) / passed;
    g_autofree char *done = cli_format_size(progress->done);
    g_autofree char *per_second = cli_format_size((guint64)rate);
    g_autofree char *expected = cli_format_size(progress->expected);
    g_autoptr(GString) text = g_string_new(drawing->verb);
    g_string_append_printf(text, ": %s", done);
    if (progress->expected >= progress->done)
        g_string_append_printf(text, " of about %s", expected);
    g_string_append_printf(text, ", %s/s", per_second);
    if (progress->expected > progress->done && rate >= 1)
        append_left(text, progress->expected - progress->done, rate);
    cli_draw_progress(text->str);
}

/* In place of the engine's, which knows files only. */
VarveTransferProgressFunc
cli_transfer_show_progress(const Cli *cli)
{
    varve_engine_set_progress(cli->engine, NULL, NULL);
    return isatty(STDERR_FILENO) ? draw : NULL;
}

/* --- sending ---------------------------------------------------------------------------------- */

static gboolean
send_to_stdout(const Cli *cli, VarvePool *pool, const char *key, const VarveSendOptions *options,
               GError **error)
{
    VarveTransferFile file = {STDOUT_FILENO, cli->engine};
    g_auto(VarveTransfer) transfer = {0};
    if (!varve_snapshot_send(pool, key, options, varve_transfer_sink(&file), &transfer, error))
        return FALSE;
    tell_sent(cli, &transfer);
    return TRUE;
}

gboolean
cli_transfer_send(const Cli *cli, VarvePool *pool, const char *key, CliBaseFunc find_base,
                  GError **error)
{
    CliTransferDrawing drawing = {.verb = "sending"};
    VarveSendOptions options = {.format = VARVE_TRANSFER_AUTO};
    g_autoptr(GPtrArray) haves = g_ptr_array_new_with_free_func(g_free);
    if (!read_options(&options, error))
        return FALSE;
    if (isatty(STDOUT_FILENO))
        return cli_usage_error(error, "a stream is nothing for a terminal: lead it to a file or to "
                                      "another program");
    if (!add_bases(cli, pool, find_base, haves, error) || !add_listed(haves, error))
        return FALSE;
    g_ptr_array_add(haves, NULL);
    options.haves = (const char *const *)haves->pdata;
    options.progress = cli_transfer_show_progress(cli);
    options.progress_data = &drawing;
    return send_to_stdout(cli, pool, key, &options, error);
}

/* --- receiving -------------------------------------------------------------------------------- */

/* How to go on, if something was kept: on a line of its own, since a token is long. */
static void
tell_how_to_go_on(const Cli *cli, const VarveTransfer *transfer)
{
    if (transfer->token == NULL)
        return;
    cli_clear_progress();
    if (cli->json) {
        json_t *object = json_object();
        cli_json_set(object, "uuid", transfer->uuid);
        cli_json_set(object, "resume", transfer->token);
        cli_json_print(object);
        return;
    }
    g_autofree char *line = g_strdup_printf(
        "varve: note: what came is kept; the sender goes on with it when it is told "
        "--resume %s",
        transfer->token);
    cli_write_line(line);
}

gboolean
cli_transfer_receive(const Cli *cli, const VarveReceiveOptions *options, CliReceiveFunc func,
                     gpointer data, VarveTransfer *transfer, GError **error)
{
    CliTransferDrawing drawing = {.verb = "receiving"};
    VarveTransferFile file = {STDIN_FILENO, cli->engine};
    if (isatty(STDIN_FILENO))
        return cli_usage_error(error, "the stream is read from standard input, which is a terminal "
                                      "here");
    VarveReceiveOptions wish = *options;
    wish.keep = option.keep;
    wish.progress = cli_transfer_show_progress(cli);
    wish.progress_data = &drawing;
    gboolean ok = func(varve_transfer_source(&file), &wish, transfer, data, error);
    cli_clear_progress();
    if (!ok)
        tell_how_to_go_on(cli, transfer);
    else if (!cli->json)
        cli_transfer_tell("received", transfer);
    return ok;
}
