/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/volume.h"
#include "cli/json.h"
#include "cli/run.h"
#include <stdio.h>

struct CliVolumeOptions cli_volume_options;
#define option cli_volume_options

static gboolean
add_meta(const char *name, const char *value, gpointer data, GError **error)
{
    return cli_add_pair(&option.meta, name, value, error);
}

/* --- making ------------------------------------------------------------------------------------
 */

static gboolean
read_options(const Cli *cli, const char *id, VarveVolumeOptions *made, GError **error)
{
    *made = (VarveVolumeOptions){
        .id = id,
        .provider = cli->pool_name,
        .type = option.type,
        .meta = option.meta,
        .no_mount = option.no_mount,
        .freeze = option.freeze,
    };
    return option.size == NULL || cli_run_parse_size("--size", option.size, &made->size, error);
}

/* What a program needs next is where it is. */
static gboolean
tell_made(const Cli *cli, VarveVolumeInfo *info)
{
    if (info == NULL)
        return FALSE;
    if (cli->json)
        cli_print_volume(cli, info);
    else
        puts(info->id);
    if (info->snapshot && !info->atomic)
        cli_write_line("varve: note: it was copied file by file while it could be written to; "
                       "--freeze makes it read-only meanwhile");
    varve_volume_info_free(info);
    return TRUE;
}

static gboolean
create(const Cli *cli, char **args, GError **error)
{
    VarveVolumeOptions options;
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    return volumes != NULL && read_options(cli, args[0], &options, error) &&
           tell_made(cli, varve_volumes_create(volumes, &options, error));
}

static gboolean
snapshot(const Cli *cli, char **args, GError **error)
{
    VarveVolumeOptions options;
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    return volumes != NULL && read_options(cli, args[1], &options, error) &&
           tell_made(cli, varve_volumes_snapshot(volumes, args[0], &options, error));
}

static gboolean
fork_volume(const Cli *cli, char **args, GError **error)
{
    VarveVolumeOptions options;
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    return volumes != NULL && read_options(cli, args[1], &options, error) &&
           tell_made(cli, varve_volumes_fork(volumes, args[0], &options, error));
}

static gboolean
import(const Cli *cli, char **args, GError **error)
{
    VarveVolumeOptions options;
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    return volumes != NULL && read_options(cli, args[1], &options, error) &&
           tell_made(cli, varve_volumes_import(volumes, args[0], &options, error));
}

/* --- mounting ----------------------------------------------------------------------------------
 */

static gboolean
on_all(const Cli *cli, VarveVolumes *volumes,
       gboolean (*all)(VarveVolumes *volumes, VarveVolumesResult *result, GError **error),
       const char *done, GError **error)
{
    VarveVolumesResult result;
    if (!all(volumes, &result, error))
        return FALSE;
    if (cli->json) {
        json_t *object = json_object();
        cli_json_set_int(object, done, result.done);
        cli_json_set_int(object, "failed", result.failed);
        cli_json_print(object);
    }
    if (result.failed == 0)
        return TRUE;
    g_set_error(error, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE,
                "%" G_GUINT64_FORMAT " volumes were skipped", result.failed);
    return FALSE;
}

static gboolean
check_all(char **args, GError **error)
{
    if (option.all == (args[0] == NULL))
        return TRUE;
    return cli_usage_error(error, option.all ? "--all stands alone" : "name a volume, or --all");
}

static gboolean
mount_volume(const Cli *cli, char **args, GError **error)
{
    if (!check_all(args, error))
        return FALSE;
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    if (volumes == NULL)
        return FALSE;
    return option.all ? on_all(cli, volumes, varve_volumes_mount_all, "mounted", error)
                      : varve_volumes_mount(volumes, args[0], args[1], error);
}

static gboolean
umount_volume(const Cli *cli, char **args, GError **error)
{
    if (!check_all(args, error))
        return FALSE;
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    if (volumes == NULL)
        return FALSE;
    return option.all ? on_all(cli, volumes, varve_volumes_unmount_all, "unmounted", error)
                      : varve_volumes_unmount(volumes, args[0], args[1], error);
}

/* --- removing ----------------------------------------------------------------------------------
 */

static gboolean
remove_one(const char *id, gpointer volumes, GError **error)
{
    VarveVolumesOthers others = option.recursive ? VARVE_VOLUMES_RECURSIVE
                                : option.only    ? VARVE_VOLUMES_ONLY
                                                 : VARVE_VOLUMES_REFUSE;
    return varve_volumes_destroy(volumes, id, others, error);
}

