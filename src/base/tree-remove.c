/* SPDX-License-Identifier: Apache-2.0 */
#include "base/walk.h"
#include <dirent.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Takes the flags away that forbid removal even to root: chattr's +i and +a. */
static void
clear_flags(int fd)
{
    int flags;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 &&
        (flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)) != 0) {
        flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
        (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
}

/* Only files and directories have such flags, and opening anything else could do something. */
static void
clear_flags_of(int dirfd, const char *name)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
        return;
    varve_autofd fd = openat(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        clear_flags(fd);
}

/* unlinkat that does not mind flags, nor that the name is gone already. Returns 0 or an errno
 * value. */
static int
unlink_hard(int dirfd, const char *name, int flags)
{
    if (unlinkat(dirfd, name, flags) == 0)
        return 0;
    if (errno == EPERM) {
        clear_flags(dirfd);
        clear_flags_of(dirfd, name);
        if (unlinkat(dirfd, name, flags) == 0)
            return 0;
    }
    return errno == ENOENT ? 0 : errno;
}

static gboolean
failed_at(VarveWalk *walk, const char *name, int errnum, GError **error)
{
    g_autofree char *place = varve_walk_place(walk, name);
    if (errnum == EXDEV || errnum == EBUSY)
        return varve_error_set(error, VARVE_ERROR_BUSY,
                               "removing %s: something is mounted there; unmount it", place);
    return varve_error_set_errno(error, errnum, "removing %s", place);
}

/* Removes one entry, or enters it to empty it first. */
static gboolean
remove_entry(VarveWalk *walk, const VarveWalkEntry *entry, GError **error)
{
    int failed;
    if (entry->type == DT_DIR) {
        failed = varve_walk_enter(walk, entry->name);
        if (failed == 0 || failed == ENOENT)
            return TRUE;
    } else {
        failed = unlink_hard(varve_walk_fd(walk), entry->name, 0);
        if (failed == 0)
            return varve_walk_count(walk, 1, 0, error);
    }
    return failed_at(walk, entry->name, failed, error);
}

static gboolean
remove_emptied(VarveWalk *walk, GError **error)
{
    const char *name;
    if (!varve_walk_leave(walk, &name, error))
        return FALSE;
    int failed = unlink_hard(varve_walk_fd(walk), name, AT_REMOVEDIR);
    return failed == 0 ? varve_walk_count(walk, 1, 0, error) : failed_at(walk, name, failed, error);
}

static gboolean
empty_directory(int dirfd, const char *name, const VarveTreeWatch *watch, GError **error)
{
    g_autoptr(VarveWalk) walk = varve_walk_new(dirfd, name, "removing", watch, error);
    if (walk == NULL)
        return FALSE;
    VarveWalkEntry entry;
    while (varve_walk_next(walk, &entry, error)) {
        if (entry.name == NULL && varve_walk_depth(walk) == 0)
            return TRUE;
        if (!(entry.name != NULL ? remove_entry(walk, &entry, error) : remove_emptied(walk, error)))
            return FALSE;
    }
    return FALSE;
}

gboolean
varve_tree_remove(int dirfd, const char *name, const VarveTreeWatch *watch, GError **error)
{
    /* Empty directories are frequent, and this is all that they need. */
    int failed = unlink_hard(dirfd, name, AT_REMOVEDIR);
    if (failed == ENOTDIR)
        failed = unlink_hard(dirfd, name, 0);
    if (failed == ENOTEMPTY || failed == EEXIST) {
        if (!empty_directory(dirfd, name, watch, error))
            return FALSE;
        failed = unlink_hard(dirfd, name, AT_REMOVEDIR);
    }
    return failed == 0 || varve_error_set_errno(error, failed, "removing %s", name);
}
