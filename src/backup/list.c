/* SPDX-License-Identifier: Apache-2.0 */
#include "backup/internal.h"
#include <string.h>

static void
snapshot_free(gpointer data)
{
    VarveBackupSnapshot *snapshot = data;
    g_free(snapshot->id);
    g_free(snapshot->uuid);
    g_free(snapshot->base);
    g_free(snapshot->of);
    g_free(snapshot->digest);
    g_free(snapshot);
}

void
varve_backup_free(VarveBackup *backup)
{
    g_free(backup->name);
    g_free(backup->digest);
    g_free(backup->volume);
    g_free(backup->type);
    g_hash_table_unref(backup->meta);
    g_ptr_array_unref(backup->snapshots);
    g_free(backup);
}

static VarveBackupSnapshot *
tell_snapshot(const VarveArtifactLayer *layer)
{
    VarveBackupSnapshot *snapshot = g_new0(VarveBackupSnapshot, 1);
    *snapshot = (VarveBackupSnapshot){
        .id = g_strdup(layer->id),
        .uuid = g_strdup(layer->uuid),
        .base = g_strdup(layer->base),
        .of = g_strdup(layer->of),
        .created = layer->created,
        .bytes = layer->descriptor->size,
        .payload = layer->payload,
        .digest = g_strdup(layer->descriptor->digest),
    };
    return snapshot;
}

/* Sizes are what the manifest claims. */
static guint64
add_sizes(guint64 a, guint64 b)
{
    return b > G_MAXUINT64 - a ? G_MAXUINT64 : a + b;
}

static VarveBackup *
tell(const VarveArtifact *artifact, const VarveReference *name, const char *digest)
{
    VarveBackup *backup = g_new0(VarveBackup, 1);
    backup->name = varve_reference_format(name);
    backup->digest = g_strdup(digest);
    backup->volume = g_strdup(artifact->volume);
    backup->type = g_strdup(artifact->type);
    backup->meta = g_hash_table_ref(artifact->meta);
    backup->snapshots = g_ptr_array_new_with_free_func(snapshot_free);
    for (guint i = 0; i < artifact->layers->len; i++) {
        VarveBackupSnapshot *snapshot = tell_snapshot(artifact->layers->pdata[i]);
        backup->bytes = add_sizes(backup->bytes, snapshot->bytes);
        g_ptr_array_add(backup->snapshots, snapshot);
    }
    return backup;
}

static gboolean
add(VarveBackupSite *site, const VarveReference *name, GPtrArray *backups, GError **error)
{
    g_autofree char *digest = NULL;
    g_autoptr(VarveArtifact) artifact = varve_backup_site_fetch(site, name, &digest, error);
    if (artifact != NULL)
        g_ptr_array_add(backups, tell(artifact, name, digest));
    return artifact != NULL;
}

/* What is in a repository beside backups is none of this list. */
static gboolean
add_tagged(VarveBackupSite *site, char *tag, GPtrArray *backups, GError **error)
{
    const VarveReference name = {
        .domain = site->name->domain, .path = site->name->path, .tag = tag};
    g_autoptr(GError) problem = NULL;
    if (add(site, &name, backups, &problem) ||
        g_error_matches(problem, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION) ||
        g_error_matches(problem, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

static int
compare_tags(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static gboolean
add_all(VarveBackupSite *site, GPtrArray *backups, GError **error)
{
    const VarveRemote *remote = &site->remote;
    g_autoptr(GPtrArray) tags =
        remote->client->tags(remote->registry, remote->name, &site->watch, error);
    if (tags != NULL)
        g_ptr_array_sort(tags, compare_tags);
    for (guint i = 0; tags != NULL && i < tags->len; i++)
        if (!add_tagged(site, tags->pdata[i], backups, error))
            return FALSE;
    return tags != NULL;
}

GPtrArray *
varve_backup_list(const char *name, const VarveImageRemote *remote, GError **error)
{
    g_auto(VarveBackupSite) site = {0};
    g_autoptr(GPtrArray) backups =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_backup_free);
    if (varve_backup_site_open(&site, name, remote, error) &&
        (site.name->tag != NULL || site.name->digest != NULL ? add(&site, site.name, backups, error)
                                                             : add_all(&site, backups, error)))
        return g_steal_pointer(&backups);
    g_prefix_error(error, "listing the backups of '%s': ", name);
    return NULL;
}
