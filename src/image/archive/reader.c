/* SPDX-License-Identifier: Apache-2.0 */
#include "image/archive/reader.h"
#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_ENTRIES 262144
#define BLOCK       ((size_t)1 << 20) /* read at once */

struct VarveArchive {
    struct archive *archive;
    guint64 entries;
    char *path, *target;
    const char *block; /* what is left of the last piece of content that was read */
    gsize left;
};

/* --- entries ---------------------------------------------------------------------------------- */

/* libarchive's error; it gives an errno value for some, and its own number, -1, for others. */
static gboolean
failed(VarveArchive *archive, const char *doing, GError **error)
{
    int errnum = archive_errno(archive->archive);
    const char *why = archive_error_string(archive->archive);
    if (errnum == EIO || errnum == EISDIR || errnum == EBADF || errnum == ENOMEM)
        return varve_error_set_errno(error, errnum, "%s", doing);
    VarveErrorCode code =
        archive->entries == 0 ? VARVE_ERROR_INVALID_ARGUMENT : VARVE_ERROR_CORRUPT;
    return varve_error_set(error, code, "%s: %s", doing, why != NULL ? why : "it is damaged");
}

VarveArchive *
varve_archive_open(int fd, GError **error)
{
    g_autoptr(VarveArchive) archive = g_new0(VarveArchive, 1);
    struct archive *a = archive->archive = archive_read_new();
    if (a == NULL) {
        varve_error_set_errno(error, ENOMEM, "reading the archive");
        return NULL;
    }
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_bzip2(a);
    archive_read_support_format_tar(a);
    if (archive_read_open_fd(a, fd, BLOCK) != ARCHIVE_OK) {
        failed(archive, "opening the archive", error);
        return NULL;
    }
    return g_steal_pointer(&archive);
}

void
varve_archive_free(VarveArchive *archive)
{
    if (archive == NULL)
        return;
    if (archive->archive != NULL)
        archive_read_free(archive->archive);
    g_free(archive->path);
    g_free(archive->target);
    g_free(archive);
}

static gboolean
take_link(VarveArchive *archive, struct archive_entry *e, gboolean *is_link, GError **error)
{
    const char *hard = archive_entry_hardlink(e);
    const char *symbolic = archive_entry_symlink(e);
    *is_link = hard != NULL || symbolic != NULL;
    if (hard != NULL)
        archive->target = varve_archive_path(hard, NULL, error);
    else if (symbolic != NULL)
        archive->target = varve_archive_path(symbolic, archive->path, error);
    return !*is_link || archive->target != NULL;
}

/* Whether it is a file or a link (*wanted), or a directory, which says nothing. */
static gboolean
take_entry(VarveArchive *archive, struct archive_entry *e, gboolean *wanted, GError **error)
{
    const char *raw = archive_entry_pathname(e);
    *wanted = FALSE;
    if (raw == NULL)
        return varve_archive_refuse(error, "", "has a name that cannot be read");
    g_free(archive->path);
    g_clear_pointer(&archive->target, g_free);
    archive->path = varve_archive_path(raw, NULL, error);
    if (archive->path == NULL || !take_link(archive, e, wanted, error))
        return FALSE;
    mode_t type = archive_entry_filetype(e);
    if (*wanted || type == AE_IFDIR)
        return TRUE;
    if (type != AE_IFREG)
        return varve_archive_refuse(error, raw, "is neither a file, a directory nor a link");
    if (archive_entry_sparse_count(e) > 0)
        return varve_archive_refuse(error, raw, "is a sparse file");
    *wanted = TRUE;
    return TRUE;
}

gboolean
varve_archive_next(VarveArchive *archive, VarveArchiveEntry *entry, gboolean *end, GError **error)
{
    gboolean wanted = FALSE;
    archive->left = 0;
    while (!wanted) {
        struct archive_entry *e;
        int rc = archive_read_next_header(archive->archive, &e);
        *end = rc == ARCHIVE_EOF;
        if (*end)
            return archive->entries > 0 ||
                   varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "the archive is empty");
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
            return failed(archive, "reading the archive", error);
        if (++archive->entries > MAX_ENTRIES)
            return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                                   "the archive has more than %d entries", MAX_ENTRIES);
        if (!take_entry(archive, e, &wanted, error))
            return FALSE;
        *entry = (VarveArchiveEntry){archive->path, archive->target,
                                     (guint64)MAX(archive_entry_size(e), 0)};
    }
    return TRUE;
}

/* --- content ---------------------------------------------------------------------------------- */

static gssize
read_content(gpointer data, void *buffer, gsize size, GError **error)
{
    VarveArchive *archive = data;
    const void *block;
    la_int64_t offset;
    while (archive->left == 0) {
        int rc = archive_read_data_block(archive->archive, &block, &archive->left, &offset);
        if (rc == ARCHIVE_EOF)
            return 0;
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN) {
            failed(archive, "reading the archive", error);
            return -1;
        }
        archive->block = block;
    }
    gsize part = MIN(size, archive->left);
    memcpy(buffer, archive->block, part);
    archive->block += part;
    archive->left -= part;
    return (gssize)part;
}

VarveSource
varve_archive_source(VarveArchive *archive)
{
    return (VarveSource){read_content, archive};
}

char *
varve_archive_read(VarveArchive *archive, const VarveArchiveEntry *entry, gsize max_size,
                   GError **error)
{
    if (entry->size > max_size) {
        varve_archive_refuse(error, entry->path, "is larger than such a file may be");
        return NULL;
    }
    g_autofree char *text = g_malloc0(entry->size + 1);
    for (gsize done = 0; done < entry->size;) {
        gssize n = read_content(archive, text + done, entry->size - done, error);
        if (n < 0)
            return NULL;
        if (n == 0) {
            varve_error_set(error, VARVE_ERROR_CORRUPT, "the archive's file %s is cut short",
                            entry->path);
            return NULL;
        }
        done += (gsize)n;
    }
    return g_steal_pointer(&text);
}
