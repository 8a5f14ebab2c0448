/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/names.h"
#include "cli/progress.h"
#include "cli/remote.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/volume.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* push, pull and backups: volumes in registries. */

static struct {
    gboolean anew, force, no_volume;
    char *to;
} option;

const GOptionEntry cli_volume_push_options[] = {
    {"full", 0, 0, G_OPTION_ARG_NONE, &option.anew,
     "begin anew: what the tag had is no part of it any more", NULL},
    {"force", 0, 0, G_OPTION_ARG_NONE, &option.force,
     "have the tag forget the image, or other volume's backup, that it leads to", NULL},
    CLI_REMOTE_OPTIONS,
    {NULL},
};

const GOptionEntry cli_volume_pull_options[] = {
    {"snapshot", 's', 0, G_OPTION_ARG_NONE, &cli_volume_options.snapshot,
     "of a host: take a snapshot there first, and pull that", NULL},
    CLI_CONFIG_OPTION,
    {"to", 0, 0, G_OPTION_ARG_FILENAME, &option.to,
     "of a registry: the snapshot that the volume begins as (default: the newest)", "SNAPSHOT"},
    {"no-volume", 0, 0, G_OPTION_ARG_NONE, &option.no_volume,
     "of a registry: fetch the snapshots, and make no volume", NULL},
    {"no-mount", 0, 0, G_OPTION_ARG_NONE, &cli_volume_options.no_mount,
     "of a registry: do not mount it, now or when the host starts", NULL},
    CLI_MIRROR_OPTION,
    CLI_REMOTE_OPTIONS,
    {NULL},
};

const GOptionEntry cli_volume_backups_options[] = {
    {"full", 0, 0, G_OPTION_ARG_NONE, &cli_volume_options.full,
     "print whole ids, and times instead of ages", NULL},
    CLI_MIRROR_OPTION,
    CLI_REMOTE_OPTIONS,
    {NULL},
};

/* --- what was moved ------------------------------------------------------------------------ */

static void
add_moved(json_t *object, const VarveBackupMoved *moved)
{
    cli_json_set(object, "name", moved->name);
    cli_json_set(object, "digest", moved->digest);
    cli_json_set_int(object, "snapshots", moved->snapshots);
    cli_json_set_int(object, "moved", moved->moved);
    cli_json_set_int(object, "present", moved->present);
    cli_json_set_int(object, "bytes", moved->bytes);
}

/* Where progress was shown. */
static void
sum_up(const Cli *cli, const char *verb, const VarveBackupMoved *moved)
{
    if (cli->json || !(cli_remote_options.progress || isatty(STDERR_FILENO)))
        return;
    g_autofree char *bytes = cli_format_size(moved->bytes);
    g_autoptr(GString) line = g_string_new(NULL);
    g_string_printf(line, "%s %u of %u snapshots, %s", verb, moved->moved, moved->snapshots, bytes);
    if (moved->present > 0)
        g_string_append_printf(line, "; %u were there", moved->present);
    cli_write_line(line->str);
}

/* --- push ---------------------------------------------------------------------------------- */

/* What anybody can pull from now on, whatever becomes of the tag. */
static void
print_pushed(const Cli *cli, const VarveBackupMoved *moved)
{
    if (cli->json) {
        json_t *object = json_object();
        add_moved(object, moved);
        json_object_set_new(object, "begun", json_boolean(moved->begun));
        cli_json_print(object);
        return;
    }
    const char *slash = strrchr(moved->name, '/');
    gsize n = (gsize)(slash - moved->name) + strcspn(slash, ":@");
    printf("%.*s@%s\n", (int)n, moved->name, moved->digest);
    if (moved->begun)
        cli_write_line("varve: note: nothing that the tag has could be gone on from: the backup "
                       "begins with a snapshot in full");
}

gboolean
cli_volume_push(const Cli *cli, char **args, GError **error)
{
    g_auto(CliRemote) remote = {0};
    g_auto(VarveBackupMoved) moved = {0};
    if (!cli_remote_read(&remote, error))
        return FALSE;
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    g_autoptr(VarveImages) images = volumes != NULL ? varve_images_open(cli->engine, error) : NULL;
    if (images == NULL)
        return FALSE;
    const VarveBackupPush wish = {option.anew, option.force, remote.remote};
    g_autoptr(CliProgress) progress G_GNUC_UNUSED =
        cli_progress_new(cli, images, cli_remote_options.progress);
    if (!varve_backup_push(volumes, images, args[0], args[1], &wish, &moved, error))
        return FALSE;
    sum_up(cli, "pushed", &moved);
    print_pushed(cli, &moved);
    return TRUE;
}

/* --- pull ---------------------------------------------------------------------------------- */

static gboolean
pull_registry(const Cli *cli, char **args, GError **error)
{
    g_auto(CliRemote) remote = {0};
    g_auto(VarveBackupMoved) moved = {0};
    if (!cli_remote_read(&remote, error))
        return FALSE;
    if (option.no_volume && args[1] != NULL)
        return cli_usage_error(error, "--no-volume makes none that could be called '%s'", args[1]);
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    g_autoptr(VarveImages) images = volumes != NULL ? varve_images_open(cli->engine, error) : NULL;
    if (images == NULL)
        return FALSE;
    const VarveBackupPull wish = {
        .id = args[1],
        .to = option.to,
        .provider = cli->pool_name,
        .snapshots_only = option.no_volume,
        .no_mount = cli_volume_options.no_mount,
        .remote = remote.remote,
    };
    g_autoptr(CliProgress) progress G_GNUC_UNUSED =
        cli_progress_new(cli, images, cli_remote_options.progress);
    g_autoptr(VarveVolumeInfo) info =
        varve_backup_pull(volumes, images, args[0], &wish, &moved, error);
    if (info == NULL)
        return FALSE;
    sum_up(cli, "fetched", &moved);
    if (!cli->json) {
        puts(info->id);
        return TRUE;
    }
    json_t *object = cli_volume_to_json(info);
    add_moved(object, &moved);
    cli_json_print(object);
    return TRUE;
}

