/* SPDX-License-Identifier: Apache-2.0 */
#include "backup/internal.h"

gboolean
varve_backup_site_open(VarveBackupSite *site, const char *name, const VarveImageRemote *remote,
                       GError **error)
{
    static const VarveImageRemote defaults;
    site->name = varve_reference_parse(name, FALSE, error);
    if (site->name == NULL)
        return FALSE;
    site->watch.cancelled = site->volumes != NULL ? &site->volumes->engine->cancelled : NULL;
    return varve_remote_open(&site->remote, site->name, remote != NULL ? remote : &defaults, error);
}

void
varve_backup_site_clear(VarveBackupSite *site)
{
    varve_remote_clear(&site->remote);
    g_clear_pointer(&site->name, varve_reference_free);
}

VarveArtifact *
varve_backup_site_fetch(VarveBackupSite *site, const VarveReference *name, char **digest,
                        GError **error)
{
    VarveRegistryDescriptor found = {0};
    const VarveRemote *remote = &site->remote;
    g_autofree char *text = varve_reference_format(name);
    *digest = NULL;
    g_autoptr(GBytes) bytes =
        remote->client->fetch_manifest(remote->registry, name, &found, &site->watch, error);
    if (bytes == NULL)
        return NULL;
    *digest = found.digest;
    g_free(found.media_type);
    gsize size;
    const char *json = g_bytes_get_data(bytes, &size);
    VarveArtifact *artifact = varve_artifact_parse(json, size, error);
    if (artifact == NULL)
        g_prefix_error(error, "reading the manifest of '%s': ", text);
    return artifact;
}

void
varve_backup_item_init(VarveProgressItem *item, const VarveBackupSite *site, const char *id,
                       guint64 total)
{
    *item = (VarveProgressItem){
        .images = site->images,
        .item = id,
        .kind = "snapshot",
        .total = total,
        .stage = VARVE_IMAGE_WAITING,
    };
}

void
varve_backup_moved_clear(VarveBackupMoved *moved)
{
    g_free(moved->name);
    g_free(moved->digest);
    *moved = (VarveBackupMoved){0};
}
