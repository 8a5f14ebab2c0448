/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_SNAPSHOT_H
#define VARVE_CLI_SNAPSHOT_H

/* The snapshot noun's parts: snapshot.c has the table. */

#include "cli/cli.h"

/* The values of its verbs' options. */
extern struct CliSnapshotOptions {
    GHashTable *labels;
    char *mount;
    char *parent;
    char *output, *compression;
    gboolean full;
    gboolean usage;
    gboolean summary;
    gboolean token, forget;
} cli_snapshot_options;

/* --- snapshot-change.c --------------------------------------------------------------------- */

gboolean cli_snapshot_prepare(const Cli *cli, char **args, GError **error);
gboolean cli_snapshot_view(const Cli *cli, char **args, GError **error);
gboolean cli_snapshot_commit(const Cli *cli, char **args, GError **error);
gboolean cli_snapshot_capture(const Cli *cli, char **args, GError **error);
gboolean cli_snapshot_label(const Cli *cli, char **args, GError **error);
gboolean cli_snapshot_rm(const Cli *cli, char **args, GError **error);

/* --- snapshot-mount.c ---------------------------------------------------------------------- */

/* Prints how a snapshot is mounted: the beginning of a mount(8) command line, or JSON. */
void cli_print_mount(const Cli *cli, const VarveMount *mount);

gboolean cli_snapshot_mounts(const Cli *cli, char **args, GError **error);
gboolean cli_snapshot_mount(const Cli *cli, char **args, GError **error);
gboolean cli_snapshot_umount(const Cli *cli, char **args, GError **error);

/* --- snapshot-package.c -------------------------------------------------------------------- */

gboolean cli_snapshot_package(const Cli *cli, char **args, GError **error);

/* --- snapshot-show.c ----------------------------------------------------------------------- */

void cli_print_snapshot(const Cli *cli, const VarveSnapshotInfo *info);

gboolean cli_snapshot_stat(const Cli *cli, char **args, GError **error);
gboolean cli_snapshot_ls(const Cli *cli, char **args, GError **error);
gboolean cli_snapshot_usage(const Cli *cli, char **args, GError **error);

/* --- snapshot-diff.c ---------------------------------------------------------------------- */

gboolean cli_snapshot_diff(const Cli *cli, char **args, GError **error);

/* --- snapshot-stream.c --------------------------------------------------------------------- */

gboolean cli_snapshot_send(const Cli *cli, char **args, GError **error);
gboolean cli_snapshot_receive(const Cli *cli, char **args, GError **error);
gboolean cli_snapshot_haves(const Cli *cli, char **args, GError **error);
gboolean cli_snapshot_transfers(const Cli *cli, char **args, GError **error);

/* --- snapshot-tree.c ----------------------------------------------------------------------- */

gboolean cli_snapshot_tree(const Cli *cli, char **args, GError **error);

#endif
