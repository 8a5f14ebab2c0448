/* SPDX-License-Identifier: Apache-2.0 */
#include "backup/internal.h"
#include "snapshot/identity.h"
#include <string.h>

/* A pull goes back from the snapshot that is wanted, base by base, until it meets one that is here,
 * and then receives the others in the other direction. The volume comes last. */

typedef struct {
    VarveBackupSite site;
    const VarveBackupPull *options;
    VarvePool *pool;
    VarveArtifact *artifact;
    const VarveArtifactLayer *target;
    const char *id;     /* of the volume that is to be made; NULL: none */
    GPtrArray *missing; /* of VarveArtifactLayer: the newest first */
    char *last;         /* the id here of the target */
} Pull;

static void
pull_clear(Pull *pull)
{
    varve_backup_site_clear(&pull->site);
    g_clear_pointer(&pull->artifact, varve_artifact_free);
    g_clear_pointer(&pull->missing, g_ptr_array_unref);
    g_clear_pointer(&pull->last, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pull, pull_clear)

/* --- before anything is changed --------------------------------------------------------------- */

/* What the volume is to be, all of which has to be possible. */
static VarveVolumeOptions
wish(const Pull *pull)
{
    return (VarveVolumeOptions){
        .id = pull->id,
        .type = pull->artifact->type,
        .meta = pull->artifact->meta,
        .no_mount = pull->options->no_mount,
    };
}

static gboolean
check_volume(Pull *pull, GError **error)
{
    const VarveBackupPull *options = pull->options;
    if (options->snapshots_only)
        return TRUE;
    pull->id = options->id != NULL ? options->id : pull->artifact->volume;
    if (pull->id == NULL)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the backup is of no volume: say what the one that begins as it is "
                               "to be called, or take the snapshots only");
    const VarveVolumeOptions made = wish(pull);
    g_autoptr(VarveVolumeInfo) plan = varve_volume_plan(&made, NULL, error);
    g_autoptr(GHashTable) labels = plan != NULL ? varve_volume_labels_new(plan, error) : NULL;
    if (labels == NULL)
        return FALSE;
    if (varve_volume_check_free(pull->site.volumes, pull->id, error))
        return TRUE;
    g_prefix_error(error, "give it another id, or take the snapshots only: ");
    return FALSE;
}

/* The name here of the snapshot with a universal id; NULL: it is not here. */
static gboolean
find_here(Pull *pull, const char *uuid, char **name, GError **error)
{
    return varve_identity_find(pull->pool, uuid, name, error);
}

static gboolean
find_missing(Pull *pull, GError **error)
{
    pull->missing = g_ptr_array_new();
    for (const VarveArtifactLayer *layer = pull->target; layer != NULL;) {
        g_autofree char *name = NULL;
        if (!find_here(pull, layer->uuid, &name, error))
            return FALSE;
        if (name != NULL)
            return TRUE;
        g_ptr_array_add(pull->missing, (gpointer)layer);
        layer = layer->base != NULL ? varve_artifact_find(pull->artifact, layer->base) : NULL;
    }
    return TRUE;
}

/* --- snapshots -------------------------------------------------------------------------------- */

/* Of which volume a snapshot is one here: of the volume that is made, if it was of that there. */
static const char *
owner_of(const Pull *pull, const VarveArtifactLayer *layer)
{
    gboolean mine = layer->of != NULL && g_strcmp0(layer->of, pull->artifact->volume) == 0;
    return mine && pull->id != NULL ? pull->id : layer->of;
}

static gboolean
receive(Pull *pull, const VarveArtifactLayer *layer, GError **error)
{
    VarveBackupMoved *moved = pull->site.moved;
    const VarveBackupReceive what = {
        .pool = pull->pool,
        .layer = layer,
        .of = owner_of(pull, layer),
        .no_mount = pull->options->no_mount,
    };
    g_autofree char *id = NULL, *name = NULL;
    g_autoptr(GError) problem = NULL;
    if (varve_backup_receive(&pull->site, &what, &id, &problem)) {
        moved->moved++;
        moved->bytes += layer->descriptor->size;
        return TRUE;
    }
    /* Another pull may have been faster. */
    if (g_error_matches(problem, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS) &&
        find_here(pull, layer->uuid, &name, NULL) && name != NULL) {
        moved->present++;
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

static gboolean
receive_all(Pull *pull, GError **error)
{
    for (guint i = pull->missing->len; i > 0; i--)
        if (!receive(pull, pull->missing->pdata[i - 1], error))
            return FALSE;
    return TRUE;
}

/* Where the target is here. It may have come some other way, as no volume's snapshot. */
static gboolean
find_last(Pull *pull, GError **error)
{
    g_autofree char *name = NULL;
    if (!find_here(pull, pull->target->uuid, &name, error))
        return FALSE;
    if (name != NULL && g_str_has_prefix(name, VARVE_VOLUME_PREFIX)) {
        pull->last = g_strdup(name + strlen(VARVE_VOLUME_PREFIX));
        return TRUE;
    }
    g_autofree char *shown = varve_key_display(name != NULL ? name : "");
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           name != NULL ? "the snapshot %s is here as '%s', which is no volume's"
                                        : "the snapshot %s was taken away meanwhile%s",
                           pull->target->uuid, shown);
}

/* --- all -------------------------------------------------------------------------------------- */

static gboolean
prepare(Pull *pull, const char *source, GError **error)
{
    VarveBackupMoved *moved = pull->site.moved;
    if (pull->options->id != NULL && !varve_volume_id_check(pull->options->id, error))
        return FALSE;
    if (!varve_backup_site_open(&pull->site, source, &pull->options->remote, error))
        return FALSE;
    moved->name = varve_reference_format(pull->site.name);
    pull->artifact = varve_backup_site_fetch(&pull->site, pull->site.name, &moved->digest, error);
    if (pull->artifact == NULL)
        return FALSE;
    pull->target = varve_artifact_choose(pull->artifact, pull->options->to, error);
    return pull->target != NULL && check_volume(pull, error);
}

static VarveVolumeInfo *
run(Pull *pull, GError **error)
{
    VarveVolumes *volumes = pull->site.volumes;
    pull->pool = varve_engine_get_pool(volumes->engine, pull->options->provider, error);
    if (pull->pool == NULL || !find_missing(pull, error))
        return NULL;
    pull->site.moved->snapshots = pull->missing->len;
    if (!receive_all(pull, error) || !find_last(pull, error))
        return NULL;
    if (pull->id == NULL)
        return varve_volumes_inspect(volumes, pull->last, error);
    const VarveVolumeOptions made = wish(pull);
    return varve_volumes_fork(volumes, pull->last, &made, error);
}

VarveVolumeInfo *
varve_backup_pull(VarveVolumes *volumes, VarveImages *images, const char *source,
                  const VarveBackupPull *options, VarveBackupMoved *moved, GError **error)
{
    static const VarveBackupPull defaults;
    g_auto(VarveBackupMoved) ignored = {0};
    g_auto(Pull) pull = {
        .site = {.volumes = volumes, .images = images, .moved = moved != NULL ? moved : &ignored},
        .options = options != NULL ? options : &defaults,
    };
    *pull.site.moved = (VarveBackupMoved){0};
    VarveVolumeInfo *info = prepare(&pull, source, error) ? run(&pull, error) : NULL;
    if (info == NULL)
        g_prefix_error(error, "pulling '%s': ", source);
    return info;
}
