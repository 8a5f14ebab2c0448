/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/snapshot.h"
#include "cli/transfer.h"

struct CliSnapshotOptions cli_snapshot_options;
#define option cli_snapshot_options

static gboolean
add_label(const char *name, const char *value, gpointer data, GError **error)
{
    return cli_add_pair(&option.labels, name, value, error);
}

static const GOptionEntry make_options[] = {
    {"label", 'l', G_OPTION_FLAG_FILENAME, G_OPTION_ARG_CALLBACK, (gpointer)add_label,
     "a label; may be repeated", "KEY=VALUE"},
    {"mount", 'm', 0, G_OPTION_ARG_FILENAME, &option.mount, "mount it there, on a directory",
     "DIR"},
    {NULL},
};

static const GOptionEntry commit_options[] = {
    {"label", 'l', G_OPTION_FLAG_FILENAME, G_OPTION_ARG_CALLBACK, (gpointer)add_label,
     "a label; may be repeated", "KEY=VALUE"},
    {"parent", 'p', 0, G_OPTION_ARG_FILENAME, &option.parent,
     "rebase what was prepared on nothing onto this", "PARENT"},
    {NULL},
};

static const GOptionEntry capture_options[] = {
    {"label", 'l', G_OPTION_FLAG_FILENAME, G_OPTION_ARG_CALLBACK, (gpointer)add_label,
     "a label; may be repeated", "KEY=VALUE"},
    {NULL},
};

static const GOptionEntry show_options[] = {
    {"full", 0, 0, G_OPTION_ARG_NONE, &option.full, "print whole names, and times instead of ages",
     NULL},
    {NULL},
};

static const GOptionEntry tree_options[] = {
    {"full", 0, 0, G_OPTION_ARG_NONE, &option.full, "print whole names, and times instead of ages",
     NULL},
    {"usage", 'u', 0, G_OPTION_ARG_NONE, &option.usage,
     "also print what each takes of its own, which may have to be counted", NULL},
    {NULL},
};

static const GOptionEntry diff_options[] = {
    {"summary", 's', 0, G_OPTION_ARG_NONE, &option.summary,
     "print only how many there are of each kind", NULL},
    {NULL},
};

#define SEE_TREE   "'varve snapshot tree' shows what stands on what"
#define SEE_LS     "'varve snapshot ls' lists what there is"
#define SEE_ACTIVE "'varve snapshot ls kind==active' lists what can be committed"
#define SEE_HAVES  "'varve snapshot haves' lists what it can be the difference to"
#define MAKE_VIEW  "'varve snapshot view KEY NAME' makes a view of it, which can be mounted"

static const GOptionEntry package_options[] = {
    {"output", 'o', 0, G_OPTION_ARG_FILENAME, &cli_snapshot_options.output,
     "where to; - is standard output", "PATH"},
    {"compression", 0, 0, G_OPTION_ARG_FILENAME, &cli_snapshot_options.compression,
     "gzip, the default, zstd or none", "KIND"},
    {NULL},
};

static const GOptionEntry receive_options[] = {
    {"label", 'l', G_OPTION_FLAG_FILENAME, G_OPTION_ARG_CALLBACK, (gpointer)add_label,
     "a label; may be repeated", "KEY=VALUE"},
    CLI_KEEP_OPTION,
    {NULL},
};

static const GOptionEntry transfers_options[] = {
    {"token", 0, 0, G_OPTION_ARG_NONE, &option.token,
     "print what a sender needs to go on: send NAME --resume TOKEN", NULL},
    {"forget", 0, 0, G_OPTION_ARG_NONE, &option.forget, "forget them", NULL},
    {NULL},
};

