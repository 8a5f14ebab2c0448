/* SPDX-License-Identifier: Apache-2.0 */
#include "image/pull.h"
#include "image/media-types.h"

/* A pull walks the image as it is in the registry: manifests are fetched where they are met, blobs
 * are noted, and fetched when all are known. */

/* --- manifests -------------------------------------------------------------------------------- */

static gboolean
store_bytes(VarvePull *pull, const VarveDescriptor *descriptor, GBytes *bytes, GError **error)
{
    gsize size;
    gconstpointer data = g_bytes_get_data(bytes, &size);
    g_autoptr(VarveIngest) ingest = NULL;
    if (!varve_ingest_begin(pull->images->content, pull->lease, descriptor->digest,
                            (gint64)descriptor->size, &pull->images->watch, &ingest, error))
        return FALSE;
    return ingest == NULL ||
           (varve_ingest_restart(ingest, error) && varve_ingest_write(ingest, data, size, error) &&
            varve_ingest_finish(ingest, NULL, NULL, error));
}

static gboolean
fetch_manifest(VarvePull *pull, const VarveDescriptor *descriptor, GError **error)
{
    const VarveReference at = varve_remote_at(&pull->remote, descriptor->digest);
    const VarveRegistryWatch watch = {.cancelled = pull->images->watch.cancelled};
    VarveProgressItem item;
    varve_progress_init(&item, pull->images, descriptor);
    varve_progress_tell(&item, VARVE_IMAGE_FETCHING, 0);
    g_autoptr(GBytes) bytes =
        pull->remote.client->fetch_manifest(pull->remote.registry, &at, NULL, &watch, error);
    if (bytes == NULL || !store_bytes(pull, descriptor, bytes, error)) {
        varve_progress_tell(&item, VARVE_IMAGE_FAILED, 0);
        return FALSE;
    }
    varve_progress_tell(&item, VARVE_IMAGE_DONE, descriptor->size);
    varve_moved_count(pull->moved, item.stage, descriptor->size);
    return TRUE;
}

static gboolean
choose(VarvePull *pull, const VarveDescriptor *descriptor, GError **error)
{
    if (pull->options->all_platforms)
        return TRUE;
    g_autoptr(VarveManifest) index = varve_manifest_read(pull->images->content, descriptor, error);
    return index != NULL && (!index->is_index || varve_pull_choose(index, pull->options->platforms,
                                                                   pull->unwanted, error));
}

/* --- the walk --------------------------------------------------------------------------------- */

static void
note_present(VarvePull *pull, const VarveDescriptor *descriptor)
{
    VarveProgressItem item;
    varve_progress_init(&item, pull->images, descriptor);
    varve_progress_tell(&item, VARVE_IMAGE_PRESENT, descriptor->size);
    varve_moved_count(pull->moved, item.stage, 0);
}

/* Configs are fetched with the manifests where they have to tell the platform, or the DiffIDs. */
static gboolean
is_wanted_early(const VarvePull *pull, const VarveDescriptor *descriptor)
{
    return (pull->options->platforms != NULL || pull->pool != NULL) &&
           varve_media_kind(descriptor->media_type) == VARVE_MEDIA_CONFIG;
}

/* What is unpacked is done with when that is. */
static gboolean
may_be_unpacked(const VarvePull *pull, const VarveDescriptor *descriptor)
{
    VarveMediaKind kind = varve_media_kind(descriptor->media_type);
    return pull->pool != NULL && (kind == VARVE_MEDIA_LAYER || kind == VARVE_MEDIA_FOREIGN_LAYER);
}

static gboolean
fetch_early(VarvePull *pull, const VarveDescriptor *descriptor, GError **error)
{
    g_autoptr(VarveTransfer) single = varve_transfer_new(pull->images);
    varve_transfer_add(single, descriptor);
    return varve_transfer_run(single, 1, varve_pull_blob, pull, pull->moved, error);
}

static gboolean
meet(const VarveDescriptor *descriptor, gpointer data, gboolean *present, GError **error)
{
    VarvePull *pull = data;
    gboolean manifest = varve_media_is_manifest(descriptor->media_type);
    *present = FALSE;
    if (g_hash_table_contains(pull->unwanted, descriptor->digest))
        return TRUE;
    if (!varve_images_hold(pull->images, pull->lease, descriptor, present, error))
        return FALSE;
    if (*present && !may_be_unpacked(pull, descriptor))
        note_present(pull, descriptor);
    else if (manifest && !fetch_manifest(pull, descriptor, error))
        return FALSE;
    else if (!manifest && is_wanted_early(pull, descriptor))
        return fetch_early(pull, descriptor, error);
    else if (!manifest)
        varve_transfer_add(pull->transfer, descriptor);
    *present |= manifest;
    return varve_media_kind(descriptor->media_type) != VARVE_MEDIA_INDEX ||
           choose(pull, descriptor, error);
}

/* What no index says is told by configs: whether the image is for the platforms at all. */
static gboolean
check_platforms(VarvePull *pull, const VarveDescriptor *root, GError **error)
{
    const VarvePlatform *const *wanted = pull->options->platforms;
    for (; wanted != NULL && *wanted != NULL && !pull->options->all_platforms; wanted++) {
        g_autoptr(VarveDescriptor) chosen = varve_image_choose(pull->images, root, *wanted, error);
        if (chosen == NULL)
            return FALSE;
    }
    return TRUE;
}

