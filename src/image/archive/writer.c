/* SPDX-License-Identifier: Apache-2.0 */
#include "image/archive/writer.h"
#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

/* The same images give the same bytes: entries have neither owners nor times. */

#define PIECE 65536

struct VarveExportTar {
    int fd;
    gboolean given_up; /* nothing is to be written any more */
    struct archive *archive;
};

static gboolean
failed(VarveExportTar *tar, GError **error)
{
    int errnum = archive_errno(tar->archive);
    if (errnum > 0)
        return varve_error_set_errno(error, errnum, "writing the archive");
    const char *why = archive_error_string(tar->archive);
    return varve_error_set(error, VARVE_ERROR_INTERNAL, "writing the archive: %s",
                           why != NULL ? why : "failed");
}

static gboolean
add_header(VarveExportTar *tar, const char *path, mode_t type, guint64 size, GError **error)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, path);
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, type == AE_IFDIR ? 0755 : 0644);
    archive_entry_set_size(entry, (la_int64_t)size);
    archive_entry_set_mtime(entry, 0, 0);
    archive_entry_set_uid(entry, 0);
    archive_entry_set_gid(entry, 0);
    int rc = archive_write_header(tar->archive, entry);
    archive_entry_free(entry);
    return rc == ARCHIVE_OK || failed(tar, error);
}

static gboolean
add_data(VarveExportTar *tar, const char *bytes, gsize size, GError **error)
{
    la_ssize_t n = archive_write_data(tar->archive, bytes, size);
    return (n >= 0 && (gsize)n == size) || failed(tar, error);
}

static gboolean
add_text(gpointer self, const char *path, const char *text, gsize size, GError **error)
{
    return add_header(self, path, AE_IFREG, size, error) && add_data(self, text, size, error);
}

static gboolean
add_blob(gpointer self, const char *path, guint64 size, const VarveSource *source, GError **error)
{
    if (!add_header(self, path, AE_IFREG, size, error))
        return FALSE;
    g_autofree char *piece = g_malloc(PIECE);
    gssize n;
    while ((n = source->read(source->data, piece, PIECE, error)) > 0) {
        if (!add_data(self, piece, (gsize)n, error))
            return FALSE;
    }
    return n == 0;
}

static gboolean
finish(gpointer self, GError **error)
{
    VarveExportTar *tar = self;
    return archive_write_close(tar->archive) == ARCHIVE_OK || failed(tar, error);
}

/* libarchive writes the end of an archive when it is closed, and that of one that was given up must
 * not look whole. */
static la_ssize_t
write_out(struct archive *archive, void *data, const void *bytes, size_t size)
{
    VarveExportTar *tar = data;
    ssize_t n = -1;
    errno = ECANCELED;
    while (!tar->given_up && (n = write(tar->fd, bytes, size)) < 0 && errno == EINTR)
        continue;
    if (n < 0)
        archive_set_error(archive, errno, "%s", g_strerror(errno));
    return n;
}

static gboolean
begin(VarveExportTar *tar, GError **error)
{
    struct archive *a = tar->archive;
    return (archive_write_set_format_pax_restricted(a) == ARCHIVE_OK &&
            archive_write_set_bytes_per_block(a, PIECE) == ARCHIVE_OK &&
            archive_write_set_bytes_in_last_block(a, 1) == ARCHIVE_OK &&
            archive_write_open(a, tar, NULL, write_out, NULL) == ARCHIVE_OK) ||
           failed(tar, error);
}

VarveExportTar *
varve_export_tar_new(int fd, VarveExportWriter *writer, GError **error)
{
    g_autoptr(VarveExportTar) tar = g_new0(VarveExportTar, 1);
    tar->fd = fd;
    tar->archive = archive_write_new();
    if (tar->archive == NULL) {
        varve_error_set_errno(error, ENOMEM, "writing the archive");
        return NULL;
    }
    *writer = (VarveExportWriter){add_text, add_blob, finish, tar};
    if (!begin(tar, error) || !add_header(tar, "blobs/", AE_IFDIR, 0, error) ||
        !add_header(tar, "blobs/sha256/", AE_IFDIR, 0, error))
        return NULL;
    return g_steal_pointer(&tar);
}

void
varve_export_tar_free(VarveExportTar *tar)
{
    if (tar == NULL)
        return;
    tar->given_up = TRUE;
    if (tar->archive != NULL)
        archive_write_free(tar->archive);
    g_free(tar);
}
