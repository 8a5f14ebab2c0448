/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/names.h"
#include "cli/snapshot.h"
#include "cli/table.h"
#include "cli/text.h"
#include <stdio.h>

/* --- one snapshot -------------------------------------------------------------------------- */

static json_t *
snapshot_to_json(const VarveSnapshotInfo *info)
{
    json_t *object = json_object();
    cli_json_set(object, "name", info->name);
    cli_json_set(object, "kind", varve_kind_name(info->kind));
    cli_json_set(object, "parent", info->parent);
    cli_json_set_time(object, "created", info->created);
    cli_json_set_time(object, "updated", info->updated);
    cli_json_set_pairs(object, "labels", info->labels);
    return object;
}

static void
print_fields(const VarveSnapshotInfo *info)
{
    g_autoptr(CliTable) table = cli_table_new("|");
    cli_table_add(table, g_strdup("name"), cli_escape(info->name));
    cli_table_add(table, g_strdup("kind"), g_strdup(varve_kind_name(info->kind)));
    cli_table_add(table, g_strdup("parent"),
                  *info->parent != '\0' ? cli_escape(info->parent) : g_strdup("-"));
    cli_table_add(table, g_strdup("created"), cli_format_time(info->created));
    cli_table_add(table, g_strdup("updated"), cli_format_time(info->updated));
    g_autofree const char **keys = cli_sorted_keys(info->labels);
    for (gsize i = 0; keys[i] != NULL; i++) {
        g_autofree char *label =
            g_strdup_printf("%s=%s", keys[i], (char *)g_hash_table_lookup(info->labels, keys[i]));
        cli_table_add(table, g_strdup("label"), cli_escape(label));
    }
    cli_table_print(table);
}

void
cli_print_snapshot(const Cli *cli, const VarveSnapshotInfo *info)
{
    if (cli->json)
        cli_json_print(snapshot_to_json(info));
    else
        print_fields(info);
}

gboolean
cli_snapshot_stat(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveSnapshotInfo) info = NULL;
    if (!varve_snapshot_stat(cli->pool, args[0], &info, error))
        return FALSE;
    cli_print_snapshot(cli, info);
    return TRUE;
}

/* --- lists --------------------------------------------------------------------------------- */

static gboolean
list_name(const VarveSnapshotInfo *info, gpointer data, GError **error)
{
    cli_names_print(info->name);
    return TRUE;
}

static gboolean
list_json(const VarveSnapshotInfo *info, gpointer data, GError **error)
{
    cli_json_list_add(data, snapshot_to_json(info));
    return TRUE;
}

static gboolean
list_row(const VarveSnapshotInfo *info, gpointer data, GError **error)
{
    gboolean full = cli_snapshot_options.full;
    cli_table_add(data, cli_display_name(info->name, full), g_strdup(varve_kind_name(info->kind)),
                  *info->parent != '\0' ? cli_display_name(info->parent, full) : g_strdup("-"),
                  full ? cli_format_time(info->created) : cli_format_age(info->created),
                  g_strdup_printf("%u", g_hash_table_size(info->labels)));
    return TRUE;
}

gboolean
cli_snapshot_ls(const Cli *cli, char **args, GError **error)
{
    const char *const *filters = (const char *const *)args;
    if (cli_names_wanted())
        return varve_snapshot_walk(cli->pool, filters, list_name, NULL, error);
    if (cli->json) {
        gsize count = 0;
        if (!varve_snapshot_walk(cli->pool, filters, list_json, &count, error))
            return FALSE;
        cli_json_list_end(&count);
        return TRUE;
    }
    g_autoptr(CliTable) table = cli_table_new("NAME|KIND|PARENT|CREATED|>LABELS");
    if (!varve_snapshot_walk(cli->pool, filters, list_row, table, error))
        return FALSE;
    cli_table_print(table);
    return TRUE;
}

/* --- usage --------------------------------------------------------------------------------- */

typedef struct {
    json_t *list;    /* with --json, else NULL */
    CliTable *table; /* otherwise */
    VarveUsage total;
} UsageReport;

static void
report_usage(UsageReport *report, const char *name, const VarveUsage *usage)
{
    report->total.bytes += usage->bytes;
    report->total.inodes += usage->inodes;
    if (report->list != NULL) {
        json_t *object = json_object();
        cli_json_set(object, "name", name);
        cli_json_set_int(object, "bytes", (guint64)usage->bytes);
        cli_json_set_int(object, "inodes", (guint64)usage->inodes);
        json_array_append_new(report->list, object);
    } else {
        cli_table_add(report->table, cli_display_name(name, cli_snapshot_options.full),
                      cli_format_size((guint64)usage->bytes),
                      g_strdup_printf("%" G_GINT64_FORMAT, usage->inodes));
    }
}

static void
finish_usage(UsageReport *report, gboolean print)
{
    if (report->list != NULL) {
        json_t *object = json_pack("{s:o, s:{}}", "snapshots", report->list, "total");
        json_t *total = json_object_get(object, "total");
        cli_json_set_int(total, "bytes", (guint64)report->total.bytes);
        cli_json_set_int(total, "inodes", (guint64)report->total.inodes);
        if (print)
            cli_json_print(json_incref(object));
        json_decref(object);
    } else {
        cli_table_add(report->table, g_strdup("total"),
                      cli_format_size((guint64)report->total.bytes),
                      g_strdup_printf("%" G_GINT64_FORMAT, report->total.inodes));
        if (print)
            cli_table_print(report->table);
        cli_table_free(report->table);
    }
}

static gboolean
collect_name(const VarveSnapshotInfo *info, gpointer data, GError **error)
{
    g_ptr_array_add(data, g_strdup(info->name));
    return TRUE;
}

/* Of the snapshots named, or of all: then one that is removed meanwhile does not matter. */
static gboolean
measure(const Cli *cli, char **args, UsageReport *report, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    gboolean all = args[0] == NULL;
    if (all && !varve_snapshot_walk(cli->pool, NULL, collect_name, names, error))
        return FALSE;
    for (; *args != NULL; args++)
        g_ptr_array_add(names, g_strdup(*args));
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autoptr(GError) failure = NULL;
        VarveUsage usage;
        if (varve_snapshot_usage(cli->pool, name, &usage, &failure)) {
            report_usage(report, name, &usage);
        } else if (!all || !g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return FALSE;
        }
    }
    return TRUE;
}

gboolean
cli_snapshot_usage(const Cli *cli, char **args, GError **error)
{
    UsageReport report = {.list = cli->json ? json_array() : NULL,
                          .table = cli->json ? NULL : cli_table_new("NAME|>SIZE|>INODES")};
    gboolean done = measure(cli, args, &report, error);
    finish_usage(&report, done);
    return done;
}
