/* SPDX-License-Identifier: Apache-2.0 */
#include "image/export.h"
#include "base/digest.h"
#include "base/uuid.h"
#include "image/archive/formats.h"
#include "image/internal.h"
#include "image/layout.h"
#include "image/media-types.h"
#include "image/reference.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    VarveImages *images;
    VarveLease *lease;
    const VarvePlatform *platform; /* or NULL */
    VarveImageFormat format;
    GPtrArray *roots; /* VarveNaming*: what index.json names, in the order that was asked for */
    GPtrArray *blobs; /* VarveDescriptor*: all, each once, in the order of the walk */
    GHashTable *listed;
    json_t *docker; /* the array in manifest.json, for VARVE_EXPORT_DOCKER */
    guint64 written_blobs, written_bytes;
} Export;

/* --- what is to be written -------------------------------------------------------------------- */

static gboolean
list_blob(const VarveDescriptor *descriptor, gpointer data, gboolean *present, GError **error)
{
    Export *export = data;
    if (!varve_lease_hold(export->lease, descriptor->digest, error) ||
        !varve_content_find(export->images->content, descriptor->digest, present, NULL, error))
        return FALSE;
    if (*present && g_hash_table_add(export->listed, g_strdup(descriptor->digest)))
        g_ptr_array_add(export->blobs, varve_descriptor_copy(descriptor));
    return TRUE;
}

static gboolean
list_blobs(Export *export, const VarveDescriptor *root, GError **error)
{
    g_auto(VarveClosure) closure = {0};
    const VarveClosureVisitor visitor = {.blob = list_blob, .data = export};
    if (!varve_closure_walk(export->images->content, root, &visitor, &closure, error))
        return FALSE;
    return closure.complete ||
           varve_error_set(error, VARVE_ERROR_NOT_FOUND, "blob %s of it is not here",
                           closure.missing != NULL ? closure.missing : root->digest);
}

static json_t *
blob_path(const VarveDescriptor *descriptor)
{
    return json_sprintf(VARVE_LAYOUT_BLOBS "%s", varve_digest_hex(descriptor->digest));
}

static json_t *
docker_image(const VarveManifest *manifest)
{
    json_t *layers = json_array();
    for (guint i = 0; i < manifest->blobs->len; i++)
        json_array_append_new(layers, blob_path(g_ptr_array_index(manifest->blobs, i)));
    json_t *image = json_object();
    json_object_set_new(image, "Config", blob_path(manifest->config));
    json_object_set_new(image, "RepoTags", json_array());
    json_object_set_new(image, "Layers", layers);
    return image;
}

/* The image for one platform, as Docker knows it: what has several names stands there once. */
static gboolean
list_for_docker(Export *export, const char *name, const VarveDescriptor *root, GError **error)
{
    if (export->docker == NULL)
        return TRUE;
    g_autoptr(VarveDescriptor) chosen =
        varve_image_choose(export->images, root, export->platform, error);
    g_autoptr(VarveManifest) manifest =
        chosen != NULL ? varve_manifest_read(export->images->content, chosen, error) : NULL;
    if (manifest == NULL)
        return FALSE;
    if (manifest->config == NULL ||
        varve_media_kind(manifest->config->media_type) != VARVE_MEDIA_CONFIG)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "Docker cannot load it: it is no image that can be run");

    json_auto_t *image = docker_image(manifest);
    json_t *listed = NULL, *item;
    gsize i;
    json_array_foreach(export->docker, i, item)
    {
        if (json_equal(json_object_get(item, "Config"), json_object_get(image, "Config")) &&
            json_equal(json_object_get(item, "Layers"), json_object_get(image, "Layers")))
            listed = item;
    }
    if (listed == NULL) {
        json_array_append(export->docker, image);
        listed = image;
    }
    g_autoptr(VarveReference) reference = varve_reference_parse(name, TRUE, NULL);
    g_autofree char *familiar = varve_image_name_familiar(name);
    if (reference != NULL && reference->tag != NULL)
        json_array_append_new(json_object_get(listed, "RepoTags"), json_string(familiar));
    return TRUE;
}

static gboolean
add_root(Export *export, const char *name, GError **error)
{
    g_autoptr(VarveImageRecord) record = varve_names_look_up(export->images, name, error);
    if (record == NULL)
        return FALSE;
    g_autoptr(VarveDescriptor) root = varve_names_target(record);
    if (!varve_lease_hold(export->lease, root->digest, error))
        return FALSE;
    if (export->platform != NULL) {
        VarveDescriptor *chosen = varve_image_choose(export->images, root, export->platform, error);
        if (chosen == NULL)
            return FALSE;
        varve_descriptor_free(root);
        root = chosen;
    }
    /* What an index that it came from said of it is not this one's. */
    g_hash_table_remove_all(root->annotations);
    g_ptr_array_add(export->roots, varve_naming_new(record->name, root));
    return list_blobs(export, root, error) && list_for_docker(export, record->name, root, error);
}

