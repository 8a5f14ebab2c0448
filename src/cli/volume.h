/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_VOLUME_H
#define VARVE_CLI_VOLUME_H

/* The noun volume: volume.c has its table and the verbs that change something, volume-show.c those
 * that look, volume-mount.c those that mount, volume-stream.c those that send and receive,
 * volume-host.c those that speak to other hosts, volume-backup.c those that speak to registries,
 * volume-set.c those that change what is known. */

#include "cli/cli.h"
#include <jansson.h>

struct CliVolumeOptions {
    char *type, *of, *size, *config;
    int keep;
    GHashTable *meta;
    char **unset;
    gboolean no_mount, freeze, recursive, only, all, full, live, snapshots, snapshot;
};
extern struct CliVolumeOptions cli_volume_options;

#define CLI_CONFIG_OPTION                                                                          \
    {                                                                                              \
        "config", 0, 0, G_OPTION_ARG_FILENAME, &cli_volume_options.config,                         \
            "where hosts are configured (default: /etc/varve/varved.conf)", "FILE"                 \
    }

/* One as JSON, and shown, as inspect does. */
json_t *cli_volume_to_json(const VarveVolumeInfo *info);
void cli_print_volume(const Cli *cli, const VarveVolumeInfo *info);

gboolean cli_volume_ls(const Cli *cli, char **args, GError **error);
gboolean cli_volume_inspect(const Cli *cli, char **args, GError **error);
gboolean cli_volume_set(const Cli *cli, char **args, GError **error);
gboolean cli_volume_release(const Cli *cli, char **args, GError **error);
gboolean cli_volume_haves(const Cli *cli, char **args, GError **error);
gboolean cli_volume_send(const Cli *cli, char **args, GError **error);
gboolean cli_volume_receive(const Cli *cli, char **args, GError **error);

/* --- volume-mount.c ------------------------------------------------------------------------ */

gboolean cli_volume_mount(const Cli *cli, char **args, GError **error);
gboolean cli_volume_umount(const Cli *cli, char **args, GError **error);

/* --- volume-backup.c ----------------------------------------------------------------------- */

extern const GOptionEntry cli_volume_push_options[];
extern const GOptionEntry cli_volume_pull_options[];
extern const GOptionEntry cli_volume_backups_options[];

gboolean cli_volume_push(const Cli *cli, char **args, GError **error);
gboolean cli_volume_pull(const Cli *cli, char **args, GError **error);
gboolean cli_volume_backups(const Cli *cli, char **args, GError **error);

/* --- volume-host.c ------------------------------------------------------------------------- */

gboolean cli_volume_pull_host(const Cli *cli, char **args, GError **error);
gboolean cli_volume_replicate(const Cli *cli, char **args, GError **error);

#endif
