/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/volume.h"

/* What is known of volumes, changed. */

gboolean
cli_volume_set(const Cli *cli, char **args, GError **error)
{
    static const char *const none[] = {NULL};
    const struct CliVolumeOptions *o = &cli_volume_options;
    if (o->meta == NULL && o->unset == NULL)
        return cli_usage_error(error, "tell what to change: --meta KEY=VALUE, --unset KEY");
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    g_autoptr(VarveVolumeInfo) info =
        volumes != NULL
            ? varve_volumes_set_meta(volumes, args[0], o->meta,
                                     o->unset != NULL ? (const char *const *)o->unset : none, error)
            : NULL;
    if (info != NULL && cli->json)
        cli_print_volume(cli, info);
    return info != NULL;
}

gboolean
cli_volume_release(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    return volumes != NULL && varve_volumes_release(volumes, args[0], args[1], error);
}
