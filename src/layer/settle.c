/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/settle.h"
#include "base/fd.h"
#include "base/tree.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a path may need, all of it if different things stood there in turn. */
enum {
    ATTRIBUTES = 1 << 0,
    NO_LINK = 1 << 1, /* what was put into the directory belongs there: below is no symbolic link */
    HIDES = 1 << 2,   /* the whiteout is for something that is below */
};

struct VarveUnsettled {
    GHashTable *paths; /* of char* to these */
    gsize size;        /* of the memory that they take, about */
    gboolean gave_up;
};

VarveUnsettled *
varve_unsettled_new(void)
{
    VarveUnsettled *unsettled = g_new0(VarveUnsettled, 1);
    unsettled->paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_hash_table_insert(unsettled->paths, g_strdup(""), GUINT_TO_POINTER(ATTRIBUTES));
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

/* So that a hostile layer takes no memory to speak of: several of them are applied at once. */
#define MAX_NOTED     ((gsize)2 * 1024 * 1024)
#define SIZE_OF_ENTRY ((gsize)48) /* in the table, and of the allocation */

gboolean
varve_unsettled_note(VarveUnsettled *unsettled, const char *path, VarveUnsettledKind kind,
                     GError **error)
{
    static const guint needs[] = {
        [VARVE_UNSETTLED_DIRECTORY] = ATTRIBUTES | NO_LINK, [VARVE_UNSETTLED_WHITEOUT] = HIDES};
    guint known = GPOINTER_TO_UINT(g_hash_table_lookup(unsettled->paths, path));
    if (known == 0)
        unsettled->size += strlen(path) + SIZE_OF_ENTRY;
    if (unsettled->size > MAX_NOTED)
        return varve_unsettled_give_up(unsettled, error);
    g_hash_table_insert(unsettled->paths, g_strdup(path), GUINT_TO_POINTER(known | needs[kind]));
    return TRUE;
}

void
varve_unsettled_give_attributes(VarveUnsettled *unsettled, const char *path)
{
    guint known = GPOINTER_TO_UINT(g_hash_table_lookup(unsettled->paths, path));
    if (known != 0)
        g_hash_table_insert(unsettled->paths, g_strdup(path),
                            GUINT_TO_POINTER(known & ~(guint)ATTRIBUTES));
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
    return varve_fd_open_beneath(root, path, O_RDONLY | O_DIRECTORY);
}

/* Opens the directory that something is in; *name is what is left of the path. */
static int
open_parent(int root, const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    g_autofree char *directory = slash == NULL ? g_strdup("") : g_strndup(path, slash - path);
    *name = *path == '\0' ? "." : slash == NULL ? path : slash + 1;
    return open_directory(root, directory);
}

/* What is below at the path of a directory that was not in the layer; 0: nothing that would show
 * there. */
static gboolean
look_below(int parent, const char *path, mode_t *type, GError **error)
{
    const char *name;
    struct stat st;
    varve_autofd fd = open_parent(parent, path, &name);
    *type = 0;
    if (fd >= 0 && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        *type = st.st_mode & S_IFMT;
    else if (!varve_fd_is_absent(errno))
        return varve_error_set_errno(error, errno, "looking at it in the layers below");
    return TRUE;
}

gboolean
varve_is_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

int
varve_whiteout_remove(int dirfd, const char *name)
{
    struct stat st, directory;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return varve_fd_is_absent(errno) ? 0 : errno;
    if (!varve_is_whiteout(&st))
        return 0;
    if (fstat(dirfd, &directory) < 0 || unlinkat(dirfd, name, 0) < 0)
        return errno;
    const struct timespec times[] = {directory.st_atim, directory.st_mtim};
    return futimens(dirfd, times) < 0 ? errno : 0;
}

/* An entry that came later may have taken its place. */
static gboolean
settle_whiteout(int root, const char *path, GError **error)
{
    const char *name;
    varve_autofd fd = open_parent(root, path, &name);
    int failed = fd < 0 ? 0 : varve_whiteout_remove(fd, name);
    return failed == 0 || varve_error_set_errno(error, failed, "removing the whiteout");
}

/* Here too. */
static gboolean
settle_attributes(int root, int parent, const char *path, GError **error)
{
    varve_autofd to = open_directory(root, path);
    if (to < 0)
        return varve_fd_is_absent(errno) || varve_error_set_errno(error, errno, "opening it");
    varve_autofd from = open_directory(parent, path);
    if (from < 0)
        return varve_error_set_errno(error, errno, "opening it in the layers below");
    return varve_tree_copy_attributes(from, to, error);
}

static gboolean
settle_one(int root, int parent, const char *path, guint needs, gboolean *settled, GError **error)
{
    mode_t below;
    if (!look_below(parent, path, &below, error))
        return FALSE;
    *settled = (needs & NO_LINK) == 0 || below == 0 || S_ISDIR(below);
    if (!*settled)
        return TRUE;
    if ((needs & HIDES) != 0 && below == 0 && !settle_whiteout(root, path, error))
        return FALSE;
    return (needs & ATTRIBUTES) == 0 || !S_ISDIR(below) ||
           settle_attributes(root, parent, path, error);
}

gboolean
varve_unsettled_settle(VarveUnsettled *unsettled, int root, int parent, gboolean *settled,
                       GError **error)
{
    GHashTableIter iter;
    gpointer path, needs;
    *settled = TRUE;
    g_hash_table_iter_init(&iter, unsettled->paths);
    while (*settled && g_hash_table_iter_next(&iter, &path, &needs)) {
        if (!settle_one(root, parent, path, GPOINTER_TO_UINT(needs), settled, error)) {
            g_prefix_error(error, "settling '%s': ", (const char *)path);
            return FALSE;
        }
    }
    return TRUE;
}
