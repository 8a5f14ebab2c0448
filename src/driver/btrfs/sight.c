/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/sight.h"
#include "base/fd.h"
#include <linux/limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

VarveSight
varve_sight_new(int root, gboolean old)
{
    return (VarveSight){.root = root, .old = old, .dirfd = -1};
}

void
varve_sight_clear(VarveSight *sight)
{
    varve_fd_clear(&sight->dirfd);
    sight->dir = NULL;
}

static int
open_inside(int dirfd, const char *path)
{
    struct open_how how = {
        .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
    };
    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
}

/* Opens a path in pieces that the kernel takes; it is used up. */
static int
open_path(int root, char *path)
{
    varve_autofd at = -1;
    while (strlen(path) >= PATH_MAX) {
        char *cut = memrchr(path, '/', PATH_MAX - 1);
        *cut = '\0';
        int next = open_inside(at >= 0 ? at : root, path);
        varve_fd_clear(&at);
        at = next;
        if (at < 0)
            return -1;
        path = cut + 1;
    }
    return open_inside(at >= 0 ? at : root, path);
}

static gboolean
is_absent(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP;
}

/* Leaves dirfd -1 when there is no such directory. */
static gboolean
open_dir(VarveSight *sight, const VarveName *dir, GError **error)
{
    if (sight->dir == dir)
        return TRUE;
    varve_sight_clear(sight);
    g_autofree char *path = sight->old ? varve_name_old_path(dir) : varve_name_path(dir);
    sight->dirfd = open_path(sight->root, path[1] == '\0' ? strcpy(path, ".") : path + 1);
    if (sight->dirfd < 0 && !is_absent(errno))
        return varve_error_set_errno(error, errno, "opening a directory of the subvolume");
    sight->dir = dir;
    return TRUE;
}

static gboolean
look(VarveFile file, VarveSeen *seen, GError **error)
{
    const char *name = file.name != NULL ? file.name : "";
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (file.name == NULL ? AT_EMPTY_PATH : 0);
    *seen = (VarveSeen){.file = file};
    seen->exists = fstatat(file.dirfd, name, &seen->st, flags) == 0;
    return seen->exists || is_absent(errno) ||
           varve_error_set_errno(error, errno, "looking at a file of the subvolume");
}

gboolean
varve_sight_look_in(VarveSight *sight, const VarveName *dir, const char *entry, VarveSeen *seen,
                    GError **error)
{
    *seen = (VarveSeen){.exists = FALSE};
    return open_dir(sight, dir, error) &&
           (sight->dirfd < 0 || look((VarveFile){sight->dirfd, entry}, seen, error));
}

gboolean
varve_sight_look(VarveSight *sight, const VarveName *name, VarveSeen *seen, GError **error)
{
    const VarveName *dir = sight->old ? name->old_parent : name->parent;
    if (dir == NULL)
        return look((VarveFile){sight->root, NULL}, seen, error);
    return varve_sight_look_in(sight, dir, sight->old ? name->old_name : name->name, seen, error);
}
