/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/volume.h"

#define option cli_volume_options

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

gboolean
cli_volume_mount(const Cli *cli, char **args, GError **error)
{
    if (!check_all(args, error))
        return FALSE;
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    if (volumes == NULL)
        return FALSE;
    return option.all ? on_all(cli, volumes, varve_volumes_mount_all, "mounted", error)
                      : varve_volumes_mount(volumes, args[0], args[1], error);
}

gboolean
cli_volume_umount(const Cli *cli, char **args, GError **error)
{
    if (!check_all(args, error))
        return FALSE;
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    if (volumes == NULL)
        return FALSE;
    return option.all ? on_all(cli, volumes, varve_volumes_unmount_all, "unmounted", error)
                      : varve_volumes_unmount(volumes, args[0], args[1], error);
}
