/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/transfer.h"
#include "cli/volume.h"
#include <stdio.h>

/* --- sending ---------------------------------------------------------------------------------- */

/* Of a snapshot of a volume, or of what else a receiver may have. */
static char *
find_base(const Cli *cli, VarvePool *pool, const char *base, GError **error)
{
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    g_autoptr(VarveVolumeInfo) info =
        volumes != NULL ? varve_volumes_inspect(volumes, base, error) : NULL;
    return info != NULL ? varve_snapshot_uuid(pool, info->key, error) : NULL;
}

gboolean
cli_volume_send(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    g_autoptr(VarveVolumeInfo) info =
        volumes != NULL ? varve_volumes_inspect(volumes, args[0], error) : NULL;
    VarvePool *pool =
        info != NULL ? varve_engine_get_pool(cli->engine, info->provider, error) : NULL;
    return pool != NULL && cli_transfer_send(cli, pool, info->key, find_base, error);
}

/* --- receiving -------------------------------------------------------------------------------- */

typedef struct {
    VarveVolumes *volumes;
    const char *id;
    VarveVolumeInfo *snapshot;
} Receiving;

static gboolean
receive(VarveSource source, const VarveReceiveOptions *options, VarveTransfer *transfer,
        gpointer data, GError **error)
{
    Receiving *r = data;
    r->snapshot = varve_volumes_receive(r->volumes, r->id, source, options, transfer, error);
    return r->snapshot != NULL;
}

gboolean
cli_volume_receive(const Cli *cli, char **args, GError **error)
{
    VarveReceiveOptions options = {.name = args[1], .provider = cli->pool_name};
    g_auto(VarveTransfer) transfer = {0};
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    Receiving r = {.volumes = volumes, .id = args[0]};
    if (volumes == NULL || !cli_transfer_receive(cli, &options, receive, &r, &transfer, error))
        return FALSE;
    if (cli->json)
        cli_print_volume(cli, r.snapshot);
    else
        puts(r.snapshot->id);
    varve_volume_info_free(r.snapshot);
    return TRUE;
}
