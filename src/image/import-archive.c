/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "image/archive/formats.h"
#include "image/docker-archive.h"
#include "image/import.h"
#include <string.h>

/*
 * Importing from a tar, in one pass: what every path leads to is known only when the last entry was
 * read. So each file that may be a blob is stored as one; that of a blob's path in an OCI layout
 * must have the digest that the path says.
 */

#define MAX_LINKS 16 /* from link to link */

typedef struct {
    VarveImport *import;
    const VarveArchiveFormats *formats;
    VarveArchive *archive;
    GHashTable *files;              /* path -> digest */
    GHashTable *links;              /* path -> path */
    char *version, *index, *docker; /* the files that tell what is in it, or NULL */
    gsize version_size, index_size, docker_size;
} Reader;

static void
reader_clear(Reader *reader)
{
    reader->formats->close(reader->archive);
    g_clear_pointer(&reader->files, g_hash_table_unref);
    g_clear_pointer(&reader->links, g_hash_table_unref);
    g_free(reader->version);
    g_free(reader->index);
    g_free(reader->docker);
}

/* --- reading the archive ---------------------------------------------------------------------- */

/* The digest that a path of an OCI layout says, or NULL. */
static char *
digest_in_path(const char *path)
{
    if (!g_str_has_prefix(path, VARVE_LAYOUT_BLOBS))
        return NULL;
    char *digest = g_strconcat(VARVE_DIGEST_PREFIX, path + strlen(VARVE_LAYOUT_BLOBS), NULL);
    if (varve_digest_check(digest, NULL))
        return digest;
    g_free(digest);
    return NULL;
}

/* What Docker's archives hold for versions of Docker before 1.10. */
static gboolean
is_superfluous(const char *path)
{
    return g_str_equal(path, "repositories") || g_str_has_suffix(path, "/VERSION") ||
           g_str_has_suffix(path, "/json");
}

static gboolean
store_file(Reader *reader, const VarveArchiveEntry *entry, GError **error)
{
    VarveSource source = reader->formats->source(reader->archive);
    g_autofree char *digest = digest_in_path(entry->path);
    char *stored = NULL;
    if (is_superfluous(entry->path))
        return TRUE;
    if (!varve_import_blob(reader->import, digest, (gint64)entry->size, &source, &stored, error)) {
        g_prefix_error(error, "the archive's file '%s': ", entry->path);
        return FALSE;
    }
    g_hash_table_replace(reader->files, g_strdup(entry->path), stored);
    g_hash_table_remove(reader->links, entry->path);
    return TRUE;
}

/* One of the files that tell what is in the archive. Twice would be two archives in one, of which
 * every reader believes another. */
static gboolean
keep_text(Reader *reader, const VarveArchiveEntry *entry, gsize max, char **text, gsize *size,
          GError **error)
{
    if (*text != NULL)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "the archive has two files %s",
                               entry->path);
    *text = reader->formats->read(reader->archive, entry, max, error);
    *size = (gsize)entry->size;
    return *text != NULL;
}

static gboolean
take_entry(Reader *reader, const VarveArchiveEntry *entry, GError **error)
{
    if (entry->target != NULL) {
        g_hash_table_replace(reader->links, g_strdup(entry->path), g_strdup(entry->target));
        g_hash_table_remove(reader->files, entry->path);
        return TRUE;
    }
    if (g_str_equal(entry->path, VARVE_LAYOUT_FILE))
        return keep_text(reader, entry, VARVE_LAYOUT_MAX, &reader->version, &reader->version_size,
                         error);
    if (g_str_equal(entry->path, VARVE_LAYOUT_INDEX))
        return keep_text(reader, entry, VARVE_MAX_MANIFEST, &reader->index, &reader->index_size,
                         error);
    if (g_str_equal(entry->path, VARVE_DOCKER_MANIFEST))
        return keep_text(reader, entry, VARVE_DOCKER_MAX, &reader->docker, &reader->docker_size,
                         error);
    return store_file(reader, entry, error);
}

static gboolean
read_all(Reader *reader, GError **error)
{
    VarveArchiveEntry entry;
    gboolean end = FALSE;
    while (reader->formats->next(reader->archive, &entry, &end, error)) {
        if (end)
            return TRUE;
        if (!varve_check_cancelled(reader->import->images->watch.cancelled, error) ||
            !take_entry(reader, &entry, error))
            return FALSE;
    }
    return FALSE;
}

/* --- finding out what is in it ---------------------------------------------------------------- */

/* For docker-archive.c, whose paths are looked at as strictly as those of entries. */
static const char *
resolve(const char *path, gpointer data, GError **error)
{
    Reader *reader = data;
    g_autofree char *normal = varve_archive_path(path, NULL, error);
    if (normal == NULL)
        return NULL;
    const char *at = normal;
    for (int i = 0; i <= MAX_LINKS && at != NULL; i++) {
        const char *digest = g_hash_table_lookup(reader->files, at);
        if (digest != NULL)
            return digest;
        at = g_hash_table_lookup(reader->links, at);
    }
    varve_error_set(error, VARVE_ERROR_CORRUPT, "the archive has no file '%s'%s", normal,
                    at != NULL ? ", only links that lead to no end" : "");
    return NULL;
}

static gboolean
find_stored(const VarveDescriptor *descriptor, gpointer data, gboolean *present, GError **error)
{
    return varve_import_find(((Reader *)data)->import, descriptor, present, error);
}

/* Newer archives of Docker's are OCI layouts as well, and then say more. */
static GPtrArray *
read_offers(Reader *reader, GError **error)
{
    if (reader->version != NULL && reader->index != NULL)
        return varve_layout_check_version(reader->version, reader->version_size, error)
                   ? varve_layout_parse_index(reader->index, reader->index_size, error)
                   : NULL;
    if (reader->docker != NULL)
        return varve_docker_parse(reader->import, reader->docker, reader->docker_size, resolve,
                                  reader, error);
    varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                    "it is no image archive: it has neither " VARVE_LAYOUT_FILE
                    " and " VARVE_LAYOUT_INDEX ", as OCI's have, nor " VARVE_DOCKER_MANIFEST
                    ", as Docker's have");
    return NULL;
}

static GPtrArray *
run(Reader *reader, GError **error)
{
    if (!read_all(reader, error))
        return NULL;
    g_autoptr(GPtrArray) offers = read_offers(reader, error);
    if (offers == NULL)
        return NULL;
    g_autoptr(GPtrArray) namings = varve_layout_choose(offers, reader->import->options, error);
    if (namings == NULL ||
        !varve_import_complete(reader->import, namings, find_stored, reader, error))
        return NULL;
    return g_steal_pointer(&namings);
}

GPtrArray *
varve_import_archive(VarveImport *import, int fd, GError **error)
{
    Reader reader = {.import = import, .formats = varve_archive_formats(error)};
    if (reader.formats == NULL)
        return NULL;
    reader.archive = reader.formats->open(fd, error);
    if (reader.archive == NULL)
        return NULL;
    reader.files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    reader.links = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    GPtrArray *namings = run(&reader, error);
    reader_clear(&reader);
    return namings;
}
