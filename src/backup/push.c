/* SPDX-License-Identifier: Apache-2.0 */
#include "backup/internal.h"
#include "base/digest.h"
#include "image/media-types.h"
#include "snapshot/identity.h"
#include <string.h>

/*
 * A push looks what the tag has, uploads the oldest snapshot that it has not, and puts a manifest
 * with that one added; and so on, until it has all. So what was uploaded counts at once, and an
 * interrupted push needs nothing that somebody would have to remember. Between looking and putting
 * another push may have done the same: what the tag leads to is looked at once more right before,
 * and if it is something new, all begins again, with the blobs that are there by then.
 */

#define MAX_CONFLICTS 20 /* in succession */

typedef struct {
    VarveBackupSite site;
    const VarveBackupPush *options;
    VarvePool *pool;
    VarveVolumeInfo *snapshot;
    VarveVolumeInfo *volume; /* NULL: it is gone, or there was none */
    GPtrArray *lineage;      /* of VarveAncestor: the snapshot and those below it */
    GHashTable *uploaded;    /* uuid -> VarveDescriptor */
    char *seen;              /* the digest of what the tag leads to; NULL: nothing */
    gboolean begun;          /* what was asked for instead of the tag's has taken its place */
} Push;

static void
push_clear(Push *push)
{
    varve_backup_site_clear(&push->site);
    g_clear_pointer(&push->snapshot, varve_volume_info_free);
    g_clear_pointer(&push->volume, varve_volume_info_free);
    g_clear_pointer(&push->lineage, g_ptr_array_unref);
    g_clear_pointer(&push->uploaded, g_hash_table_unref);
    g_clear_pointer(&push->seen, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Push, push_clear)

/* --- what the tag has ------------------------------------------------------------------------- */

static VarveArtifact *
new_artifact(const Push *push)
{
    const VarveVolumeInfo *volume = push->volume != NULL ? push->volume : push->snapshot;
    VarveArtifact *artifact = varve_artifact_new();
    artifact->volume = g_strdup(push->snapshot->of);
    artifact->type = g_strdup(volume->type);
    if (push->volume != NULL) {
        g_hash_table_unref(artifact->meta);
        artifact->meta = g_hash_table_ref(push->volume->meta);
    }
    return artifact;
}

/* The newest of the lineage that it has: an index; the lineage's length when there is none. */
static guint
find_common(const Push *push, const VarveArtifact *artifact)
{
    for (guint i = 0; i < push->lineage->len; i++) {
        const VarveAncestor *ancestor = push->lineage->pdata[i];
        if (ancestor->uuid != NULL && varve_artifact_find(artifact, ancestor->uuid) != NULL)
            return i;
    }
    return push->lineage->len;
}

static gboolean
check_mine(const Push *push, const VarveArtifact *there, GError **error)
{
    const char *mine = push->snapshot->of;
    if (g_strcmp0(there->volume, mine) == 0 || find_common(push, there) < push->lineage->len)
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "the tag has a backup of %s%s%s, with no snapshot that '%s' stands on: "
                           "push to another tag, or have the tag forget it (force)",
                           there->volume != NULL ? "the volume '" : "no volume",
                           there->volume != NULL ? there->volume : "",
                           there->volume != NULL ? "'" : "", push->snapshot->id);
}