/* Where a tag or a digest stands at the end: no volume's id has such characters. */
static gboolean
is_in_registry(const char *name)
{
    const char *slash = strrchr(name, '/');
    return strpbrk(slash != NULL ? slash : name, ":@") != NULL;
}

static gboolean
pull_either(const Cli *cli, char **args, gboolean registry, GError **error)
{
    if (registry && cli_volume_options.snapshot)
        return cli_usage_error(error, "--snapshot is for hosts, HOST/VOLUME");
    if (registry)
        return pull_registry(cli, args, error);
    if (option.to != NULL || option.no_volume || cli_volume_options.no_mount)
        return cli_usage_error(error, "--to, --no-volume and --no-mount are for registries, "
                                      "REGISTRY/REPOSITORY:TAG");
    return cli_volume_pull_host(cli, args, error);
}

gboolean
cli_volume_pull(const Cli *cli, char **args, GError **error)
{
    gboolean registry = is_in_registry(args[0]);
    g_autoptr(GError) failure = NULL;
    if (pull_either(cli, args, registry, &failure))
        return TRUE;
    if (registry && g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
        cli->outcome->hint = "'varve volume backups' lists what there is";
    if (!registry && g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION))
        cli->outcome->hint = "--snapshot takes one there; only snapshots can be pulled";
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

/* --- backups ------------------------------------------------------------------------------- */

static json_t *
snapshot_to_json(const VarveBackupSnapshot *snapshot)
{
    json_t *object = json_object();
    cli_json_set(object, "id", snapshot->id);
    cli_json_set(object, "uuid", snapshot->uuid);
    cli_json_set(object, "base", snapshot->base);
    cli_json_set(object, "of", snapshot->of);
    if (snapshot->created != 0)
        cli_json_set_time(object, "created_at", snapshot->created);
    cli_json_set_int(object, "bytes", snapshot->bytes);
    cli_json_set_int(object, "payload", snapshot->payload);
    cli_json_set(object, "digest", snapshot->digest);
    return object;
}

static json_t *
backup_to_json(const VarveBackup *backup)
{
    json_t *object = json_object(), *snapshots = json_array();
    for (guint i = 0; i < backup->snapshots->len; i++)
        json_array_append_new(snapshots, snapshot_to_json(backup->snapshots->pdata[i]));
    cli_json_set(object, "name", backup->name);
    cli_json_set(object, "digest", backup->digest);
    cli_json_set(object, "volume", backup->volume);
    cli_json_set(object, "type", backup->type);
    cli_json_set_pairs(object, "meta", backup->meta);
    cli_json_set_int(object, "bytes", backup->bytes);
    json_object_set_new(object, "snapshots", snapshots);
    return object;
}

static const VarveBackupSnapshot *
find_snapshot(const VarveBackup *backup, const char *uuid)
{
    for (guint i = 0; uuid != NULL && i < backup->snapshots->len; i++) {
        const VarveBackupSnapshot *snapshot = backup->snapshots->pdata[i];
        if (g_str_equal(snapshot->uuid, uuid))
            return snapshot;
    }
    return NULL;
}

static char *
show_time(const VarveBackupSnapshot *snapshot, gboolean full)
{
    if (snapshot->created == 0)
        return g_strdup("-");
    return full ? cli_format_time(snapshot->created) : cli_format_age(snapshot->created);
}

static void
add_rows(CliTable *table, const VarveBackup *backup)
{
    gboolean full = cli_volume_options.full;
    const char *slash = strrchr(backup->name, '/');
    const char *tag = slash + strcspn(slash, ":@");
    for (guint i = 0; i < backup->snapshots->len; i++) {
        const VarveBackupSnapshot *snapshot = backup->snapshots->pdata[i];
        const VarveBackupSnapshot *base = find_snapshot(backup, snapshot->base);
        cli_table_add(table, cli_display_name(tag + (*tag != '\0'), full),
                      cli_display_name(snapshot->id, full),
                      snapshot->of != NULL ? cli_display_name(snapshot->of, full) : g_strdup("-"),
                      base != NULL ? cli_display_name(base->id, full) : g_strdup("-"),
                      show_time(snapshot, full), cli_format_size(snapshot->bytes));
    }
}

gboolean
cli_volume_backups(const Cli *cli, char **args, GError **error)
{
    g_auto(CliRemote) remote = {0};
    g_autoptr(GPtrArray) backups =
        cli_remote_read(&remote, error) ? varve_backup_list(args[0], &remote.remote, error) : NULL;
    if (backups == NULL)
        return FALSE;
    g_autoptr(CliTable) table = cli_table_new("TAG|SNAPSHOT|OF|SINCE|CREATED|>SIZE");
    gsize count = 0;
    for (guint i = 0; i < backups->len; i++) {
        const VarveBackup *backup = backups->pdata[i];
        if (cli_names_wanted())
            cli_names_print(backup->name);
        else if (cli->json)
            cli_json_list_add(&count, backup_to_json(backup));
        else
            add_rows(table, backup);
    }
    if (cli->json && !cli_names_wanted())
        cli_json_list_end(&count);
    else if (backups->len > 0 && !cli_names_wanted())
        cli_table_print(table);
    return TRUE;
}
