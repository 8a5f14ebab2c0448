/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/content.h"
#include "base/fd.h"
#include "base/shared-extents.h"
#include "volume/stream/records.h"
#include <string.h>
#include <unistd.h>

#define PIECE VARVE_RECORD_DATA_MAX
#define BLOCK ((gsize)4096) /* that is sent if anything in it differs */

void
varve_stream_content_init(VarveStreamContent *content, const VarveSink *sink, const gint *cancelled)
{
    *content = (VarveStreamContent){
        .sink = sink,
        .cancelled = cancelled,
        .bytes = g_malloc(PIECE),
        .old = g_malloc(PIECE),
    };
}

void
varve_stream_content_clear(VarveStreamContent *content)
{
    g_clear_pointer(&content->bytes, g_free);
    g_clear_pointer(&content->old, g_free);
}

/* --- holes ------------------------------------------------------------------------------------ */

/* A file, as runs of data and holes that follow each other; beyond its end is a hole. */
typedef struct {
    int fd;
    off_t size;
    off_t end; /* of the run that was looked at last */
    gboolean data;
} Runs;

/* A file system that knows no holes has data everywhere. */
static void
look(Runs *runs, off_t at)
{
    if (at < runs->end)
        return;
    off_t data = at < runs->size ? lseek(runs->fd, at, SEEK_DATA) : -1;
    if (at < runs->size && data < 0 && errno != ENXIO)
        data = at;
    runs->data = data == at;
    if (!runs->data) {
        runs->end = data >= 0 && data < runs->size ? data : G_MAXINT64;
        return;
    }
    off_t hole = lseek(runs->fd, at, SEEK_HOLE);
    runs->end = hole > at && hole < runs->size ? hole : runs->size;
}

/* --- bytes ------------------------------------------------------------------------------------ */

static gboolean
read_piece(int fd, guint8 *bytes, gsize size, off_t at, GError **error)
{
    gssize n = varve_fd_read_all(fd, bytes, size, at);
    return n == (gssize)size || varve_error_set_errno(error, n < 0 ? errno : EIO, "reading it");
}

/* The end of the run of blocks, from at on, that differ or do not. */
static gsize
run_of_blocks(const VarveStreamContent *content, gsize at, gsize size, gboolean *differs)
{
    gsize end = at;
    do {
        gsize n = MIN(BLOCK, size - end);
        gboolean other = memcmp(content->bytes + end, content->old + end, n) != 0;
        if (end == at)
            *differs = other;
        else if (other != *differs)
            break;
        end += n;
    } while (end < size);
    return end;
}

static gboolean
tell_difference(VarveStreamContent *content, off_t at, gsize size, GError **error)
{
    for (gsize begin = 0, end; begin < size; begin = end) {
        gboolean differs = FALSE;
        end = run_of_blocks(content, begin, size, &differs);
        if (differs && !varve_record_write_data(content->sink, (guint64)at + begin,
                                                content->bytes + begin, end - begin, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
tell_data(VarveStreamContent *content, const Runs *file, const Runs *before, off_t at, gsize size,
          GError **error)
{
    if (!read_piece(file->fd, content->bytes, size, at, error))
        return FALSE;
    if (!before->data)
        return varve_record_write_data(content->sink, (guint64)at, content->bytes, size, error);
    return read_piece(before->fd, content->old, size, at, error) &&
           tell_difference(content, at, size, error);
}

/* Whether both are known to have the same bytes from at to *end, which is taken back to where that
 * changes. */
static gboolean
is_same(VarveSharedExtents *shared, off_t at, off_t *end)
{
    off_t known;
    if (shared == NULL)
        return FALSE;
    gboolean same = varve_shared_extents_same(shared, at, &known);
    *end = MIN(*end, known);
    return same;
}

gboolean
varve_stream_content_tell(VarveStreamContent *content, int file, off_t size, int before,
                          off_t size_before, GError **error)
{
    Runs new = {.fd = file, .size = size};
    Runs old = {.fd = before, .size = before >= 0 ? size_before : 0};
    g_autoptr(VarveSharedExtents) shared =
        varve_shared_extents_new(before, file, MIN(size, old.size));
    for (off_t at = 0, end; at < size; at = end) {
        look(&new, at);
        look(&old, at);
        end = MIN(MIN(new.end, old.end), size);
        gboolean ok = TRUE, both = new.data &&old.data;
        if (both && is_same(shared, at, &end))
            continue;
        if (new.data)
            end = MIN(end, at + (off_t)PIECE);
        if (new.data)
            ok = tell_data(content, &new, &old, at, (gsize)(end - at), error);
        else if (old.data)
            ok = varve_record_write_hole(content->sink, (guint64)at, (guint64)(end - at), error);
        if (!ok || !varve_check_cancelled(content->cancelled, error))
            return FALSE;
    }
    return TRUE;
}

/* --- files that were written anew ------------------------------------------------------------- */

gboolean
varve_stream_content_is_other(VarveStreamContent *content, int file, off_t size, int before,
                              off_t size_before, gboolean *other, GError **error)
{
    gboolean differs = FALSE;
    *other = FALSE;
    if (size == 0 || size > (off_t)PIECE || size_before < size)
        return TRUE;
    g_autoptr(VarveSharedExtents) shared =
        varve_shared_extents_new(before, file, MIN(size, size_before));
    if (shared != NULL && varve_shared_extents_any(shared, size))
        return TRUE;
    if (!read_piece(file, content->bytes, (gsize)size, 0, error) ||
        !read_piece(before, content->old, (gsize)size, 0, error))
        return FALSE;
    *other = run_of_blocks(content, 0, (gsize)size, &differs) == (gsize)size && differs;
    return TRUE;
}