static gboolean
is_absent(const GError *problem)
{
    return g_error_matches(problem, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
}

/* Whether what is in the way may be overwritten: what no manifest could be read of may not. */
static gboolean
is_other(const GError *problem)
{
    return g_error_matches(problem, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION) ||
           g_error_matches(problem, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT) ||
           g_error_matches(problem, VARVE_ERROR, VARVE_ERROR_NOT_IMPLEMENTED);
}

/* What is to be added to. */
static VarveArtifact *
look(Push *push, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_clear_pointer(&push->seen, g_free);
    g_autoptr(VarveArtifact) there =
        varve_backup_site_fetch(&push->site, push->site.name, &push->seen, &problem);
    if (there != NULL && !check_mine(push, there, &problem))
        g_clear_pointer(&there, varve_artifact_free);
    gboolean force = push->options->force && !push->begun && is_other(problem);
    if (there == NULL && push->seen == NULL && !is_absent(problem)) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    if (there == NULL && push->seen != NULL && !force) {
        g_propagate_prefixed_error(error, g_steal_pointer(&problem),
                                   "the tag leads to something else, which stays: ");
        return NULL;
    }
    if (there == NULL || (push->options->full && !push->begun))
        return new_artifact(push);
    return g_steal_pointer(&there);
}

/* --- what is to be added ---------------------------------------------------------------------- */

/* An ancestor that is a volume's snapshot; what is none is part of the next one's difference. */
static gboolean
find_snapshot(const Push *push, guint i, VarveVolumeInfo **info, GError **error)
{
    const VarveAncestor *ancestor = push->lineage->pdata[i];
    *info = NULL;
    return !g_str_has_prefix(ancestor->name, VARVE_VOLUME_PREFIX) ||
           varve_volume_find(push->site.volumes, ancestor->name + strlen(VARVE_VOLUME_PREFIX), info,
                             error);
}

/* The oldest one that is to be added, and the universal id of what it goes on from (NULL: none).
 * *info is NULL when there is nothing to add. */
static gboolean
choose(Push *push, const VarveArtifact *artifact, VarveVolumeInfo **info, const char **base,
       GError **error)
{
    guint common = find_common(push, artifact);
    gboolean alone = push->options->full && !push->begun;
    *info = NULL;
    *base = NULL;
    if (common < push->lineage->len)
        *base = ((const VarveAncestor *)push->lineage->pdata[common])->uuid;
    for (guint i = alone ? MIN(common, 1) : common; i > 0 && *info == NULL; i--)
        if (!find_snapshot(push, i - 1, info, error))
            return FALSE;
    return TRUE;
}

static VarveDescriptor *
get_layer(Push *push, const VarveVolumeInfo *info, const char *base, GError **error)
{
    g_autofree char *key = g_strdup_printf("%s %s", info->key, base != NULL ? base : "");
    const VarveDescriptor *known = g_hash_table_lookup(push->uploaded, key);
    if (known != NULL)
        return varve_descriptor_copy(known);
    const VarveBackupUpload upload = {push->pool, info, base};
    VarveDescriptor *made = varve_backup_upload(&push->site, &upload, error);
    if (made != NULL)
        g_hash_table_insert(push->uploaded, g_steal_pointer(&key), varve_descriptor_copy(made));
    return made;
}

/* --- putting it ------------------------------------------------------------------------------- */

static gssize
read_empty(gpointer data, guint64 offset, void *buffer, gsize size, GError **error)
{
    gsize n = MIN(size, strlen(VARVE_EMPTY_JSON) - (gsize)offset);
    memcpy(buffer, &VARVE_EMPTY_JSON[offset], n);
    return (gssize)n;
}

static gboolean
push_config(Push *push, GError **error)
{
    const VarveRemote *remote = &push->site.remote;
    const VarveRegistryContent content = {read_empty, NULL};
    gsize size = strlen(VARVE_EMPTY_JSON);
    g_autofree char *digest = varve_digest_of(VARVE_EMPTY_JSON, size);
    const VarveRegistryDescriptor config = {NULL, digest, size};
    return remote->client->push_blob(remote->registry, remote->name, &config, &content, NULL, NULL,
                                     &push->site.watch, error);
}

/* Whether the tag leads to what it led to when it was looked at. */
static gboolean
is_unchanged(Push *push, gboolean *unchanged, GError **error)
{
    const VarveRemote *remote = &push->site.remote;
    g_autoptr(GError) problem = NULL;
    g_autoptr(VarveDescriptor) now =
        varve_remote_resolve(remote, remote->name, push->site.watch.cancelled, &problem);
    if (now == NULL && !is_absent(problem)) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    *unchanged = g_strcmp0(now != NULL ? now->digest : NULL, push->seen) == 0;
    return TRUE;
}

static gboolean
put(Push *push, const VarveArtifact *artifact, gboolean *done, GError **error)
{
    const VarveRemote *remote = &push->site.remote;
    g_autoptr(GBytes) bytes = varve_artifact_format(artifact, error);
    /* A manifest that was put already has it. */
    if (bytes == NULL || !(push->begun || push_config(push, error)) ||
        !is_unchanged(push, done, error))
        return FALSE;
    if (!*done)
        return TRUE;
    VarveRegistryDescriptor made = {0};
    if (!remote->client->push_manifest(remote->registry, remote->name, VARVE_MEDIA_OCI_MANIFEST,
                                       bytes, &made, &push->site.watch, error))
        return FALSE;
    g_free(push->seen);
    push->seen = made.digest;
    g_free(made.media_type);
    push->begun = TRUE;
    return TRUE;
}

/* --- all -------------------------------------------------------------------------------------- */

/* Adds one snapshot. *done: there was none to add. *conflict: somebody else was faster. */
static gboolean
step(Push *push, gboolean *done, gboolean *conflict, GError **error)
{
    const char *base;
    gboolean unchanged = FALSE;
    g_autoptr(VarveVolumeInfo) info = NULL;
    g_autoptr(VarveArtifact) artifact = look(push, error);
    *conflict = FALSE;
    if (artifact == NULL || !choose(push, artifact, &info, &base, error))
        return FALSE;
    *done = info == NULL;
    if (*done)
        return TRUE;
    push->site.moved->begun |= base == NULL;
    VarveDescriptor *layer = get_layer(push, info, base, error);
    if (layer == NULL || !varve_artifact_add(artifact, layer, error) ||
        !put(push, artifact, &unchanged, error))
        return FALSE;
    *conflict = !unchanged;
    return TRUE;
}

static gboolean
run(Push *push, GError **error)
{
    gboolean done = FALSE, conflict;
    for (guint conflicts = 0; !done; conflicts = conflict ? conflicts + 1 : 0) {
        if (conflicts > MAX_CONFLICTS)
            return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                                   "others push to the same tag all the time");
        if (!step(push, &done, &conflict, error))
            return FALSE;
    }
    push->site.moved->digest = g_strdup(push->seen);
    return TRUE;
}