static gboolean
add_roots(Export *export, const char *const *names, GError **error)
{
    if (names == NULL || names[0] == NULL)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "no image is named");
    for (; *names != NULL; names++) {
        if (!add_root(export, *names, error)) {
            g_prefix_error(error, "image '%s': ", *names);
            return FALSE;
        }
    }
    return TRUE;
}

/* --- writing it ------------------------------------------------------------------------------- */

static gboolean
add_json(const VarveExportWriter *writer, const char *path, const json_t *value, GError **error)
{
    char *text = json_dumps(value, JSON_COMPACT);
    gboolean ok = writer->add_text(writer->self, path, text, strlen(text), error);
    free(text);
    return ok;
}

static gboolean
add_index(Export *export, const VarveExportWriter *writer, GError **error)
{
    json_auto_t *index = json_object();
    json_t *manifests = json_array();
    for (guint i = 0; i < export->roots->len; i++) {
        const VarveNaming *naming = g_ptr_array_index(export->roots, i);
        g_autoptr(VarveReference) reference = varve_reference_parse(naming->name, TRUE, NULL);
        GHashTable *annotations = naming->target->annotations;
        g_hash_table_replace(annotations, g_strdup(VARVE_ANNOTATION_IMAGE_NAME),
                             g_strdup(naming->name));
        if (reference != NULL && reference->tag != NULL)
            g_hash_table_replace(annotations, g_strdup(VARVE_ANNOTATION_REF_NAME),
                                 g_strdup(reference->tag));
        json_array_append_new(manifests, varve_descriptor_to_json(naming->target));
    }
    json_object_set_new(index, "schemaVersion", json_integer(2));
    json_object_set_new(index, "mediaType", json_string(VARVE_MEDIA_OCI_INDEX));
    json_object_set_new(index, "manifests", manifests);
    return add_json(writer, VARVE_LAYOUT_INDEX, index, error);
}

/* A blob that is verified once more while it is written: an archive that nobody can import is none.
 */
typedef struct {
    Export *export;
    int fd;
    guint64 left;
    VarveDigester *digester;
} Blob;

static gssize
read_blob(gpointer data, void *buffer, gsize size, GError **error)
{
    Blob *blob = data;
    Export *export = blob->export;
    const VarveTreeWatch *watch = &export->images->watch;
    if (!varve_check_cancelled(watch->cancelled, error))
        return -1;
    ssize_t n;
    do
        n = read(blob->fd, buffer, MIN(size, blob->left));
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        varve_error_set_errno(error, errno, "reading it");
        return -1;
    }
    varve_digester_update(blob->digester, buffer, (gsize)n);
    blob->left -= (guint64)n;
    export->written_bytes += (guint64)n;
    if (watch->progress != NULL)
        watch->progress("exporting", export->written_blobs, export->written_bytes,
                        watch->progress_data);
    return n;
}

static gboolean
add_blob(Export *export, const VarveExportWriter *writer, const VarveDescriptor *descriptor,
         GError **error)
{
    guint64 size;
    varve_autofd fd = varve_content_open(export->images->content, descriptor->digest, &size, error);
    if (fd < 0)
        return FALSE;
    g_autofree char *path =
        g_strconcat(VARVE_LAYOUT_BLOBS, varve_digest_hex(descriptor->digest), NULL);
    g_autoptr(VarveDigester) digester = varve_digester_new();
    Blob blob = {export, fd, size, digester};
    VarveSource source = {read_blob, &blob};
    export->written_blobs++;
    if (!writer->add_blob(writer->self, path, size, &source, error)) {
        g_prefix_error(error, "blob %s: ", descriptor->digest);
        return FALSE;
    }
    g_autofree char *actual = varve_digester_finish(digester);
    return (blob.left == 0 && g_str_equal(actual, descriptor->digest)) ||
           varve_error_set(error, VARVE_ERROR_CORRUPT, "blob %s was damaged on disk",
                           descriptor->digest);
}

/* What tells of the blobs comes before them, so that a reader knows what is ahead. */
static gboolean
write_layout(Export *export, const VarveExportWriter *writer, GError **error)
{
    if (!writer->add_text(writer->self, VARVE_LAYOUT_FILE, VARVE_LAYOUT_VERSION,
                          strlen(VARVE_LAYOUT_VERSION), error) ||
        !add_index(export, writer, error) ||
        (export->docker != NULL && !add_json(writer, "manifest.json", export->docker, error)))
        return FALSE;
    for (guint i = 0; i < export->blobs->len; i++) {
        if (!add_blob(export, writer, g_ptr_array_index(export->blobs, i), error))
            return FALSE;
    }
    return writer->finish(writer->self, error);
}

