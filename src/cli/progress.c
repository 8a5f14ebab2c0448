/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"
#include "cli/json.h"
#include "cli/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BETWEEN (G_USEC_PER_SEC / 10) /* two drawings, unless a stage changes */
#define DIGITS  12                    /* of a digest that are shown */

typedef struct {
    char *item, *kind;
    VarveImageStage stage;
    guint64 done, total;
    guint64 first;  /* bytes that were there when it began, */
    gint64 started; /* and when that was; 0: it has not begun */
} Row;

struct CliProgress {
    VarveImages *images;
    gboolean drawn, json; /* neither: lines */
    GPtrArray *rows;      /* of Row*, in the order in which they were told of */
    GHashTable *by_item;
    gint64 started, last;
};

static void
row_free(gpointer data)
{
    Row *row = data;
    g_free(row->item);
    g_free(row->kind);
    g_free(row);
}

static gboolean
is_over(VarveImageStage stage)
{
    return stage >= VARVE_IMAGE_DONE;
}

static gboolean
is_busy(VarveImageStage stage)
{
    return stage > VARVE_IMAGE_WAITING && !is_over(stage);
}

/* --- rows ------------------------------------------------------------------------------------- */

static Row *
find_row(CliProgress *progress, const VarveImageProgress *event)
{
    Row *row = g_hash_table_lookup(progress->by_item, event->item);
    if (row != NULL)
        return row;
    row = g_new0(Row, 1);
    row->item = g_strdup(event->item);
    row->kind = g_strdup(event->kind);
    g_ptr_array_add(progress->rows, row);
    g_hash_table_insert(progress->by_item, row->item, row);
    return row;
}

/* Returns whether the stage is another one. */
static gboolean
update(CliProgress *progress, const VarveImageProgress *event)
{
    Row *row = find_row(progress, event);
    gboolean changed = row->stage != event->stage;
    if (is_busy(event->stage) && (row->started == 0 || event->done < row->first)) {
        row->started = g_get_monotonic_time();
        row->first = event->done;
    }
    row->stage = event->stage;
    row->done = event->done;
    row->total = event->total;
    return changed;
}

static guint64
rate_of(guint64 bytes, gint64 since)
{
    gint64 passed = g_get_monotonic_time() - since;
    return passed <= 0 ? 0 : (guint64)((double)bytes * G_USEC_PER_SEC / (double)passed);
}

/* "layer     0123456789ab  fetching    1.5 MiB of 3.0 MiB   800.0 KiB/s" */
static void
append_row(GString *text, const Row *row, guint width)
{
    const char *colon = strchr(row->item, ':');
    const char *digits = colon != NULL ? colon + 1 : row->item;
    g_autoptr(GString) line = g_string_new(NULL);
    g_autofree char *total = cli_format_size(row->total);
    g_string_printf(line, "%-8s  %-*.*s  %-9s", row->kind, DIGITS, DIGITS, digits,
                    varve_image_stage_name(row->stage));
    if (is_busy(row->stage)) {
        g_autofree char *done = cli_format_size(row->done);
        g_autofree char *rate = cli_format_size(rate_of(row->done - row->first, row->started));
        g_string_append_printf(line, "  %10s", done);
        if (row->total > 0)
            g_string_append_printf(line, " of %s", total);
        g_string_append_printf(line, ", %s/s", rate);
    } else {
        g_string_append_printf(line, "  %10s", total);
    }
    g_string_truncate(line, MIN(line->len, width));
    g_string_append_printf(text, "%s\n", line->str);
}

static void
append_sum(GString *text, const CliProgress *progress, guint width)
{
    guint64 moved = 0;
    guint over = 0;
    for (guint i = 0; i < progress->rows->len; i++) {
        const Row *row = g_ptr_array_index(progress->rows, i);
        over += is_over(row->stage);
        moved += row->started != 0 ? row->done - MIN(row->first, row->done) : 0;
    }
    g_autofree char *bytes = cli_format_size(moved);
    g_autofree char *rate = cli_format_size(rate_of(moved, progress->started));
    g_autofree char *line =
        g_strdup_printf("%u of %u, %s, %s/s", over, progress->rows->len, bytes, rate);
    g_string_append_len(text, line, (gssize)MIN(strlen(line), width));
}