static const CliVerb verbs[] = {
    {
        .name = "prepare",
        .synopsis = "KEY [PARENT] [--label KEY=VALUE]... [--mount DIR]",
        .summary = "Make a writable snapshot, empty or on a committed one",
        .about =
            "Prints the mount(8) command that presents it, less the directory to mount it on;\n"
            "--mount mounts it at once. If it cannot be mounted it is not made.",
        .example = "varve snapshot prepare fill-1 --mount /mnt\n"
                   "varve snapshot prepare web base --label owner=ada\n"
                   "$(varve snapshot prepare job base) /mnt\n",
        .min_args = 1,
        .max_args = 2,
        .options = make_options,
        .needs = CLI_NEEDS_POOL,
        .run = cli_snapshot_prepare,
    },
    {
        .name = "view",
        .synopsis = "KEY PARENT [--label KEY=VALUE]... [--mount DIR]",
        .summary = "Make a read-only snapshot of a committed one",
        .about =
            "Prints the mount(8) command that presents it, less the directory to mount it on;\n"
            "--mount mounts it at once. A view can never be committed.",
        .example = "varve snapshot view look base --mount /mnt\n",
        .min_args = 2,
        .max_args = 2,
        .options = make_options,
        .needs = CLI_NEEDS_POOL,
        .run = cli_snapshot_view,
    },
    {
        .name = "commit",
        .synopsis = "NAME KEY [--parent PARENT] [--label KEY=VALUE]...",
        .summary = "Turn the active snapshot KEY into the committed snapshot NAME",
        .about =
            "From then on it is immutable and can be a parent, and KEY is free again. When the\n"
            "command ends, the content is on disk (unless the pool has durability=relaxed). It\n"
            "has the labels given here and no others. When it fails, KEY stays as it was.",
        .example = "varve snapshot commit base fill-1\n"
                   "varve snapshot commit layer-2 fill-2 --parent base --label origin=debian\n",
        .min_args = 2,
        .max_args = 2,
        .options = commit_options,
        .needs = CLI_NEEDS_POOL,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint =
            {[VARVE_ERROR_NOT_FOUND] = SEE_ACTIVE, [VARVE_ERROR_FAILED_PRECONDITION] = SEE_ACTIVE},
        .run = cli_snapshot_commit,
    },
    {
        .name = "capture",
        .synopsis = "NAME KEY [--label KEY=VALUE]...",
        .summary = "Commit the state that KEY has now as NAME, and let KEY go on",
        .about =
            "KEY stays active and mounted, and stands on NAME from then on. On btrfs and zfs NAME\n"
            "is one instant of it; on native it is copied file by file, so stop what writes to it\n"
            "first. Overlay cannot.",
        .example = "varve snapshot capture web-monday web --label reason=backup\n",
        .min_args = 2,
        .max_args = 2,
        .options = capture_options,
        .needs = CLI_NEEDS_POOL,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint =
            {[VARVE_ERROR_NOT_FOUND] = SEE_ACTIVE, [VARVE_ERROR_FAILED_PRECONDITION] = SEE_ACTIVE},
        .run = cli_snapshot_capture,
    },
    {
        .name = "mounts",
        .synopsis = "KEY",
        .summary = "Print how an active snapshot or a view is mounted",
        .about =
            "As a mount(8) command line, to which the directory is to be added, or with --json\n"
            "as an array of objects with type, source and options.",
        .example = "$(varve snapshot mounts web) /mnt\n",
        .min_args = 1,
        .max_args = 1,
        .needs = CLI_NEEDS_POOL,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS, [VARVE_ERROR_FAILED_PRECONDITION] = MAKE_VIEW},
        .run = cli_snapshot_mounts,
    },
    {
        .name = "mount",
        .synopsis = "KEY DIR",
        .summary = "Mount an active snapshot or a view on a directory",
        .about = "It stays mounted until 'varve snapshot umount DIR' or umount(8).",
        .example = "varve snapshot mount web /mnt\n",
        .min_args = 2,
        .max_args = 2,
        .needs = CLI_NEEDS_POOL,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_FAILED_PRECONDITION] = MAKE_VIEW},
        .run = cli_snapshot_mount,
    },
    {
        .name = "umount",
        .synopsis = "DIR",
        .summary = "Unmount what is mounted on a directory",
        .example = "varve snapshot umount /mnt\n",
        .min_args = 1,
        .max_args = 1,
        .needs = CLI_NEEDS_NOTHING,
        .hint = {[VARVE_ERROR_BUSY] = "'fuser -vm DIR' shows who uses it"},
        .run = cli_snapshot_umount,
    },
    {
        .name = "stat",
        .synopsis = "KEY",
        .summary = "Show one snapshot with its labels",
        .example = "varve snapshot stat web\n",
        .min_args = 1,
        .max_args = 1,
        .needs = CLI_NEEDS_POOL,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = cli_snapshot_stat,
    },
    {
        .name = "ls",
        .synopsis = "[FILTER]... [--full] [-q [-0]]",
        .summary = "List snapshots, all or those that match a filter",
        .about =
            "A filter compares name, parent, kind or labels.\"KEY\" with ==, != or ~= (a regular\n"
            "expression), or names a label that must be there; conditions joined by a comma must\n"
            "all hold. Several filters list what matches any of them.",
        .example = "varve snapshot ls kind==active,parent==base\n"
                   "varve snapshot ls 'labels.\"owner\"==ada' 'name~=^web'\n"
                   "varve snapshot ls -0 kind==view | xargs -0r varve snapshot rm --\n",
        .max_args = CLI_ANY_ARGS,
        .options = show_options,
        .lists_names = TRUE,
        .needs = CLI_NEEDS_POOL,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_INVALID_ARGUMENT] = "'varve snapshot ls --help' shows some filters"},
        .run = cli_snapshot_ls,
    },
    {
        .name = "tree",
        .synopsis = "[--full] [--usage]",
        .summary = "Draw which snapshot stands on which",
        .about =
            "A rail is a lineage: each snapshot on it stands on the one above it on the same\n"
            "rail, and so does what branches off below that one. A filled circle is a committed\n"
            "snapshot, an open one an active one, a diamond a view.",
        .example = "varve snapshot tree --usage\n",
        .options = tree_options,
        .needs = CLI_NEEDS_POOL,
        .flags = CLI_LOOK,
        .run = cli_snapshot_tree,
    },
    {
        .name = "diff",
        .synopsis = "KEY [--summary] [-q [-0]]",
        .summary = "Show which paths differ between a snapshot and its parent",
        .about =
            "One line for each: A added, M modified, D deleted (a directory with all in it),\n"
            "T replaced by another type, R renamed. The column beside an M or R says in what it\n"
            "differs: c content, m mode, o owner, x extended attributes, t modification time.",
        .example = "varve snapshot diff web\n"
                   "varve snapshot diff web --summary\n",
        .min_args = 1,
        .max_args = 1,
        .options = diff_options,
        .lists_names = TRUE,
        .needs = CLI_NEEDS_POOL,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = cli_snapshot_diff,
    },
    {
        .name = "package",
        .synopsis = "KEY --output PATH [--compression KIND]",
        .summary = "Write a snapshot's changes as an image's layer",
        .about =
            "The same changes give the same bytes. PATH must not exist yet. Prints the DiffID.",
        .example = "varve snapshot package web --output web.tar.gz\n",
        .min_args = 1,
        .max_args = 1,
        .options = package_options,
        .needs = CLI_NEEDS_POOL,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = cli_snapshot_package,
    },
    {
        .name = "send",
        .synopsis = "NAME [--base BASE]... [OPTION]... | NAME --resume TOKEN",
        .summary = "Write a committed snapshot to standard output, for another pool",
        .about =
            "In full, or the difference to the newest BASE that it stands on. Every driver takes\n"
            "a portable stream. What is cut off or damaged on the way is refused when received.",
        .example = "varve snapshot send monday > monday.stream\n"
                   "varve snapshot send tuesday --base monday | ssh host varve snapshot receive\n",
        .min_args = 1,
        .max_args = 1,
        .options = cli_send_options,
        .needs = CLI_NEEDS_POOL,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = cli_snapshot_send,
    },
    {
        .name = "receive",
        .synopsis = "[NAME] [--label KEY=VALUE]... [--keep]",
        .summary = "Make a committed snapshot of a stream on standard input",
        .about =
            "Under the name that it has where it comes from, or under NAME; with the labels that\n"
            "it has there, and those given here. Prints its universal id. A stream that is not\n"
            "whole and unchanged is refused, and changes nothing.",
        .example = "varve snapshot receive < monday.stream\n",
        .max_args = 1,
        .options = receive_options,
        .needs = CLI_NEEDS_POOL,
        .hint =
            {[VARVE_ERROR_FAILED_PRECONDITION] = SEE_HAVES, [VARVE_ERROR_ALREADY_EXISTS] = SEE_LS},
        .run = cli_snapshot_receive,
    },
    {
        .name = "haves",
        .synopsis = "[KEY]",
        .summary = "List the universal ids of snapshots that were sent or received",
        .about =
            "The newest first; of those that KEY stands on, or of all. A sender takes them as\n"
            "--base. With --json also the driver's own format of streams.",
        .example = "varve snapshot haves\n",
        .max_args = 1,
        .needs = CLI_NEEDS_POOL,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = cli_snapshot_haves,
    },
    {
        .name = "transfers",
        .synopsis = "[-q [-0]] | --token UUID | --forget UUID...",
        .summary = "List what is kept of transfers that broke off",
        .about = "By the universal ids of what was received with --keep. What nobody went on with\n"
                 "for seven days is forgotten.",
        .example = "varve snapshot transfers\n"
                   "token=$(ssh host varve snapshot transfers --token UUID)\n"
                   "varve snapshot send monday --resume \"$token\" |\n"
                   "    ssh host varve snapshot receive --keep\n",
        .max_args = CLI_ANY_ARGS,
        .options = transfers_options,
        .lists_names = TRUE,
        .needs = CLI_NEEDS_POOL,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_NOT_FOUND] = "'varve snapshot transfers' lists what is kept"},
        .run = cli_snapshot_transfers,
    },
    {
        .name = "usage",
        .synopsis = "[KEY]... [--full]",
        .summary = "Show the bytes and inodes that snapshots take, without their parents",
        .about =
            "Of all snapshots when none is named. A committed one's files are counted once, and\n"
            "the result kept; an active one's every time.",
        .example = "varve snapshot usage web\n",
        .max_args = CLI_ANY_ARGS,
        .options = show_options,
        .needs = CLI_NEEDS_POOL,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = cli_snapshot_usage,
    },
    {
        .name = "label",
        .synopsis = "KEY LABEL=VALUE... LABEL-...",
        .summary = "Set labels (LABEL=VALUE) and remove some (LABEL-)",
        .about = "All changes are made at once or none is, and the result is shown.",
        .example = "varve snapshot label web owner=ada draft-\n",
        .min_args = 2,
        .max_args = CLI_ANY_ARGS,
        .needs = CLI_NEEDS_POOL,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = cli_snapshot_label,
    },
    {
        .name = "rm",
        .synopsis = "KEY...",
        .summary = "Remove snapshots on which nothing stands",
        .about =
            "Children before their parents. The key is free at once; the command ends when the\n"
            "files are removed as well.",
        .example = "varve snapshot rm web\n",
        .min_args = 1,
        .max_args = CLI_ANY_ARGS,
        .needs = CLI_NEEDS_POOL,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS, [VARVE_ERROR_FAILED_PRECONDITION] = SEE_TREE},
        .run = cli_snapshot_rm,
    },
    {NULL},
};

const CliNoun cli_snapshot_noun = {
    .name = "snapshot",
    .summary = "Snapshots: file system states with at most one parent",
    .about =
        "An active snapshot (prepare) is writable. A committed one (commit) is immutable, and\n"
        "the only kind that can be a parent. A view (view) is read-only and never committed.\n"
        "KEY names an active one or a view, NAME and PARENT a committed one; both are any bytes\n"
        "but NUL, at most 4096 of them.",
    .verbs = verbs,
};
