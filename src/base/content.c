/* SPDX-License-Identifier: Apache-2.0 */
#include "base/content.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define RANGE_SIZE  ((size_t)16 * 1024 * 1024) /* bytes between two looks at whether to go on */
#define BUFFER_SIZE ((size_t)256 * 1024)

struct VarveContent {
    VarveContentFunc func;
    gpointer data;
    gboolean no_clone, no_range; /* what was found not to work */
    char *buffer;                /* for reading and writing, once that is needed */
};

VarveContent *
varve_content_new(VarveContentFunc func, gpointer data)
{
    VarveContent *content = g_new0(VarveContent, 1);
    content->func = func;
    content->data = data;
    return content;
}

void
varve_content_free(VarveContent *content)
{
    if (content == NULL)
        return;
    g_free(content->buffer);
    g_free(content);
}

/* Whether these file systems will never do it, as against not doing it for this file. */
static gboolean
is_lasting(int errnum)
{
    return errnum == EOPNOTSUPP || errnum == EXDEV || errnum == ENOTTY || errnum == ENOSYS;
}

static gboolean
share_blocks(VarveContent *content, int src, int dst)
{
    if (content->no_clone)
        return FALSE;
    if (ioctl(dst, FICLONE, src) == 0)
        return TRUE;
    content->no_clone = is_lasting(errno);
    return FALSE;
}

/* Copies up to size bytes at an offset; returns how many, 0 at the end of src, -1 with errno. */
static ssize_t
copy_by_buffer(VarveContent *content, int src, int dst, off_t offset, size_t size)
{
    if (content->buffer == NULL)
        content->buffer = g_malloc(BUFFER_SIZE);
    ssize_t got = pread(src, content->buffer, MIN(size, BUFFER_SIZE), offset);
    for (ssize_t put = 0, n; put < got; put += n) {
        n = pwrite(dst, content->buffer + put, (size_t)(got - put), offset + put);
        if (n < 0)
            return -1;
    }
    return got;
}

static ssize_t
copy_some(VarveContent *content, int src, int dst, off_t offset, size_t size)
{
    if (!content->no_range) {
        off_t from = offset, to = offset;
        ssize_t n = copy_file_range(src, &from, dst, &to, MIN(size, RANGE_SIZE), 0);
        if (n >= 0 || !(is_lasting(errno) || errno == EINVAL))
            return n;
        content->no_range = TRUE;
    }
    return copy_by_buffer(content, src, dst, offset, size);
}

static gboolean
copy_extent(VarveContent *content, int src, int dst, off_t offset, off_t end, GError **error)
{
    while (offset < end) {
        ssize_t n = copy_some(content, src, dst, offset, (size_t)(end - offset));
        if (n < 0)
            return varve_error_set_errno(error, errno, "copying its content");
        if (n == 0)
            return TRUE; /* it was cut short meanwhile */
        if (!content->func((guint64)n, content->data, error))
            return FALSE;
        offset += n;
    }
    return TRUE;
}

static gboolean
copy_extents(VarveContent *content, int src, int dst, off_t size, GError **error)
{
    off_t end = 0;
    while (end < size) {
        off_t start = lseek(src, end, SEEK_DATA);
        if (start < 0 && errno == ENXIO)
            break; /* only a hole is left */
        end = start < 0 ? -1 : lseek(src, start, SEEK_HOLE);
        if (end < 0)
            return varve_error_set_errno(error, errno, "looking for holes in it");
        if (!copy_extent(content, src, dst, start, MIN(end, size), error))
            return FALSE;
    }
    /* The size is right already unless a hole is at the end. */
    return end >= size || ftruncate(dst, size) == 0 ||
           varve_error_set_errno(error, errno, "setting its size");
}

gboolean
varve_content_copy(VarveContent *content, int src, int dst, off_t size, GError **error)
{
    if (size == 0)
        return TRUE;
    if (share_blocks(content, src, dst))
        return content->func((guint64)size, content->data, error);
    return copy_extents(content, src, dst, size, error);
}
