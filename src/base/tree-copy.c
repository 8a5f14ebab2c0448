/* SPDX-License-Identifier: Apache-2.0 */
#include "base/attributes.h"
#include "base/content.h"
#include "base/inodes.h"
#include "base/walk.h"
#include <dirent.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The copy grows beside the walk: dst holds the directory that corresponds to the walk's. Copied
 * directories are open to nobody else until they are left, and get their attributes then, since
 * what is made in them would change their times, and a default ACL would be inherited.
 */
typedef struct {
    VarveWalk *walk;
    VarveDirstack *dst;
    VarveContent *content;
    int root;          /* the copy's first directory */
    GHashTable *links; /* VarveInode* to the path in root of the first name that was copied */
} Copy;

/* --- hard links ------------------------------------------------------------------------------ */

/* linkat of a path that may be longer than the kernel takes in one go. */
static int
link_long_path(int root, const char *path, int dirfd, const char *name)
{
    varve_autofd at = -1;
    while (strlen(path) >= PATH_MAX) {
        const char *cut = memrchr(path, '/', PATH_MAX - 1);
        g_autofree char *head = g_strndup(path, (gsize)(cut - path));
        int next = openat(at < 0 ? root : at, head, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            return errno;
        varve_fd_clear(&at);
        at = next;
        path = cut + 1;
    }
    return linkat(at < 0 ? root : at, path, dirfd, name, 0) < 0 ? errno : 0;
}

/* Sets *linked when the file is there under another name already, and now under this one too. */
static gboolean
link_if_copied(Copy *copy, const char *name, const struct stat *st, gboolean *linked,
               GError **error)
{
    *linked = FALSE;
    if (st->st_nlink < 2)
        return TRUE;
    VarveInode inode = {st->st_dev, st->st_ino};
    const char *first = g_hash_table_lookup(copy->links, &inode);
    if (first == NULL) {
        g_hash_table_insert(copy->links, g_memdup2(&inode, sizeof inode),
                            varve_walk_path(copy->walk, name));
        return TRUE;
    }
    int failed = link_long_path(copy->root, first, varve_dirstack_top(copy->dst), name);
    *linked = failed == 0;
    return *linked || varve_error_set_errno(error, failed, "making the hard link");
}

/* --- files ----------------------------------------------------------------------------------- */

static gboolean
copy_regular(Copy *copy, const char *name, GError **error)
{
    varve_autofd src = varve_dirstack_open_inside(varve_walk_fd(copy->walk), name, O_NONBLOCK);
    struct stat st;
    if (src < 0 || fstat(src, &st) < 0)
        return varve_error_set_errno(error, errno, "opening it");
    if (!S_ISREG(st.st_mode))
        return varve_error_set(error, VARVE_ERROR_BUSY, "somebody replaced it meanwhile");

    varve_autofd dst =
        openat(varve_dirstack_top(copy->dst), name,
               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, st.st_mode & 0777);
    if (dst < 0)
        return varve_error_set_errno(error, errno, "making it");
    return varve_content_copy(copy->content, src, dst, st.st_size, error) &&
           varve_attributes_copy((VarveFile){src, NULL}, &st, (VarveFile){dst, NULL},
                                 VARVE_XATTRS_ALL, error);
}

static gboolean
make_symlink(int srcfd, int dstfd, const char *name, GError **error)
{
    char target[PATH_MAX]; /* the kernel has none that is longer */
    ssize_t length = readlinkat(srcfd, name, target, sizeof target);
    if (length < 0 || length == (ssize_t)sizeof target)
        return varve_error_set_errno(error, length < 0 ? errno : ENAMETOOLONG,
                                     "reading the symbolic link");
    target[length] = '\0';
    return symlinkat(target, dstfd, name) == 0 ||
           varve_error_set_errno(error, errno, "making the symbolic link");
}

/* A symbolic link, device node, fifo or socket. */
static gboolean
copy_special(Copy *copy, const char *name, const struct stat *st, GError **error)
{
    int srcfd = varve_walk_fd(copy->walk), dstfd = varve_dirstack_top(copy->dst);
    if (S_ISLNK(st->st_mode)) {
        if (!make_symlink(srcfd, dstfd, name, error))
            return FALSE;
    } else if (mknodat(dstfd, name, st->st_mode, st->st_rdev) < 0) {
        return varve_error_set_errno(error, errno, "making the special file");
    }
    return varve_attributes_copy((VarveFile){srcfd, name}, st, (VarveFile){dstfd, name},
                                 VARVE_XATTRS_ALL, error);
}

/* --- directories ----------------------------------------------------------------------------- */

static gboolean
enter_directory(Copy *copy, const char *name, GError **error)
{
    if (mkdirat(varve_dirstack_top(copy->dst), name, 0700) < 0)
        return varve_error_set_errno(error, errno, "making the directory");
    int failed = varve_dirstack_push(copy->dst, name);
    if (failed != 0)
        return varve_error_set_errno(error, failed, "opening the copied directory");
    failed = varve_walk_enter(copy->walk, name);
    if (failed == EXDEV)
        return varve_error_set(error, VARVE_ERROR_BUSY, "something is mounted there; unmount it");
    return failed == 0 || varve_error_set_errno(error, failed, "opening the directory");
}

static gboolean
finish_directory(Copy *copy, GError **error)
{
    VarveFile src = {varve_walk_fd(copy->walk), NULL}, dst = {varve_dirstack_top(copy->dst), NULL};
    struct stat st;
    if (fstat(src.dirfd, &st) < 0)
        return varve_error_set_errno(error, errno, "looking at a directory");
    return varve_attributes_copy(src, &st, dst, VARVE_XATTRS_ALL, error);
}

static gboolean
leave_directory(Copy *copy, GError **error)
{
    return finish_directory(copy, error) && varve_dirstack_pop(copy->dst, error) &&
           varve_walk_leave(copy->walk, NULL, error);
}

/* --- the tree -------------------------------------------------------------------------------- */

static gboolean
copy_file(Copy *copy, const char *name, unsigned char type, GError **error)
{
    struct stat st;
    gboolean linked;
    if (type == DT_DIR)
        return enter_directory(copy, name, error);
    if (fstatat(varve_walk_fd(copy->walk), name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return varve_error_set_errno(error, errno, "looking at it");
    if (!link_if_copied(copy, name, &st, &linked, error))
        return FALSE;
    if (linked)
        return TRUE;
    return S_ISREG(st.st_mode) ? copy_regular(copy, name, error)
                               : copy_special(copy, name, &st, error);
}

static gboolean
copy_entry(Copy *copy, const VarveWalkEntry *entry, GError **error)
{
    /* The name as it is now: entering a directory makes it part of the place. */
    if (copy_file(copy, entry->name, entry->type, error))
        return varve_walk_count(copy->walk, 1, 0, error);
    g_autofree char *place = varve_walk_place(copy->walk, entry->name);
    g_prefix_error(error, "copying %s: ", place);
    return FALSE;
}

static gboolean
copy_entries(Copy *copy, GError **error)
{
    VarveWalkEntry entry;
    while (varve_walk_next(copy->walk, &entry, error)) {
        if (entry.name == NULL && varve_walk_depth(copy->walk) == 0)
            return finish_directory(copy, error);
        if (!(entry.name != NULL ? copy_entry(copy, &entry, error) : leave_directory(copy, error)))
            return FALSE;
    }
    return FALSE;
}

static gboolean
count_bytes(guint64 bytes, gpointer data, GError **error)
{
    return varve_walk_count(data, 0, bytes, error);
}

/* dst: the copy's directory, empty. */
static gboolean
fill(int srcfd, const char *srcname, int dst, const VarveTreeWatch *watch, GError **error)
{
    g_autoptr(VarveWalk) walk = varve_walk_new(srcfd, srcname, "copying", watch, error);
    if (walk == NULL)
        return FALSE;
    int again = varve_fd_open_dir(dst, ".", error);
    if (again < 0)
        return FALSE;
    g_autoptr(VarveDirstack) stack = varve_dirstack_new(again);
    g_autoptr(VarveContent) content = varve_content_new(count_bytes, walk);
    g_autoptr(GHashTable) links = varve_inodes_new(g_free);
    Copy copy = {walk, stack, content, dst, links};
    return copy_entries(&copy, error);
}

gboolean
varve_tree_fill(int srcfd, int dstfd, const VarveTreeWatch *watch, GError **error)
{
    return fill(srcfd, ".", dstfd, watch, error);
}

gboolean
varve_tree_copy(int srcfd, const char *srcname, int dstfd, const char *dstname,
                const VarveTreeWatch *watch, GError **error)
{
    if (mkdirat(dstfd, dstname, 0700) < 0)
        return varve_error_set_errno(error, errno, "making directory %s", dstname);
    varve_autofd dst = varve_fd_open_dir(dstfd, dstname, error);
    if (dst >= 0 && fill(srcfd, srcname, dst, watch, error))
        return TRUE;

    GError *undo = NULL;
    if (!varve_tree_remove(dstfd, dstname, NULL, &undo))
        varve_error_log_undo("removing an unfinished copy", undo);
    return FALSE;
}
