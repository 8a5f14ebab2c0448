/* SPDX-License-Identifier: Apache-2.0 */
#include "image/media-types.h"
#include "image/remote.h"
#include "image/transfer.h"
#include <unistd.h>

/* A push walks the image as it is here, which is held meanwhile; then the blobs go there, several
 * at a time, and when all are there the manifests, what is named before what names it. */

typedef struct {
    VarveImages *images;
    const VarveImagePush *options;
    VarveRemote remote;
    VarveLease *lease;
    VarveTransfer *transfer;
    GPtrArray
        *manifests; /* of VarveDescriptor*: those that name come before those that are named */
    GHashTable *elsewhere; /* digest -> repository of the same registry that may have it */
    VarveImageMoved *moved;
    const char *walked; /* the repository of the name that is walked for elsewhere */
} Push;

/* --- what the image consists of --------------------------------------------------------------- */

static gboolean
not_here(const VarveDescriptor *descriptor, GError **error)
{
    g_autofree char *platform =
        descriptor->platform != NULL ? varve_platform_format(descriptor->platform) : NULL;
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "its %s %s%s%s is not here, and registries take images whole: pull "
                           "all platforms, or push it for one",
                           varve_progress_kind(descriptor), descriptor->digest,
                           platform != NULL ? " for " : "", platform != NULL ? platform : "");
}

static void
note_skipped(Push *push, const VarveDescriptor *descriptor)
{
    VarveProgressItem item;
    varve_progress_init(&item, push->images, descriptor);
    varve_progress_tell(&item, VARVE_IMAGE_SKIPPED, 0);
    varve_moved_count(push->moved, item.stage, 0);
}

static gboolean
meet(const VarveDescriptor *descriptor, gpointer data, gboolean *present, GError **error)
{
    Push *push = data;
    if (!varve_images_hold(push->images, push->lease, descriptor, present, error))
        return FALSE;
    if (varve_media_kind(descriptor->media_type) == VARVE_MEDIA_FOREIGN_LAYER)
        note_skipped(push, descriptor);
    else if (!*present)
        return not_here(descriptor, error);
    else if (varve_media_is_manifest(descriptor->media_type))
        g_ptr_array_add(push->manifests, varve_descriptor_copy(descriptor));
    else
        varve_transfer_add(push->transfer, descriptor);
    return TRUE;
}

/* --- what the registry may have in another repository ----------------------------------------- */

static gboolean
note_elsewhere(const VarveDescriptor *descriptor, gpointer data, gboolean *present, GError **error)
{
    Push *push = data;
    if (!g_hash_table_contains(push->elsewhere, descriptor->digest))
        g_hash_table_insert(push->elsewhere, g_strdup(descriptor->digest), g_strdup(push->walked));
    return varve_content_find(push->images->content, descriptor->digest, present, NULL, error);
}

/* A name of ours in the same registry is where its image came from, or went to: likely enough to
 * ask, and to ask costs nothing. */
static gboolean
find_elsewhere(Push *push, GError **error)
{
    const VarveReference *target = push->remote.name;
    const VarveClosureVisitor visitor = {.blob = note_elsewhere, .tolerant = TRUE, .data = push};
    g_autoptr(GPtrArray) records = varve_names_list(push->images, error);
    for (guint i = 0; records != NULL && i < records->len; i++) {
        const VarveImageRecord *record = g_ptr_array_index(records, i);
        g_autoptr(VarveReference) name = varve_reference_parse(record->name, TRUE, NULL);
        if (name == NULL || !g_str_equal(name->domain, target->domain) ||
            g_str_equal(name->path, target->path))
            continue;
        g_autoptr(VarveDescriptor) root = varve_names_target(record);
        push->walked = name->path;
        if (!varve_closure_walk(push->images->content, root, &visitor, NULL, error))
            return FALSE;
    }
    return records != NULL;
}

/* --- blobs ------------------------------------------------------------------------------------ */

typedef struct {
    VarveTransferItem *item;
    int fd;
} Source;

