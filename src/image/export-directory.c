/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "image/export.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE ((gsize)1 << 20)

static gboolean
write_all(int fd, const char *bytes, gsize size, GError **error)
{
    return varve_fd_write_all(fd, bytes, size, VARVE_FD_HERE) ||
           varve_error_set_errno(error, errno, "writing it");
}

static int
make_file(const VarveExportDirectory *directory, const char *path, GError **error)
{
    int fd =
        openat(directory->dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        varve_error_set_errno(error, errno, "making %s", path);
    return fd;
}

static gboolean
add_text(gpointer self, const char *path, const char *text, gsize size, GError **error)
{
    varve_autofd fd = make_file(self, path, error);
    return fd >= 0 && write_all(fd, text, size, error);
}

static gboolean
add_blob(gpointer self, const char *path, guint64 size, const VarveSource *source, GError **error)
{
    varve_autofd fd = make_file(self, path, error);
    if (fd < 0)
        return FALSE;
    g_autofree char *piece = g_malloc(PIECE);
    gssize n;
    while ((n = source->read(source->data, piece, PIECE, error)) > 0) {
        if (!write_all(fd, piece, (gsize)n, error))
            return FALSE;
    }
    return n == 0;
}

static gboolean
finish(gpointer self, GError **error)
{
    const VarveExportDirectory *directory = self;
    return syncfs(directory->dirfd) == 0 || varve_error_set_errno(error, errno, "syncing it");
}

gboolean
varve_export_directory_begin(VarveExportDirectory *directory, VarveExportWriter *writer,
                             GError **error)
{
    *writer = (VarveExportWriter){add_text, add_blob, finish, directory};
    if (mkdirat(directory->dirfd, "blobs", 0755) < 0 ||
        mkdirat(directory->dirfd, "blobs/sha256", 0755) < 0)
        return varve_error_set_errno(error, errno, "making the directory blobs/sha256");
    return TRUE;
}
