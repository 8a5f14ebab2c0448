/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/text.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* stderr is written by the main thread and, with progress and log messages, by the engine's. */
static GMutex stderr_lock;
static guint progress_drawn; /* how many lines of it */

static VarveEngine *volatile watched_engine;
static volatile sig_atomic_t caught_signal;
static const int signals[] = {SIGINT, SIGTERM};
static struct sigaction actions_before[G_N_ELEMENTS(signals)];

/* --- stderr -------------------------------------------------------------------------------- */

static void
clear_progress_locked(void)
{
    if (progress_drawn == 1)
        fputs("\r\033[K", stderr);
    else if (progress_drawn > 1) /* "Cursor Up" and "Erase in Display", ECMA-48 8.3.22, 8.3.39 */
        fprintf(stderr, "\r\033[%uA\033[J", progress_drawn - 1);
    progress_drawn = 0;
}

void
cli_clear_progress(void)
{
    g_mutex_lock(&stderr_lock);
    clear_progress_locked();
    fflush(stderr);
    g_mutex_unlock(&stderr_lock);
}

void
cli_draw_progress(const char *text)
{
    g_mutex_lock(&stderr_lock);
    clear_progress_locked();
    fputs(text, stderr);
    for (progress_drawn = 1; (text = strchr(text, '\n')) != NULL; text++)
        progress_drawn++;
    fflush(stderr);
    g_mutex_unlock(&stderr_lock);
}

static void
draw_engine_progress(const char *verb, guint64 files, guint64 bytes, gpointer data)
{
    g_autofree char *size = cli_format_size(bytes);
    g_autofree char *text = g_strdup_printf("%s: %" G_GUINT64_FORMAT " files%s%s", verb, files,
                                            bytes > 0 ? ", " : "", bytes > 0 ? size : "");
    cli_draw_progress(text);
}

void
cli_write_line(const char *line)
{
    g_mutex_lock(&stderr_lock);
    clear_progress_locked();
    fprintf(stderr, "%s\n", line);
    g_mutex_unlock(&stderr_lock);
}

static void
log_line(VarveLogLevel level, const char *message, const VarveLogField *fields, gsize n_fields,
         gpointer data)
{
    GString *line = g_string_new(NULL);
    g_string_append_printf(line, "varve: %s: %s", varve_log_level_name(level), message);
    for (gsize i = 0; i < n_fields; i++) {
        g_autofree char *value = cli_escape_message(fields[i].value);
        g_string_append_printf(line, "%s%s=%s", i == 0 ? " (" : ", ", fields[i].key, value);
    }
    if (n_fields > 0)
        g_string_append_c(line, ')');
    cli_write_line(line->str);
    g_string_free(line, TRUE);
}

void
cli_log_to_stderr(void)
{
    varve_log_set_level(VARVE_LOG_WARNING);
    varve_log_set_handler(log_line, NULL);
}

static void
report_as_json(const GError *error, const char *hint)
{
    json_t *detail = json_object();
    cli_json_set(detail, "code", cli_is_usage_error(error) ? "usage" : varve_error_name(error));
    cli_json_set(detail, "message", error->message);
    if (hint != NULL)
        cli_json_set(detail, "hint", hint);
    json_t *object = json_pack("{s:o}", "error", detail);
    char *line = json_dumps(object, JSON_ENSURE_ASCII);
    cli_write_line(line);
    free(line);
    json_decref(object);
}

void
cli_report_error(const GError *error, const char *hint, gboolean json)
{
    if (json) {
        report_as_json(error, hint);
        return;
    }
    g_autofree char *message = cli_escape_message(error->message);
    g_autofree char *line = hint == NULL ? g_strdup_printf("varve: %s", message)
                                         : g_strdup_printf("varve: %s\nhint: %s", message, hint);
    cli_write_line(line);
}

/* --- signals and progress ------------------------------------------------------------------ */

static void
on_signal(int signum)
{
    caught_signal = signum;
    varve_engine_cancel(watched_engine);
}

void
cli_watch_engine(VarveEngine *engine)
{
    /* SA_RESETHAND: the second signal does not ask. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    watched_engine = engine;
    for (gsize i = 0; i < G_N_ELEMENTS(signals); i++) {
        sigaction(signals[i], NULL, &actions_before[i]);
        if (actions_before[i].sa_handler != SIG_IGN) /* by a shell, for a job in the background */
            sigaction(signals[i], &action, NULL);
    }
    if (isatty(STDERR_FILENO))
        varve_engine_set_progress(engine, draw_engine_progress, NULL);
}

void
cli_unwatch_engine(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(signals); i++)
        sigaction(signals[i], &actions_before[i], NULL);
    watched_engine = NULL;
}

int
cli_caught_signal(void)
{
    return caught_signal;
}
