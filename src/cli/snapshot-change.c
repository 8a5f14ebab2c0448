/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/snapshot.h"
#include <string.h>

#define option cli_snapshot_options

/* --- making -------------------------------------------------------------------------------- */

/* What was made is mounted where it is wished, or told how. Where it cannot be mounted, nothing was
 * made. */
static gboolean
present(const Cli *cli, const char *key, const VarveMount *mount, GError **error)
{
    if (option.mount != NULL && !varve_mount_attach(mount, option.mount, error)) {
        g_autoptr(GError) failure = NULL;
        if (!varve_snapshot_remove(cli->pool, key, &failure))
            varve_log(VARVE_LOG_WARNING, "the snapshot that could not be mounted was left behind",
                      "error", failure->message, NULL);
        return FALSE;
    }
    if (option.mount == NULL || cli->json)
        cli_print_mount(cli, mount);
    return TRUE;
}

gboolean
cli_snapshot_prepare(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveMount) mount = NULL;
    return varve_snapshot_prepare(cli->pool, args[0], args[1], option.labels, &mount, error) &&
           present(cli, args[0], mount, error);
}

gboolean
cli_snapshot_view(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveMount) mount = NULL;
    return varve_snapshot_view(cli->pool, args[0], args[1], option.labels, &mount, error) &&
           present(cli, args[0], mount, error);
}

gboolean
cli_snapshot_commit(const Cli *cli, char **args, GError **error)
{
    return varve_snapshot_commit(cli->pool, args[0], args[1], option.parent, option.labels, error);
}

gboolean
cli_snapshot_capture(const Cli *cli, char **args, GError **error)
{
    return varve_snapshot_capture(cli->pool, args[0], args[1], option.labels, error);
}

/* --- labels -------------------------------------------------------------------------------- */

/* One change, "KEY=VALUE" or "KEY-", to the update's field and, when it sets one, label. */
static gboolean
read_change(const char *change, GHashTable *labels, GPtrArray *fields, GError **error)
{
    const char *equals = strchr(change, '=');
    const char *end = equals != NULL ? equals : change + strlen(change) - 1;
    if (end <= change || (equals == NULL && *end != '-'))
        return cli_usage_error(error, "'%s' is neither KEY=VALUE nor KEY-", change);
    g_autofree char *key = g_strndup(change, (gsize)(end - change));
    g_ptr_array_add(fields, g_strconcat("labels.", key, NULL));
    if (equals != NULL)
        g_hash_table_replace(labels, g_steal_pointer(&key), g_strdup(equals + 1));
    else
        g_hash_table_remove(labels, key);
    return TRUE;
}

gboolean
cli_snapshot_label(const Cli *cli, char **args, GError **error)
{
    g_autoptr(GHashTable) labels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GPtrArray) fields = g_ptr_array_new_with_free_func(g_free);
    for (char **change = args + 1; *change != NULL; change++)
        if (!read_change(*change, labels, fields, error))
            return FALSE;
    g_ptr_array_add(fields, NULL);

    g_autoptr(VarveSnapshotInfo) info = NULL;
    if (!varve_snapshot_update(cli->pool, args[0], labels, (const char *const *)fields->pdata,
                               &info, error))
        return FALSE;
    cli_print_snapshot(cli, info);
    return TRUE;
}

/* --- removing ------------------------------------------------------------------------------ */

static gboolean
remove_one(const char *key, gpointer pool, GError **error)
{
    return varve_snapshot_remove(pool, key, error);
}

gboolean
cli_snapshot_rm(const Cli *cli, char **args, GError **error)
{
    return cli_for_each(cli, args, remove_one, cli->pool, error);
}