/* Those that were there already. */
static void
count_present(Push *push)
{
    VarveBackupMoved *moved = push->site.moved;
    guint snapshots = 0;
    for (guint i = 0; i < push->lineage->len; i++) {
        const VarveAncestor *ancestor = push->lineage->pdata[i];
        snapshots += g_str_has_prefix(ancestor->name, VARVE_VOLUME_PREFIX);
    }
    moved->snapshots = push->options->full ? 1 : snapshots;
    moved->present = moved->snapshots - MIN(moved->moved, moved->snapshots);
}

/* "SNAPSHOT" or "VOLUME@SNAPSHOT". */
static gboolean
find(Push *push, const char *text, GError **error)
{
    const char *at = strchr(text, '@');
    g_autofree char *volume = at != NULL ? g_strndup(text, (gsize)(at - text)) : NULL;
    VarveVolumes *volumes = push->site.volumes;
    push->snapshot = varve_volume_get(volumes, at != NULL ? at + 1 : text, error);
    if (push->snapshot == NULL)
        return FALSE;
    if (!push->snapshot->snapshot)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "only a snapshot can be pushed, and '%s' is a volume: take a "
                               "snapshot of it, and push that",
                               push->snapshot->id);
    if (volume != NULL && g_strcmp0(volume, push->snapshot->of) != 0)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "'%s' is no snapshot of '%s', but of %s", push->snapshot->id, volume,
                               push->snapshot->of != NULL ? push->snapshot->of : "no volume");
    if (push->snapshot->of != NULL &&
        !varve_volume_find(volumes, push->snapshot->of, &push->volume, error))
        return FALSE;
    push->pool = varve_engine_get_pool(volumes->engine, push->snapshot->provider, error);
    push->lineage =
        push->pool != NULL ? varve_identity_lineage(push->pool, push->snapshot->key, error) : NULL;
    return push->lineage != NULL;
}

static gboolean
open_target(Push *push, const char *target, GError **error)
{
    VarveImageRemote remote = push->options->remote;
    remote.mirrors = NULL; /* what they have may be old, and nothing can be put there */
    if (!varve_backup_site_open(&push->site, target, &remote, error))
        return FALSE;
    if (push->site.name->tag == NULL)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "a backup is pushed to a tag, REGISTRY/REPOSITORY:TAG");
    push->site.moved->name = varve_reference_format(push->site.name);
    return TRUE;
}

gboolean
varve_backup_push(VarveVolumes *volumes, VarveImages *images, const char *snapshot,
                  const char *target, const VarveBackupPush *options, VarveBackupMoved *moved,
                  GError **error)
{
    static const VarveBackupPush defaults;
    g_auto(VarveBackupMoved) ignored = {0};
    g_auto(Push) push = {
        .site = {.volumes = volumes, .images = images, .moved = moved != NULL ? moved : &ignored},
        .options = options != NULL ? options : &defaults,
    };
    *push.site.moved = (VarveBackupMoved){0};
    push.uploaded = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                          (GDestroyNotify)varve_descriptor_free);
    if (find(&push, snapshot, error) && open_target(&push, target, error) && run(&push, error)) {
        count_present(&push);
        return TRUE;
    }
    g_prefix_error(error, "pushing snapshot '%s' to '%s': ", snapshot, target);
    return FALSE;
}