static gboolean
rm(const Cli *cli, char **args, GError **error)
{
    if (option.only && option.recursive)
        return cli_usage_error(error, "--only and --recursive are opposites");
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    return volumes != NULL && cli_for_each(cli, args, remove_one, volumes, error);
}

/* --- the table ---------------------------------------------------------------------------------
 */

#define META                                                                                       \
    {                                                                                              \
        "meta", 'm', G_OPTION_FLAG_FILENAME, G_OPTION_ARG_CALLBACK, (gpointer)add_meta,            \
            "a pair that is kept with it; may be repeated", "KEY=VALUE"                            \
    }
#define TYPE                                                                                       \
    {                                                                                              \
        "type", 't', 0, G_OPTION_ARG_FILENAME, &option.type, "what kind of volume it is", "TYPE"   \
    }
#define SIZE                                                                                       \
    {                                                                                              \
        "size", 0, 0, G_OPTION_ARG_FILENAME, &option.size, "at most so many bytes: 512m, 2g",      \
            "SIZE"                                                                                 \
    }
#define NO_MOUNT                                                                                   \
    {                                                                                              \
        "no-mount", 0, 0, G_OPTION_ARG_NONE, &option.no_mount,                                     \
            "do not mount it, now or when the host starts", NULL                                   \
    }
#define ALL                                                                                        \
    {                                                                                              \
        "all", 'a', 0, G_OPTION_ARG_NONE, &option.all, "all volumes, at their own places", NULL    \
    }

static const GOptionEntry make_options[] = {META, TYPE, SIZE, NO_MOUNT, {NULL}};
static const GOptionEntry import_options[] = {META, TYPE, NO_MOUNT, {NULL}};
static const GOptionEntry snapshot_options[] = {
    META,
    NO_MOUNT,
    {"freeze", 0, 0, G_OPTION_ARG_NONE, &option.freeze,
     "on native: let nobody write while it is copied", NULL},
    {NULL},
};
static const GOptionEntry ls_options[] = {
    {"meta", 'm', G_OPTION_FLAG_FILENAME, G_OPTION_ARG_CALLBACK, (gpointer)add_meta,
     "those that have this pair; may be repeated", "KEY=VALUE"},
    {"type", 't', 0, G_OPTION_ARG_FILENAME, &option.type, "those of this type", "TYPE"},
    {"of", 0, 0, G_OPTION_ARG_FILENAME, &option.of, "snapshots of this volume", "ID"},
    {"volumes", 0, 0, G_OPTION_ARG_NONE, &option.live, "volumes only", NULL},
    {"snapshots", 0, 0, G_OPTION_ARG_NONE, &option.snapshots, "snapshots only", NULL},
    {"full", 0, 0, G_OPTION_ARG_NONE, &option.full, "print whole ids, and times instead of ages",
     NULL},
    {NULL},
};
static const GOptionEntry all_options[] = {ALL, {NULL}};
static const GOptionEntry rm_options[] = {
    {"recursive", 'r', 0, G_OPTION_ARG_NONE, &option.recursive,
     "remove what stands on it first, volumes too", NULL},
    {"only", 0, 0, G_OPTION_ARG_NONE, &option.only,
     "on btrfs and native: let what stands on it go on without it", NULL},
    {NULL},
};

#define SEE_LS "'varve volume ls' lists the volumes"

