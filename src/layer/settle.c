/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/settle.h"
#include "base/fd.h"
#include "base/tree.h"
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct VarveUnsettled {
    GHashTable *paths; /* of char* */
    gboolean gave_up;
};

VarveUnsettled *
varve_unsettled_new(void)
{
    VarveUnsettled *unsettled = g_new0(VarveUnsettled, 1);
    unsettled->paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    varve_unsettled_note(unsettled, "");
    return unsettled;
}

void
varve_unsettled_free(VarveUnsettled *unsettled)
{
    if (unsettled == NULL)
        return;
    g_hash_table_unref(unsettled->paths);
    g_free(unsettled);
}

void
varve_unsettled_note(VarveUnsettled *unsettled, const char *path)
{
    g_hash_table_add(unsettled->paths, g_strdup(path));
}

void
varve_unsettled_forget(VarveUnsettled *unsettled, const char *path)
{
    g_hash_table_remove(unsettled->paths, path);
}

gboolean
varve_unsettled_give_up(VarveUnsettled *unsettled, GError **error)
{
    unsettled->gave_up = TRUE;
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "the layers below are not there yet");
}

gboolean
varve_unsettled_gave_up(const VarveUnsettled *unsettled)
{
    return unsettled->gave_up;
}

/* --- settling -------------------------------------------------------------------------------- */

/* -1 where that is no directory, or not to be reached without a symbolic link. */
static int
open_directory(int root, const char *path)
{
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    return (int)syscall(SYS_openat2, root, *path == '\0' ? "." : path, &how, sizeof how);
}

static gboolean
is_absent(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP;
}

/* What is below at the path of a directory that was not in the layer; 0: nothing that would show
 * there. */
static gboolean
look_below(int parent, const char *path, mode_t *type, GError **error)
{
    const char *slash = strrchr(path, '/');
    g_autofree char *directory = slash == NULL ? g_strdup("") : g_strndup(path, slash - path);
    const char *name = *path == '\0' ? "." : slash == NULL ? path : slash + 1;
    *type = 0;
    varve_autofd fd = open_directory(parent, directory);
    struct stat st;
    if (fd >= 0 && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        *type = st.st_mode & S_IFMT;
    else if (!is_absent(errno))
        return varve_error_set_errno(error, errno, "looking at it in the layers below");
    return TRUE;
}

static gboolean
settle_one(int root, int parent, const char *path, gboolean *settled, GError **error)
{
    mode_t type;
    varve_autofd to = open_directory(root, path);
    if (to < 0) /* an entry that came later took its place */
        return is_absent(errno) || varve_error_set_errno(error, errno, "opening it");
    if (!look_below(parent, path, &type, error))
        return FALSE;
    *settled = type == 0 || S_ISDIR(type);
    if (!S_ISDIR(type))
        return TRUE;
    varve_autofd from = open_directory(parent, path);
    if (from < 0)
        return varve_error_set_errno(error, errno, "opening it in the layers below");
    return varve_tree_copy_attributes(from, to, error);
}

gboolean
varve_unsettled_settle(VarveUnsettled *unsettled, int root, int parent, gboolean *settled,
                       GError **error)
{
    GHashTableIter iter;
    gpointer path;
    *settled = TRUE;
    g_hash_table_iter_init(&iter, unsettled->paths);
    while (*settled && g_hash_table_iter_next(&iter, &path, NULL)) {
        if (!settle_one(root, parent, path, settled, error)) {
            g_prefix_error(error, "settling directory '%s': ", (const char *)path);
            return FALSE;
        }
    }
    return TRUE;
}
