/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/ahead.h"
#include "base/cursor.h"
#include "base/read-ahead.h"
#include <fcntl.h>
#include <sys/stat.h>

#define MOST ((off_t)1024 * 1024) /* of one file: the kernel sees that more is read in order */

struct VarveStreamAhead {
    VarveCursor *before, *after;
    VarveChangeFunc func;
    gpointer data;
    GQueue waiting; /* VarveChange*, which own their paths */
};

VarveStreamAhead *
varve_stream_ahead_new(int before, int after, VarveChangeFunc func, gpointer data, GError **error)
{
    g_autoptr(VarveStreamAhead) ahead = g_new0(VarveStreamAhead, 1);
    g_queue_init(&ahead->waiting);
    ahead->func = func;
    ahead->data = data;
    ahead->after = varve_cursor_new(after, error);
    if (ahead->after == NULL)
        return NULL;
    if (before >= 0 && (ahead->before = varve_cursor_new(before, error)) == NULL)
        return NULL;
    return g_steal_pointer(&ahead);
}

static void
free_change(gpointer data)
{
    VarveChange *change = data;
    g_free((char *)change->path);
    g_free((char *)change->from);
    g_free(change);
}

void
varve_stream_ahead_free(VarveStreamAhead *ahead)
{
    if (ahead == NULL)
        return;
    g_queue_clear_full(&ahead->waiting, free_change);
    varve_cursor_free(ahead->before);
    varve_cursor_free(ahead->after);
    g_free(ahead);
}

/* --- reading ---------------------------------------------------------------------------------- */

static gboolean
find_file(VarveCursor *cursor, const char *path, VarveFile *file, off_t *size)
{
    gboolean there = FALSE;
    struct stat st;
    if (cursor == NULL || !varve_cursor_seek(cursor, path, file, &there, NULL) || !there ||
        file->name == NULL || fstatat(file->dirfd, file->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode))
        return FALSE;
    *size = st.st_size;
    return TRUE;
}

static void
read_content(VarveStreamAhead *ahead, const VarveChange *change)
{
    VarveFile before, after;
    off_t size, size_before;
    if (change->kind == VARVE_CHANGE_MODIFIED && (change->what & VARVE_CHANGE_CONTENT) == 0)
        return;
    if (!S_ISREG(change->mode) || !find_file(ahead->after, change->path, &after, &size))
        return;
    if (change->kind == VARVE_CHANGE_ADDED ||
        !find_file(ahead->before, change->path, &before, &size_before))
        before = (VarveFile){-1, NULL};
    varve_read_ahead(before, after, size, MOST);
}

/* --- handing on ------------------------------------------------------------------------------- */

static gboolean
hand_on(VarveStreamAhead *ahead, GError **error)
{
    VarveChange *change = g_queue_pop_head(&ahead->waiting);
    gboolean ok = ahead->func(change, ahead->data, error);
    free_change(change);
    return ok;
}

gboolean
varve_stream_ahead_add(const VarveChange *change, gpointer data, GError **error)
{
    VarveStreamAhead *ahead = data;
    VarveChange *copy = g_memdup2(change, sizeof *change);
    copy->path = g_strdup(change->path);
    copy->from = g_strdup(change->from);
    read_content(ahead, copy);
    g_queue_push_tail(&ahead->waiting, copy);
    return ahead->waiting.length <= VARVE_READ_AHEAD_FILES || hand_on(ahead, error);
}

gboolean
varve_stream_ahead_finish(VarveStreamAhead *ahead, GError **error)
{
    while (ahead->waiting.length > 0) {
        if (!hand_on(ahead, error))
            return FALSE;
    }
    return TRUE;
}
