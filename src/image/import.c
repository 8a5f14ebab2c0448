/* SPDX-License-Identifier: Apache-2.0 */
#include "image/import.h"
#include "base/digest.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void
varve_import_note(VarveImport *import, const char *digest, guint64 size)
{
    const VarveTreeWatch *watch = &import->images->watch;
    g_ptr_array_add(import->brought, g_strdup(digest));
    import->blobs++;
    import->bytes += size;
    if (watch->progress != NULL)
        watch->progress("importing", import->blobs, import->bytes, watch->progress_data);
}

gboolean
varve_import_blob(VarveImport *import, const char *digest, gint64 size, const VarveSource *source,
                  char **stored, GError **error)
{
    g_autoptr(VarveIngest) ingest = NULL;
    g_autofree char *actual = NULL;
    guint64 length;
    if (!varve_ingest_begin(import->images->content, import->lease, digest, size,
                            &import->images->watch, &ingest, error))
        return FALSE;
    if (ingest != NULL) {
        if (!varve_ingest_restart(ingest, error) ||
            !varve_ingest_write_source(ingest, source, error) ||
            !varve_ingest_finish(ingest, &actual, &length, error)) {
            varve_ingest_discard(ingest);
            return FALSE;
        }
        varve_import_note(import, actual, length);
    }
    if (stored != NULL)
        *stored = actual != NULL ? g_steal_pointer(&actual) : g_strdup(digest);
    return TRUE;
}

typedef struct {
    const char *bytes;
    gsize size;
} Memory;

static gssize
read_memory(gpointer data, void *buffer, gsize size, GError **error)
{
    Memory *memory = data;
    gsize part = MIN(size, memory->size);
    memcpy(buffer, memory->bytes, part);
    memory->bytes += part;
    memory->size -= part;
    return (gssize)part;
}

VarveDescriptor *
varve_import_bytes(VarveImport *import, const char *media_type, const char *bytes, gsize size,
                   GError **error)
{
    Memory memory = {bytes, size};
    VarveSource source = {read_memory, &memory};
    g_autofree char *digest = varve_digest_of(bytes, size);
    if (!varve_import_blob(import, digest, (gint64)size, &source, NULL, error))
        return NULL;
    return varve_descriptor_new(media_type, digest, size);
}

gboolean
varve_import_find(VarveImport *import, const VarveDescriptor *descriptor, gboolean *present,
                  GError **error)
{
    return varve_images_hold(import->images, import->lease, descriptor, present, error);
}

/* --- completeness ----------------------------------------------------------------------------- */

/* The visitor's function, which notes what is needed. */
typedef struct {
    VarveImport *import;
    VarveImportFetch fetch;
    gpointer data;
} Noting;

static gboolean
fetch_and_note(const VarveDescriptor *descriptor, gpointer data, gboolean *present, GError **error)
{
    Noting *noting = data;
    g_hash_table_add(noting->import->needed, g_strdup(descriptor->digest));
    return noting->fetch(descriptor, noting->data, present, error);
}

static gboolean
complete_one(VarveImport *import, const VarveNaming *naming, const VarveClosureVisitor *visitor,
             GError **error)
{
    g_auto(VarveClosure) closure = {0};
    if (!varve_closure_walk(import->images->content, naming->target, visitor, &closure, error))
        return FALSE;
    if (closure.complete && closure.missing == NULL)
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_CORRUPT, "blob %s is missing in it",
                           closure.missing != NULL ? closure.missing : naming->target->digest);
}

gboolean
varve_import_complete(VarveImport *import, GPtrArray *namings, VarveImportFetch fetch,
                      gpointer data, GError **error)
{
    Noting noting = {import, fetch, data};
    const VarveClosureVisitor visitor = {.blob = fetch_and_note, .data = &noting};
    for (guint i = 0; i < namings->len; i++) {
        const VarveNaming *naming = g_ptr_array_index(namings, i);
        if (!complete_one(import, naming, &visitor, error)) {
            g_prefix_error(error, "image '%s': ", naming->name);
            return FALSE;
        }
    }
    return TRUE;
}

/* --- the whole -------------------------------------------------------------------------------- */

static GPtrArray *
describe(VarveImages *images, GPtrArray *namings, GError **error)
{
    g_autoptr(GPtrArray) infos =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_image_info_free);
    for (guint i = 0; i < namings->len; i++) {
        const VarveNaming *naming = g_ptr_array_index(namings, i);
        VarveImageInfo *info = varve_images_find(images, naming->name, error);
        if (info == NULL)
            return NULL;
        g_ptr_array_add(infos, info);
    }
    return g_steal_pointer(&infos);
}

static GPtrArray *
run(VarveImport *import, int fd, GError **error)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        varve_error_set_errno(error, errno, "looking at it");
        return NULL;
    }
    g_autoptr(GPtrArray) namings = S_ISDIR(st.st_mode) ? varve_import_directory(import, fd, error)
                                                       : varve_import_archive(import, fd, error);
    if (namings == NULL || !varve_names_publish(import->images, namings, error))
        return NULL;
    return describe(import->images, namings, error);
}

static gboolean
is_needed(VarveImport *import, guint i)
{
    return g_hash_table_contains(import->needed, g_ptr_array_index(import->brought, i));
}

/* Drops what was brought in vain: all, if it failed. After the lease is given up, which held it. */
static void
drop(VarveImport *import, gboolean failed)
{
    for (guint i = import->brought->len; i-- > 0;) {
        if (!failed && is_needed(import, i))
            g_ptr_array_remove_index_fast(import->brought, i);
    }
    varve_images_drop(import->images, import->brought);
}

GPtrArray *
varve_images_import_fd(VarveImages *images, int fd, const VarveImageImport *options, GError **error)
{
    VarveImport import = {.images = images, .options = options};
    import.lease = varve_lease_new(images->content, error);
    if (import.lease == NULL)
        return NULL;
    import.brought = g_ptr_array_new_with_free_func(g_free);
    import.needed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    GPtrArray *infos = run(&import, fd, error);
    varve_lease_free(import.lease);
    drop(&import, infos == NULL);
    g_hash_table_unref(import.needed);
    g_ptr_array_unref(import.brought);
    return infos;
}

GPtrArray *
varve_images_import(VarveImages *images, const char *path, const VarveImageImport *options,
                    GError **error)
{
    GPtrArray *infos = NULL;
    varve_autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        varve_error_set_errno(error, errno, "opening it");
    else
        infos = varve_images_import_fd(images, fd, options, error);
    if (infos == NULL)
        g_prefix_error(error, "importing %s: ", path);
    return infos;
}
