/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/tree.h"
#include "base/dirstack.h"
#include "volume/stream/path.h"
#include <string.h>

typedef struct {
    gsize length;    /* of the path of the directory above */
    gboolean settle; /* it gets these times when it is left */
    struct timespec times[2];
} Level;

struct VarveStreamTree {
    VarveDirstack *stack;
    GString *path;  /* of the directory that it is in; empty for the root */
    GArray *levels; /* of Level, the root's first */
};

VarveStreamTree *
varve_stream_tree_new(int root, GError **error)
{
    int fd = varve_fd_open_dir(root, ".", error);
    if (fd < 0)
        return NULL;
    VarveStreamTree *tree = g_new0(VarveStreamTree, 1);
    tree->stack = varve_dirstack_new(fd);
    tree->path = g_string_new(NULL);
    tree->levels = g_array_new(FALSE, TRUE, sizeof(Level));
    g_array_set_size(tree->levels, 1);
    return tree;
}

void
varve_stream_tree_free(VarveStreamTree *tree)
{
    if (tree == NULL)
        return;
    varve_dirstack_free(tree->stack);
    g_string_free(tree->path, TRUE);
    g_array_unref(tree->levels);
    g_free(tree);
}

static Level *
level(VarveStreamTree *tree)
{
    return &g_array_index(tree->levels, Level, tree->levels->len - 1);
}

static gboolean
settle(VarveStreamTree *tree, GError **error)
{
    const Level *last = level(tree);
    return !last->settle || futimens(varve_dirstack_top(tree->stack), last->times) == 0 ||
           varve_error_set_errno(error, errno, "setting the times of a directory");
}

static gboolean
leave(VarveStreamTree *tree, GError **error)
{
    if (!settle(tree, error) || !varve_dirstack_pop(tree->stack, error))
        return FALSE;
    g_string_truncate(tree->path, level(tree)->length);
    g_array_set_size(tree->levels, tree->levels->len - 1);
    return TRUE;
}

static int
enter(VarveStreamTree *tree, const char *name)
{
    int failed = varve_dirstack_push(tree->stack, name);
    if (failed != 0)
        return failed;
    const Level entered = {.length = tree->path->len};
    g_array_append_val(tree->levels, entered);
    g_string_append_c(tree->path, '/');
    g_string_append(tree->path, name);
    return 0;
}

static gboolean
is_on_the_way(const VarveStreamTree *tree, const char *directory)
{
    return tree->path->len == 0 || varve_stream_path_is_within(directory, tree->path->str);
}

static gboolean
enter_path(VarveStreamTree *tree, const char *directory, GError **error)
{
    gsize length = strlen(directory);
    while (tree->path->len < length) {
        const char *begin = directory + tree->path->len + 1;
        g_autofree char *name = g_strndup(begin, strcspn(begin, "/"));
        int failed = enter(tree, name);
        if (failed == ENOENT || failed == ENOTDIR || failed == ELOOP || failed == EXDEV)
            return varve_error_set(error, VARVE_ERROR_CORRUPT,
                                   "the stream does not fit what is there: no directory is above");
        if (failed != 0)
            return varve_error_set_errno(error, failed, "opening a directory above");
    }
    return TRUE;
}

gboolean
varve_stream_tree_seek(VarveStreamTree *tree, const char *path, VarveFile *file, GError **error)
{
    const char *slash = strrchr(path, '/');
    g_autofree char *directory = g_strndup(path, (gsize)(slash - path));
    while (!is_on_the_way(tree, directory)) {
        if (!leave(tree, error))
            return FALSE;
    }
    if (!enter_path(tree, directory, error))
        return FALSE;
    *file = (VarveFile){varve_dirstack_top(tree->stack), slash[1] != '\0' ? slash + 1 : NULL};
    return TRUE;
}

gboolean
varve_stream_tree_touch(VarveStreamTree *tree, GError **error)
{
    Level *last = level(tree);
    struct stat st;
    if (last->settle)
        return TRUE;
    if (fstat(varve_dirstack_top(tree->stack), &st) < 0)
        return varve_error_set_errno(error, errno, "looking at its directory");
    *last = (Level){last->length, TRUE, {st.st_atim, st.st_mtim}};
    return TRUE;
}

gboolean
varve_stream_tree_enter(VarveStreamTree *tree, const char *name, const struct timespec times[2],
                        int *fd, GError **error)
{
    int failed = name != NULL ? enter(tree, name) : 0;
    if (failed != 0)
        return varve_error_set_errno(error, failed, "opening the directory");
    Level *last = level(tree);
    *last = (Level){last->length, TRUE, {times[0], times[1]}};
    *fd = varve_dirstack_top(tree->stack);
    return TRUE;
}

gboolean
varve_stream_tree_finish(VarveStreamTree *tree, GError **error)
{
    while (tree->levels->len > 1) {
        if (!leave(tree, error))
            return FALSE;
    }
    return settle(tree, error);
}
