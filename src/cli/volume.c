/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/volume.h"
#include "cli/json.h"
#include "cli/run.h"
#include "cli/transfer.h"
#include <stdio.h>

struct CliVolumeOptions cli_volume_options = {.keep = 7};
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
static const GOptionEntry set_options[] = {
    META,
    {"unset", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &option.unset,
     "the key of a pair that goes; may be repeated", "KEY"},
    {NULL},
};
static const GOptionEntry all_options[] = {ALL, {NULL}};
static const GOptionEntry rm_options[] = {
    {"recursive", 'r', 0, G_OPTION_ARG_NONE, &option.recursive,
     "remove what stands on it first, volumes too", NULL},
    {"only", 0, 0, G_OPTION_ARG_NONE, &option.only,
     "except on overlay: let what stands on it go on without it", NULL},
    {NULL},
};

static const GOptionEntry receive_options[] = {CLI_KEEP_OPTION, {NULL}};

static const GOptionEntry replicate_options[] = {
    {"keep", 'k', 0, G_OPTION_ARG_INT, &option.keep,
     "leave so many of its snapshots on each side (default: 7)", "N"},
    CLI_CONFIG_OPTION,
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
        .name = "set",
        .synopsis = "ID [--meta KEY=VALUE]... [--unset KEY]...",
        .summary = "Change the meta of a volume or snapshot",
        .about = "The pairs that are not named stay.",
        .example = "varve volume set db --meta app=shop --unset owner\n",
        .min_args = 1,
        .max_args = 1,
        .options = set_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = cli_volume_set,
    },
    {
        .name = "release",
        .synopsis = "ID [HOLDER]",
        .summary = "Say that a container engine does not use a volume any more",
        .about =
            "podman and docker say so themselves when a container ends. Where one was killed, or\n"
            "cannot be asked any more, the volume stays in use until the host starts anew, or\n"
            "until this. 'varve volume inspect' lists the holders; without HOLDER it is all.",
        .example = "varve volume release db\n",
        .min_args = 1,
        .max_args = 2,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = cli_volume_release,
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
        .name = "send",
        .synopsis = "SNAPSHOT [--base BASE]... [OPTION]... | SNAPSHOT --resume TOKEN",
        .summary = "Write a snapshot to standard output, for a volume elsewhere",
        .about = "In full, or the difference to the newest BASE that it stands on.",
        .example = "varve volume send db-1 | ssh host varve volume receive db\n"
                   "ssh host varve volume haves -q db | varve volume send db-2 --haves-from - |\n"
                   "    ssh host varve volume receive db\n",
        .min_args = 1,
        .max_args = 1,
        .options = cli_send_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS,
                 [VARVE_ERROR_FAILED_PRECONDITION] = "'varve volume snapshot' makes what can be "
                                                     "sent"},
        .run = cli_volume_send,
    },
    {
        .name = "receive",
        .synopsis = "ID [NEW-ID] [--keep]",
        .summary = "Have a volume hold what a stream on standard input does",
        .about =
            "Makes a snapshot of the stream, and prints its id: NEW-ID, or the one that it has\n"
            "where it comes from. The volume begins as that; what it held since its last snapshot\n"
            "is gone. It is made if there is none, and may not be in use. A stream that is not\n"
            "whole and unchanged is refused, and changes nothing.",
        .example = "varve volume receive db < db-1.stream\n",
        .min_args = 1,
        .max_args = 2,
        .options = receive_options,
        .needs = CLI_NEEDS_ENGINE,
        .hint = {[VARVE_ERROR_ALREADY_EXISTS] = SEE_LS},
        .run = cli_volume_receive,
    },
    {
        .name = "pull",
        .synopsis = "HOST/VOLUME | REGISTRY/REPOSITORY:TAG|@DIGEST [ID] [OPTION]...",
        .summary = "Fetch a volume from another host, or from a registry",
        .about =
            "From a host: its newest snapshot, into the volume ID, which is made if it is not\n"
            "there, or else holds what the snapshot held from then on; without ID into one that\n"
            "is called as it is there. VOLUME may also be a snapshot. HOST is a section\n"
            "[host HOST] of varved.conf(5). Prints the snapshot's id.\n"
            "\n"
            "From a registry, what was pushed there: a new volume ID, which begins as the newest\n"
            "snapshot, or as the one that --to names. Prints the volume's id.\n"
            "\n"
            "What is here is not sent. It comes into the pool that --pool names, of whatever\n"
            "driver. A transfer that breaks off is taken up again; after one that was given up\n"
            "or killed the next pull goes on.",
        .example = "varve volume pull backup/db\n"
                   "varve volume pull registry.example:5000/backup/db:latest db-old --to "
                   "db-monday\n",
        .min_args = 1,
        .max_args = 2,
        .options = cli_volume_pull_options,
        .needs = CLI_NEEDS_ENGINE,
        .run = cli_volume_pull,
    },
    {
        .name = "replicate",
        .synopsis = "VOLUME HOST [--keep N] [OPTION]...",
        .summary = "Keep a volume of another host like one here",
        .about =
            "Takes a snapshot, sends what the host does not have of it into its volume of the\n"
            "same id, and removes the oldest of the snapshots that it took before, on both sides:\n"
            "where their driver can, which is not on overlay. Other snapshots are left\n"
            "alone. For a timer: only one runs at a time (exit status 11 tells that another one\n"
            "does), and what one did not finish the next one does.",
        .example = "varve volume replicate db backup --keep 24\n",
        .min_args = 2,
        .max_args = 2,
        .options = replicate_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .run = cli_volume_replicate,
    },
    {
        .name = "push",
        .synopsis = "[VOLUME@]SNAPSHOT REGISTRY/REPOSITORY:TAG [OPTION]...",
        .summary = "Put a snapshot, and those that it stands on, into a registry",
        .about =
            "Any registry of images is a place for backups. What the tag has is not sent again:\n"
            "only snapshots that are new to it are, each as the difference to one before it. A\n"
            "snapshot counts as soon as it is there, so a push that was interrupted goes on when\n"
            "it is repeated. With --full the tag begins anew, with this snapshot alone.",
        .example = "varve volume push db@db-monday registry.example:5000/backup/db:latest\n",
        .min_args = 2,
        .max_args = 2,
        .options = cli_volume_push_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_FAILED_PRECONDITION] =
                     "another tag has room for it; --force takes this one"},
        .run = cli_volume_push,
    },
    {
        .name = "backups",
        .synopsis = "REGISTRY/REPOSITORY[:TAG|@DIGEST] [OPTION]... [-q [-0]]",
        .summary = "List the snapshots that a registry has",
        .about = "Of one tag, or of all in the repository.",
        .example = "varve volume backups registry.example:5000/backup/db\n",
        .min_args = 1,
        .max_args = 1,
        .options = cli_volume_backups_options,
        .lists_names = TRUE,
        .needs = CLI_NEEDS_NOTHING,
        .run = cli_volume_backups,
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
        .run = cli_volume_mount,
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
        .run = cli_volume_umount,
    },
    {
        .name = "rm",
        .synopsis = "ID... [--recursive | --only]",
        .summary = "Unmount and remove volumes and snapshots, with what they hold",
        .about =
            "What others stand on is refused: a volume stands on its last snapshot, a fork on\n"
            "what it was forked from. --recursive removes those as well; --only keeps them, with\n"
            "all that they hold, on all drivers but overlay.",
        .example = "varve volume rm db-test\n",
        .min_args = 1,
        .max_args = CLI_ANY_ARGS,
        .options = rm_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS,
                 [VARVE_ERROR_FAILED_PRECONDITION] =
                     "--recursive removes all of them, volumes too; --only keeps "
                     "them, except on overlay"},
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
