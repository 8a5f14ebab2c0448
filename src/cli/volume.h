/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_VOLUME_H
#define VARVE_CLI_VOLUME_H

/* The noun volume: volume.c has its table and the verbs that change something, volume-show.c those
 * that look. */

#include "cli/cli.h"

struct CliVolumeOptions {
    char *type, *of, *size;
    GHashTable *meta;
    gboolean no_mount, freeze, recursive, only, all, full, live, snapshots;
};
extern struct CliVolumeOptions cli_volume_options;

/* Shows one, as inspect does. */
void cli_print_volume(const Cli *cli, const VarveVolumeInfo *info);

gboolean cli_volume_ls(const Cli *cli, char **args, GError **error);
gboolean cli_volume_inspect(const Cli *cli, char **args, GError **error);
gboolean cli_volume_haves(const Cli *cli, char **args, GError **error);

#endif