static gboolean
write_directory(Export *export, int fd, GError **error)
{
    VarveExportDirectory directory = {fd};
    VarveExportWriter writer;
    return varve_export_directory_begin(&directory, &writer, error) &&
           write_layout(export, &writer, error);
}

static gboolean
write_archive(Export *export, int fd, GError **error)
{
    VarveExportWriter writer;
    const VarveArchiveFormats *formats = varve_archive_formats(error);
    VarveExportTar *tar = formats != NULL ? formats->begin_tar(fd, &writer, error) : NULL;
    if (tar == NULL)
        return FALSE;
    gboolean ok = write_layout(export, &writer, error);
    formats->end_tar(tar);
    return ok;
}

/* --- the whole -------------------------------------------------------------------------------- */

static gboolean
run(VarveImages *images, const char *const *names, const VarvePlatform *platform,
    VarveImageFormat format, int fd, GError **error)
{
    g_autoptr(VarveLease) lease = varve_lease_new(images->content, error);
    if (lease == NULL)
        return FALSE;
    g_autoptr(GPtrArray) roots = g_ptr_array_new_with_free_func((GDestroyNotify)varve_naming_free);
    g_autoptr(GPtrArray) blobs =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_descriptor_free);
    g_autoptr(GHashTable) listed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    json_auto_t *docker = format == VARVE_EXPORT_DOCKER ? json_array() : NULL;
    Export export = {.images = images,
                     .lease = lease,
                     .platform = platform,
                     .format = format,
                     .roots = roots,
                     .blobs = blobs,
                     .listed = listed,
                     .docker = docker};
    return add_roots(&export, names, error) &&
           (format == VARVE_EXPORT_DIRECTORY ? write_directory(&export, fd, error)
                                             : write_archive(&export, fd, error));
}

gboolean
varve_images_export_fd(VarveImages *images, const char *const *names, const VarvePlatform *platform,
                       VarveImageFormat format, int fd, GError **error)
{
    if (format == VARVE_EXPORT_DIRECTORY)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "exporting: a directory cannot be written to a descriptor");
    if (run(images, names, platform, format, fd, error))
        return TRUE;
    g_prefix_error(error, "exporting: ");
    return FALSE;
}

/* --- to a path -------------------------------------------------------------------------------- */

static int
make_target(const char *path, gboolean directory, GError **error)
{
    if (directory && mkdir(path, 0755) < 0) {
        varve_error_set_errno(error, errno, "making the directory");
        return -1;
    }
    int fd = directory ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
                       : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        varve_error_set_errno(error, errno, "making it");
    return fd;
}

/* It is written beside its place and put there when it is whole; what stands there is never
 * replaced. */
static gboolean
export_beside(VarveImages *images, const char *const *names, const VarvePlatform *platform,
              VarveImageFormat format, const char *path, const char *beside, GError **error)
{
    varve_autofd fd = make_target(beside, format == VARVE_EXPORT_DIRECTORY, error);
    if (fd < 0 || !run(images, names, platform, format, fd, error))
        return FALSE;
    if (format != VARVE_EXPORT_DIRECTORY && fsync(fd) < 0)
        return varve_error_set_errno(error, errno, "syncing it");
    int rc = renameat2(AT_FDCWD, beside, AT_FDCWD, path, RENAME_NOREPLACE);
    if (rc < 0 && errno == EINVAL) /* not every file system knows how not to replace */
        rc = rename(beside, path);
    return rc == 0 || varve_error_set_errno(error, errno, "putting it in its place");
}

gboolean
varve_images_export(VarveImages *images, const char *const *names, const VarvePlatform *platform,
                    VarveImageFormat format, const char *path, GError **error)
{
    struct stat st;
    g_autofree char *random = varve_uuid_new();
    g_autofree char *normal = g_canonicalize_filename(path, NULL);
    g_autofree char *beside = g_strdup_printf("%s.%.8s.part", normal, random);
    gboolean ok = lstat(normal, &st) < 0 ||
                  varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS, "it exists already");
    if (ok) {
        ok = export_beside(images, names, platform, format, normal, beside, error);
        if (!ok) {
            GError *failure = NULL;
            if (!varve_tree_remove(AT_FDCWD, beside, NULL, &failure))
                varve_error_log_undo("removing a half-written export", failure);
        }
    }
    if (!ok)
        g_prefix_error(error, "exporting to %s: ", path);
    return ok;
}