/* --- the whole -------------------------------------------------------------------------------- */

static gboolean
lead(VarvePull *pull, const VarveDescriptor *root, GError **error)
{
    g_autoptr(GPtrArray) namings =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_naming_free);
    g_ptr_array_add(namings, varve_naming_new(pull->moved->name, root));
    return varve_names_publish(pull->images, namings, error);
}

static gboolean
run(VarvePull *pull, GError **error)
{
    const VarveClosureVisitor visitor = {.blob = meet, .data = pull};
    g_autoptr(VarveDescriptor) root = varve_remote_resolve(&pull->remote, pull->remote.name,
                                                           pull->images->watch.cancelled, error);
    if (root == NULL)
        return FALSE;
    pull->moved->digest = g_strdup(root->digest);
    if (!varve_media_is_manifest(root->media_type))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the registry says that it is of the type '%s', no image",
                               root->media_type);
    return varve_closure_walk(pull->images->content, root, &visitor, NULL, error) &&
           check_platforms(pull, root, error) &&
           (pull->pool != NULL ? varve_pull_unpack(pull, root, error)
                               : varve_pull_blobs(pull, error)) &&
           lead(pull, root, error);
}

/* The name that is to lead to it here. */
static char *
name_here(const VarveReference *there, const char *as, GError **error)
{
    g_autoptr(VarveReference) here = as != NULL ? varve_reference_parse(as, TRUE, error) : NULL;
    if (as == NULL)
        return varve_reference_format(there);
    if (here != NULL && here->digest == NULL)
        return varve_reference_format(here);
    if (here != NULL)
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                        "'%s', which it is to be called, names a digest", as);
    return NULL;
}

static gboolean
pull_image(VarvePull *pull, const VarveReference *name, GError **error)
{
    pull->moved->name = name_here(name, pull->options->name, error);
    pull->lease = pull->moved->name != NULL ? varve_lease_new(pull->images->content, error) : NULL;
    if (pull->lease == NULL)
        return FALSE;
    pull->transfer = varve_transfer_new(pull->images);
    pull->unwanted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    gboolean ok =
        varve_remote_open(&pull->remote, name, &pull->options->remote, error) && run(pull, error);
    varve_remote_clear(&pull->remote);
    varve_transfer_free(pull->transfer);
    varve_lease_free(pull->lease);
    g_hash_table_unref(pull->unwanted);
    return ok;
}

void
varve_image_moved_clear(VarveImageMoved *moved)
{
    g_free(moved->name);
    g_free(moved->digest);
    *moved = (VarveImageMoved){0};
}

static VarveImageInfo *
pull_named(VarvePull *pull, const char *name, const VarveImagePull *options, VarveImageMoved *moved,
           GError **error)
{
    static const VarveImagePull defaults;
    g_auto(VarveImageMoved) ignored = {0};
    pull->options = options != NULL ? options : &defaults;
    pull->moved = moved != NULL ? moved : &ignored;
    *pull->moved = (VarveImageMoved){0};
    g_autoptr(VarveReference) reference = varve_reference_parse(name, TRUE, error);
    VarveImageInfo *info = NULL;
    if (reference != NULL && pull_image(pull, reference, error))
        info = varve_images_find(pull->images, pull->moved->name, error);
    else
        g_prefix_error(error, "pulling image '%s': ", name);
    pull->moved = NULL;
    return info;
}

VarveImageInfo *
varve_images_pull(VarveImages *images, const char *name, const VarveImagePull *options,
                  VarveImageMoved *moved, GError **error)
{
    VarvePull pull = {.images = images};
    return pull_named(&pull, name, options, moved, error);
}

VarveImageInfo *
varve_images_pull_unpack(VarveImages *images, VarvePool *pool, const char *name,
                         const VarveImagePull *options, VarveImageMoved *moved,
                         VarveImageUnpacked *unpacked, GError **error)
{
    VarvePull pull = {.images = images, .pool = pool, .unpacked = unpacked};
    *unpacked = (VarveImageUnpacked){0};
    VarveImageInfo *info = pull_named(&pull, name, options, moved, error);
    if (info == NULL)
        varve_image_unpacked_clear(unpacked);
    return info;
}

/* --- as it is wished ------------------------------------------------------------------------- */

static gboolean
pull_to_unpack(VarveImages *images, VarvePool *pool, const char *name,
               const VarvePlatform *platform, VarveImageUnpacked *unpacked, GError **error)
{
    const VarvePlatform *platforms[] = {platform, NULL};
    const VarveImagePull options = {.platforms = platform != NULL ? platforms : NULL};
    VarveImageInfo *info =
        varve_images_pull_unpack(images, pool, name, &options, NULL, unpacked, error);
    varve_image_info_free(info);
    return info != NULL;
}

gboolean
varve_images_provide(VarveImages *images, VarvePool *pool, const char *name,
                     const VarvePlatform *platform, VarvePullPolicy policy,
                     VarveImageUnpacked *unpacked, GError **error)
{
    g_autoptr(GError) failure = NULL;
    if (policy == VARVE_PULL_ALWAYS)
        return pull_to_unpack(images, pool, name, platform, unpacked, error);
    if (varve_images_unpack(images, pool, name, platform, unpacked, &failure))
        return TRUE;
    if (policy == VARVE_PULL_MISSING &&
        g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
        return pull_to_unpack(images, pool, name, platform, unpacked, error);
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}