static gssize
read_part(gpointer data, guint64 offset, void *buffer, gsize size, GError **error)
{
    const Source *source = data;
    ssize_t n;
    do
        n = pread(source->fd, buffer, size, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return n;
    if (n < 0)
        varve_error_set_errno(error, errno, "reading it");
    else
        varve_error_set(error, VARVE_ERROR_CORRUPT, "its file has become shorter");
    return -1;
}

static void
note_bytes(guint64 done, guint64 total, gpointer data)
{
    varve_progress_tell(&((VarveTransferItem *)data)->progress, VARVE_IMAGE_PUSHING, done);
}

static gboolean
push_blob(VarveTransferItem *item, const gint *cancelled, gpointer data, GError **error)
{
    static const VarveImageStage outcomes[] = {
        [VARVE_REGISTRY_UPLOADED] = VARVE_IMAGE_DONE,
        [VARVE_REGISTRY_WAS_THERE] = VARVE_IMAGE_PRESENT,
        [VARVE_REGISTRY_MOUNTED] = VARVE_IMAGE_MOUNTED,
    };
    Push *push = data;
    const VarveDescriptor *descriptor = item->descriptor;
    const VarveRegistryDescriptor blob = {descriptor->media_type, descriptor->digest,
                                          descriptor->size};
    const VarveRegistryWatch watch = {cancelled, note_bytes, item};
    varve_autofd fd = varve_content_open(push->images->content, blob.digest, NULL, error);
    if (fd < 0)
        return FALSE;
    Source source = {item, fd};
    const VarveRegistryContent content = {read_part, &source};
    const char *from = g_hash_table_lookup(push->elsewhere, blob.digest);
    VarveRegistryPushed how = VARVE_REGISTRY_UPLOADED;
    if (!push->remote.client->push_blob(push->remote.registry, push->remote.name, &blob, &content,
                                        from, &how, &watch, error))
        return FALSE;
    item->moved = how == VARVE_REGISTRY_UPLOADED ? blob.size : 0;
    varve_progress_tell(&item->progress, outcomes[how], blob.size);
    return TRUE;
}

/* --- manifests -------------------------------------------------------------------------------- */

/* Whether the registry has that under the name. What it says otherwise it will say again, or not,
 * of the push. */
static gboolean
is_there(const Push *push, const VarveReference *name, const char *digest)
{
    g_autoptr(VarveDescriptor) there =
        varve_remote_resolve(&push->remote, name, push->images->watch.cancelled, NULL);
    return there != NULL && g_str_equal(there->digest, digest);
}

static gboolean
send_manifest(Push *push, const VarveDescriptor *descriptor, const VarveReference *name,
              GError **error)
{
    const VarveRegistryWatch watch = {.cancelled = push->images->watch.cancelled};
    gsize size;
    char *text = varve_content_read(push->images->content, descriptor->digest, VARVE_MAX_MANIFEST,
                                    &size, error);
    if (text == NULL)
        return FALSE;
    g_autoptr(GBytes) bytes = g_bytes_new_take(text, size);
    return push->remote.client->push_manifest(push->remote.registry, name, descriptor->media_type,
                                              bytes, NULL, &watch, error);
}

static gboolean
push_manifest(Push *push, const VarveDescriptor *descriptor, const VarveReference *name,
              GError **error)
{
    VarveProgressItem item;
    varve_progress_init(&item, push->images, descriptor);
    gboolean there = is_there(push, name, descriptor->digest);
    if (!there) {
        varve_progress_tell(&item, VARVE_IMAGE_PUSHING, 0);
        if (!send_manifest(push, descriptor, name, error)) {
            varve_progress_tell(&item, VARVE_IMAGE_FAILED, 0);
            return FALSE;
        }
    }
    varve_progress_tell(&item, there ? VARVE_IMAGE_PRESENT : VARVE_IMAGE_DONE, descriptor->size);
    varve_moved_count(push->moved, item.stage, there ? 0 : descriptor->size);
    return TRUE;
}

/* The root, which was met first, comes last, and under the name. */
static gboolean
push_manifests(Push *push, GError **error)
{
    for (guint i = push->manifests->len; i-- > 0;) {
        const VarveDescriptor *descriptor = g_ptr_array_index(push->manifests, i);
        const VarveReference at = varve_remote_at(&push->remote, descriptor->digest);
        if (!push_manifest(push, descriptor, i == 0 ? push->remote.name : &at, error))
            return FALSE;
    }
    return TRUE;
}

/* --- the whole -------------------------------------------------------------------------------- */

static gboolean
run(Push *push, const VarveDescriptor *root, GError **error)
{
    const VarveClosureVisitor visitor = {.blob = meet, .data = push};
    push->moved->digest = g_strdup(root->digest);
    return varve_closure_walk(push->images->content, root, &visitor, NULL, error) &&
           find_elsewhere(push, error) &&
           varve_transfer_run(push->transfer, push->options->remote.jobs, push_blob, push,
                              push->moved, error) &&
           push_manifests(push, error);
}

static gboolean
push_root(Push *push, const VarveDescriptor *root, const VarveReference *name, GError **error)
{
    push->lease = varve_lease_new(push->images->content, error);
    if (push->lease == NULL)
        return FALSE;
    push->transfer = varve_transfer_new(push->images);
    push->manifests = g_ptr_array_new_with_free_func((GDestroyNotify)varve_descriptor_free);
    push->elsewhere = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    push->moved->name = varve_reference_format(name);
    /* Mirrors give, they do not take. */
    VarveImageRemote options = push->options->remote;
    options.mirrors = NULL;
    gboolean ok = varve_remote_open(&push->remote, name, &options, error) && run(push, root, error);
    varve_remote_clear(&push->remote);
    varve_transfer_free(push->transfer);
    varve_lease_free(push->lease);
    g_ptr_array_unref(push->manifests);
    g_hash_table_unref(push->elsewhere);
    return ok;
}

/* What the image is here: all of it, or the image for one platform. */
static VarveDescriptor *
find_root(Push *push, const VarveImageRecord *record, GError **error)
{
    g_autoptr(VarveDescriptor) root = varve_names_target(record);
    if (push->options->platform == NULL)
        return g_steal_pointer(&root);
    return varve_image_choose(push->images, root, push->options->platform, error);
}

gboolean
varve_images_push(VarveImages *images, const char *name, const char *target,
                  const VarveImagePush *options, VarveImageMoved *moved, GError **error)
{
    static const VarveImagePush defaults;
    g_auto(VarveImageMoved) ignored = {0};
    Push push = {.images = images, .options = options != NULL ? options : &defaults};
    push.moved = moved != NULL ? moved : &ignored;
    *push.moved = (VarveImageMoved){0};
    g_autoptr(VarveImageRecord) record = varve_names_look_up(images, name, error);
    if (record == NULL)
        return FALSE;
    const char *there = target != NULL ? target : record->name;
    g_autoptr(VarveReference) reference = varve_reference_parse(there, TRUE, error);
    g_autoptr(VarveDescriptor) root = reference != NULL ? find_root(&push, record, error) : NULL;
    if (root != NULL && push_root(&push, root, reference, error))
        return TRUE;
    g_prefix_error(error, "pushing image '%s' to '%s': ", record->name, there);
    return FALSE;
}
