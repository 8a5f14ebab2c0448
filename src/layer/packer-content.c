/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/packer-content.h"
#include <unistd.h>

#define PIECE ((gsize)256 * 1024)

struct VarvePackerContent {
    VarveTarWriter *writer;
    const gint *cancelled;
    guint8 *bytes, *zeros; /* PIECE of each */
};

VarvePackerContent *
varve_packer_content_new(VarveTarWriter *writer, const gint *cancelled)
{
    VarvePackerContent *content = g_new0(VarvePackerContent, 1);
    content->writer = writer;
    content->cancelled = cancelled;
    content->bytes = g_malloc(PIECE);
    content->zeros = g_malloc0(PIECE);
    return content;
}

void
varve_packer_content_free(VarvePackerContent *content)
{
    g_free(content->bytes);
    g_free(content->zeros);
    g_free(content);
}

static gboolean
write_piece(VarvePackerContent *content, const guint8 *bytes, gsize size, GError **error)
{
    return varve_check_cancelled(content->cancelled, error) &&
           varve_tar_writer_write(content->writer, bytes, size, error);
}

static gboolean
write_zeros(VarvePackerContent *content, off_t size, GError **error)
{
    for (off_t left = size; left > 0; left -= (off_t)MIN((guint64)left, PIECE)) {
        if (!write_piece(content, content->zeros, (gsize)MIN((guint64)left, PIECE), error))
            return FALSE;
    }
    return TRUE;
}

/* Copies from *at to end, or as far as the file goes. */
static gboolean
copy_data(VarvePackerContent *content, int fd, off_t *at, off_t end, GError **error)
{
    while (*at < end) {
        ssize_t n = pread(fd, content->bytes, (gsize)MIN((guint64)(end - *at), PIECE), *at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return varve_error_set_errno(error, errno, "reading it");
        if (n == 0)
            return TRUE;
        if (!write_piece(content, content->bytes, (gsize)n, error))
            return FALSE;
        *at += n;
    }
    return TRUE;
}

/* Where the next data is, and where it ends; both are size when there is none. A file system that
 * knows no holes has data everywhere. */
static void
find_data(int fd, off_t at, off_t size, off_t *begin, off_t *end)
{
    *begin = lseek(fd, at, SEEK_DATA);
    if (*begin < 0)
        *begin = errno == ENXIO ? size : at;
    *begin = MIN(*begin, size);
    *end = *begin < size ? lseek(fd, *begin, SEEK_HOLE) : size;
    if (*end <= *begin || *end > size)
        *end = size;
}

/* Holes are not read. */
static gboolean
copy_sparse(VarvePackerContent *content, int fd, off_t size, GError **error)
{
    for (off_t at = 0; at < size;) {
        off_t begin, end;
        find_data(fd, at, size, &begin, &end);
        if (!write_zeros(content, begin - at, error))
            return FALSE;
        at = begin;
        if (!copy_data(content, fd, &at, end, error))
            return FALSE;
        if (at < end) /* somebody cut it off */
            return write_zeros(content, size - at, error);
    }
    return TRUE;
}

static gboolean
copy_dense(VarvePackerContent *content, int fd, off_t size, GError **error)
{
    off_t at = 0;
    return copy_data(content, fd, &at, size, error) && write_zeros(content, size - at, error);
}

static gboolean
same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

gboolean
varve_packer_content_copy(VarvePackerContent *content, int fd, const struct stat *st,
                          gboolean *quiet, GError **error)
{
    struct stat now;
    gboolean has_holes = st->st_blocks < st->st_size / 512;
    if (!(has_holes ? copy_sparse : copy_dense)(content, fd, st->st_size, error))
        return FALSE;
    if (fstat(fd, &now) < 0)
        return varve_error_set_errno(error, errno, "looking at it again");
    *quiet = now.st_size == st->st_size && same_time(&now.st_mtim, &st->st_mtim) &&
             same_time(&now.st_ctim, &st->st_ctim);
    return TRUE;
}
