/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/names.h"
#include "cli/snapshot.h"
#include "cli/table.h"
#include "cli/text.h"
#include <stdio.h>
#include <sys/stat.h>

static const struct {
    char letter;
    const char *sgr; /* as cli_paint() has it */
} kinds[] = {
    [VARVE_CHANGE_ADDED] = {'A', "32"},   [VARVE_CHANGE_MODIFIED] = {'M', "33"},
    [VARVE_CHANGE_DELETED] = {'D', "31"}, [VARVE_CHANGE_REPLACED] = {'T', "35"},
    [VARVE_CHANGE_RENAMED] = {'R', "36"},
};

static const struct {
    VarveChangeWhat what;
    char letter;
    const char *name;
} whats[] = {
    {VARVE_CHANGE_CONTENT, 'c', "content"}, {VARVE_CHANGE_MODE, 'm', "mode"},
    {VARVE_CHANGE_OWNER, 'o', "owner"},     {VARVE_CHANGE_XATTRS, 'x', "xattrs"},
    {VARVE_CHANGE_TIME, 't', "time"},
};

static const struct {
    mode_t type;
    const char *name;
} types[] = {
    {S_IFREG, "file"},        {S_IFDIR, "directory"},    {S_IFLNK, "symlink"},
    {S_IFCHR, "char-device"}, {S_IFBLK, "block-device"}, {S_IFIFO, "fifo"},
    {S_IFSOCK, "socket"},
};

/* --- one change ---------------------------------------------------------------------------- */

static gboolean
print_path(const VarveChange *change, gpointer data, GError **error)
{
    cli_names_print(change->path);
    return TRUE;
}

/* "cm--t" */
static void
format_what(guint what, char *text)
{
    for (gsize i = 0; i < G_N_ELEMENTS(whats); i++)
        text[i] = (what & whats[i].what) != 0 ? whats[i].letter : '-';
    text[G_N_ELEMENTS(whats)] = '\0';
}

static char *
display_path(const char *path, guint32 mode)
{
    g_autofree char *escaped = cli_escape(path);
    gboolean marked = S_ISDIR(mode) && !g_str_equal(path, "/");
    return g_strconcat(escaped, marked ? "/" : "", NULL);
}

static gboolean
print_line(const VarveChange *change, gpointer data, GError **error)
{
    const char letter[] = {kinds[change->kind].letter, '\0'};
    char what[G_N_ELEMENTS(whats) + 1] = "";
    if (change->kind == VARVE_CHANGE_MODIFIED || change->kind == VARVE_CHANGE_RENAMED)
        format_what(change->what, what);
    g_autofree char *painted = cli_paint(kinds[change->kind].sgr, letter);
    g_autofree char *path = display_path(change->path, change->mode);
    g_autofree char *from = change->from != NULL ? display_path(change->from, change->mode) : NULL;
    printf("%s %-*s %s%s%s\n", painted, (int)G_N_ELEMENTS(whats), what, from != NULL ? from : "",
           from != NULL ? " -> " : "", path);
    return TRUE;
}

static const char *
type_name(guint32 mode)
{
    for (gsize i = 0; i < G_N_ELEMENTS(types); i++)
        if ((mode & S_IFMT) == types[i].type)
            return types[i].name;
    return "unknown";
}

static gboolean
print_json(const VarveChange *change, gpointer data, GError **error)
{
    json_t *object = json_object(), *what = json_array();
    for (gsize i = 0; i < G_N_ELEMENTS(whats); i++)
        if ((change->what & whats[i].what) != 0)
            json_array_append_new(what, json_string(whats[i].name));
    cli_json_set(object, "kind", varve_change_kind_name(change->kind));
    cli_json_set(object, "path", change->path);
    if (change->from != NULL)
        cli_json_set(object, "from", change->from);
    cli_json_set(object, "type", type_name(change->mode));
    json_object_set_new(object, "what", what);
    cli_json_list_add(data, object);
    return TRUE;
}

/* --- the sums ------------------------------------------------------------------------------ */

static gboolean
count_kind(const VarveChange *change, gpointer data, GError **error)
{
    ((guint64 *)data)[change->kind]++;
    return TRUE;
}

static void
print_sums_json(const guint64 *sums)
{
    json_t *object = json_object();
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++)
        cli_json_set_int(object, varve_change_kind_name((VarveChangeKind)i), sums[i]);
    cli_json_print(object);
}

static void
print_sums(const guint64 *sums)
{
    g_autoptr(CliTable) table = cli_table_new("|>");
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++)
        cli_table_add(table, g_strdup(varve_change_kind_name((VarveChangeKind)i)),
                      g_strdup_printf("%" G_GUINT64_FORMAT, sums[i]));
    cli_table_print(table);
}

static gboolean
summarize(const Cli *cli, const char *key, GError **error)
{
    guint64 sums[G_N_ELEMENTS(kinds)] = {0};
    if (!varve_snapshot_changes(cli->pool, key, count_kind, sums, error))
        return FALSE;
    (cli->json ? print_sums_json : print_sums)(sums);
    return TRUE;
}

/* --- the verb ------------------------------------------------------------------------------ */

gboolean
cli_snapshot_diff(const Cli *cli, char **args, GError **error)
{
    if (cli_snapshot_options.summary)
        return summarize(cli, args[0], error);
    if (cli_names_wanted() || !cli->json)
        return varve_snapshot_changes(cli->pool, args[0],
                                      cli_names_wanted() ? print_path : print_line, NULL, error);
    gsize count = 0;
    if (!varve_snapshot_changes(cli->pool, args[0], print_json, &count, error))
        return FALSE;
    cli_json_list_end(&count);
    return TRUE;
}