static const CliVerb verbs[] = {
    {
        .name = "create",
        .synopsis = "[ID] [OPTION]...",
        .summary = "Make an empty volume, mount it and print its id",
        .about = "In the pool that --pool names; a pool is a volume's provider. It is mounted at\n"
                 "ROOT/volumes/ID. Where no id is given it is a fresh UUID.",
        .example = "varve volume create db --meta app=shop --size 20g\n",
        .max_args = 1,
        .options = make_options,
        .needs = CLI_NEEDS_ENGINE,
        .hint = {[VARVE_ERROR_NOT_FOUND] = "'varve pool ls' lists the pools"},
        .run = create,
    },
    {
        .name = "ls",
        .synopsis = "[OPTION]... [-q [-0]]",
        .summary = "List volumes and their snapshots",
        .about = "Of all pools, or of the one that --pool names.",
        .example = "varve volume ls --of db\n",
        .options = ls_options,
        .lists_names = TRUE,
        .needs = CLI_NEEDS_ENGINE,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_NOT_FOUND] = "'varve pool ls' lists the pools"},
        .run = cli_volume_ls,
    },
    {
        .name = "inspect",
        .synopsis = "ID",
        .summary = "Show all that is known of a volume or snapshot",
        .example = "varve volume inspect db\n",
        .min_args = 1,
        .max_args = 1,
        .needs = CLI_NEEDS_ENGINE,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = cli_volume_inspect,
    },
    {
        .name = "snapshot",
        .synopsis = "ID [NEW-ID] [OPTION]...",
        .summary = "Keep a volume's state of this moment, and print the snapshot's id",
        .about =
            "The volume goes on; the snapshot is read-only, mounted like a volume. On btrfs and\n"
            "zfs it is the state of one moment. On native it is copied file by file while\n"
            "others may write; --freeze lets nobody, who gets an error meanwhile. On overlay\n"
            "the volume must not be in use: it is unmounted and mounted again.",
        .example = "varve volume snapshot db db-monday\n",
        .min_args = 1,
        .max_args = 2,
        .options = snapshot_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = snapshot,
    },
    {
        .name = "fork",
        .synopsis = "SNAPSHOT [NEW-ID] [OPTION]...",
        .summary = "Make a volume that begins as a snapshot, and print its id",
        .example = "varve volume fork db-monday db-test\n",
        .min_args = 1,
        .max_args = 2,
        .options = make_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = fork_volume,
    },
    {
        .name = "import",
        .synopsis = "FILE [NEW-ID] [OPTION]...",
        .summary = "Make a snapshot of what an image of ext4, squashfs or erofs holds",
        .about =
            "The kernel mounts the file, read-only, while its content is copied: it parses what\n"
            "is in it, which it was not made to do with images that somebody crafted. Import\n"
            "only what you would mount. The journal of ext4 is not replayed.",
        .example = "varve volume import tools.squashfs tools\n",
        .min_args = 1,
        .max_args = 2,
        .options = import_options,
        .needs = CLI_NEEDS_ENGINE,
        .run = import,
    },
    {
        .name = "haves",
        .synopsis = "ID [-q [-0]]",
        .summary = "List the snapshots that a volume stands on, the newest first",
        .about =
            "By the ids that they have on every host: whoever sends it another snapshot needs to\n"
            "send only what differs from one of these.",
        .example = "varve volume haves db\n",
        .min_args = 1,
        .max_args = 1,
        .lists_names = TRUE,
        .needs = CLI_NEEDS_ENGINE,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = cli_volume_haves,
    },
    {
        .name = "mount",
        .synopsis = "ID [DIR] | --all",
        .summary = "Mount a volume or snapshot at its place, and on a directory",
        .about =
            "Its place is ROOT/volumes/ID. With --all: all that are to be mounted, which varved\n"
            "does when it starts; what is left of volumes that are gone is cleared away.",
        .example = "varve volume mount db /srv/db\n",
        .max_args = 2,
        .options = all_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = mount_volume,
    },
    {
        .name = "umount",
        .synopsis = "ID [DIR] | --all",
        .summary = "Unmount a volume or snapshot from its place, or from a directory",
        .example = "varve volume umount db /srv/db\n",
        .max_args = 2,
        .options = all_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = umount_volume,
    },
    {
        .name = "rm",
        .synopsis = "ID... [--recursive | --only]",
        .summary = "Unmount and remove volumes and snapshots, with what they hold",
        .about =
            "What others stand on is refused: a volume stands on its last snapshot, a fork on\n"
            "what it was forked from. --recursive removes those as well; --only keeps them, with\n"
            "all that they hold, on btrfs and native.",
        .example = "varve volume rm db-test\n",
        .min_args = 1,
        .max_args = CLI_ANY_ARGS,
        .options = rm_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS,
                 [VARVE_ERROR_FAILED_PRECONDITION] =
                     "--recursive removes all of them, volumes too; --only keeps "
                     "them, on btrfs and native"},
        .run = rm,
    },
    {NULL},
};

const CliNoun cli_volume_noun = {
    .name = "volume",
    .summary = "Volumes: data that outlives what works on it",
    .about =
        "A volume is a directory, ROOT/volumes/ID, that belongs to a pool, its provider. A\n"
        "snapshot of it is read-only, and has an id of its own. ID is a letter or digit, then\n"
        "those and any of _.-, at most 128; no two volumes of all pools have the same.",
    .verbs = verbs,
};
