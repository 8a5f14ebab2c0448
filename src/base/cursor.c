/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cursor.h"
#include "base/dirstack.h"
#include <string.h>

struct VarveCursor {
    VarveDirstack *stack;
    GString *path;   /* of the directory that it is in; empty for the root */
    GArray *lengths; /* of the paths of the directories above that one */
};

VarveCursor *
varve_cursor_new(int dirfd, GError **error)
{
    int fd = varve_fd_open_dir(dirfd, ".", error);
    if (fd < 0)
        return NULL;
    VarveCursor *cursor = g_new0(VarveCursor, 1);
    cursor->stack = varve_dirstack_new(fd);
    cursor->path = g_string_new(NULL);
    cursor->lengths = g_array_new(FALSE, FALSE, sizeof(gsize));
    return cursor;
}

void
varve_cursor_free(VarveCursor *cursor)
{
    if (cursor == NULL)
        return;
    varve_dirstack_free(cursor->stack);
    g_string_free(cursor->path, TRUE);
    g_array_unref(cursor->lengths);
    g_free(cursor);
}

/* Whether the directory that it is in is the one of that path, or above it. */
static gboolean
is_on_the_way(const VarveCursor *cursor, const char *dir, gsize length)
{
    gsize mine = cursor->path->len;
    return mine <= length && memcmp(cursor->path->str, dir, mine) == 0 &&
           (mine == length || dir[mine] == '/');
}

static gboolean
leave(VarveCursor *cursor, GError **error)
{
    guint last = cursor->lengths->len - 1;
    if (!varve_dirstack_pop(cursor->stack, error))
        return FALSE;
    g_string_truncate(cursor->path, g_array_index(cursor->lengths, gsize, last));
    g_array_set_size(cursor->lengths, last);
    return TRUE;
}

static int
enter(VarveCursor *cursor, const char *name)
{
    int failed = varve_dirstack_push(cursor->stack, name);
    if (failed != 0)
        return failed;
    g_array_append_val(cursor->lengths, cursor->path->len);
    g_string_append_c(cursor->path, '/');
    g_string_append(cursor->path, name);
    return 0;
}

gboolean
varve_cursor_seek(VarveCursor *cursor, const char *path, VarveFile *file, gboolean *there,
                  GError **error)
{
    const char *slash = strrchr(path, '/');
    gsize length = (gsize)(slash - path);
    *there = FALSE;
    while (!is_on_the_way(cursor, path, length)) {
        if (!leave(cursor, error))
            return FALSE;
    }
    while (cursor->path->len < length) {
        const char *begin = path + cursor->path->len + 1;
        g_autofree char *name = g_strndup(begin, strcspn(begin, "/"));
        int failed = enter(cursor, name);
        if (failed == ENOENT || failed == ENOTDIR || failed == ELOOP || failed == EXDEV)
            return TRUE;
        if (failed != 0)
            return varve_error_set_errno(error, failed, "opening the directory '%.255s'", name);
    }
    *there = TRUE;
    *file = (VarveFile){varve_dirstack_top(cursor->stack), slash[1] != '\0' ? slash + 1 : NULL};
    return TRUE;
}