/* --- ways to tell ----------------------------------------------------------------------------- */

/* One column less than there are: some terminals wrap when the last one is written. Where not all
 * rows have room, those that something happens to are shown. */
static void
draw(CliProgress *progress)
{
    struct winsize size = {0};
    gboolean known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0;
    guint width = known && size.ws_col > 1 ? size.ws_col - 1U : 79;
    guint room = known && size.ws_row > 2 ? size.ws_row - 2U : 22;
    gboolean all = progress->rows->len <= room;
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < progress->rows->len && room > 0; i++) {
        const Row *row = g_ptr_array_index(progress->rows, i);
        if (!all && !is_busy(row->stage))
            continue;
        append_row(text, row, width);
        room--;
    }
    append_sum(text, progress, width);
    cli_draw_progress(text->str);
}

static void
write_json(const VarveImageProgress *event)
{
    json_t *detail = json_object();
    cli_json_set(detail, "item", event->item);
    cli_json_set(detail, "kind", event->kind);
    cli_json_set(detail, "stage", varve_image_stage_name(event->stage));
    cli_json_set_int(detail, "done", event->done);
    cli_json_set_int(detail, "total", event->total);
    json_t *object = json_pack("{s:o}", "progress", detail);
    char *line = json_dumps(object, JSON_ENSURE_ASCII);
    cli_write_line(line);
    free(line);
    json_decref(object);
}

static void
write_text(const VarveImageProgress *event)
{
    g_autofree char *size = cli_format_size(event->total);
    g_autofree char *line = g_strdup_printf("%s %s: %s, %s", event->kind, event->item,
                                            varve_image_stage_name(event->stage), size);
    cli_write_line(line);
}

static void
on_progress(const VarveImageProgress *event, gpointer data)
{
    CliProgress *progress = data;
    gboolean first = !g_hash_table_contains(progress->by_item, event->item);
    gboolean changed = update(progress, event) || first;
    gint64 now = g_get_monotonic_time();
    if (progress->json) {
        write_json(event);
    } else if (!progress->drawn) {
        if (changed)
            write_text(event);
    } else if (changed || now >= progress->last + BETWEEN) {
        progress->last = now;
        draw(progress);
    }
}

CliProgress *
cli_progress_new(const Cli *cli, VarveImages *images, gboolean lines)
{
    CliProgress *progress = g_new0(CliProgress, 1);
    progress->images = images;
    progress->json = lines && cli->json;
    progress->drawn = !progress->json && isatty(STDERR_FILENO);
    progress->rows = g_ptr_array_new_with_free_func(row_free);
    progress->by_item = g_hash_table_new(g_str_hash, g_str_equal);
    progress->started = g_get_monotonic_time();
    if (lines || progress->drawn)
        varve_images_set_progress(images, on_progress, progress);
    return progress;
}

void
cli_progress_free(CliProgress *progress)
{
    if (progress == NULL)
        return;
    varve_images_set_progress(progress->images, NULL, NULL);
    cli_clear_progress();
    g_hash_table_unref(progress->by_item);
    g_ptr_array_unref(progress->rows);
    g_free(progress);
}

void
cli_progress_sum_up(CliProgress *progress, const char *verb, const VarveImageMoved *moved)
{
    double passed = (double)(g_get_monotonic_time() - progress->started) / G_USEC_PER_SEC;
    if (progress->json || progress->rows->len == 0)
        return;
    g_autofree char *bytes = cli_format_size(moved->bytes);
    g_autoptr(GString) line = g_string_new(NULL);
    g_string_printf(line, "%s %u of %u blobs and manifests, %s in %.1f s", verb, moved->moved,
                    moved->items, bytes, passed);
    if (moved->present > 0)
        g_string_append_printf(line, "; %u were there", moved->present);
    if (moved->mounted > 0)
        g_string_append_printf(line, "; %u were in another repository", moved->mounted);
    if (moved->skipped > 0)
        g_string_append_printf(line, "; %u are not to be given on", moved->skipped);
    cli_write_line(line->str);
}
