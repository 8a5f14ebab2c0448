/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "driver/entries.h"
#include <linux/limits.h>
#include <string.h>

VarveEntrySight
varve_entry_sight_new(int root, gboolean old)
{
    return (VarveEntrySight){.root = root, .old = old, .dirfd = -1};
}

void
varve_entry_sight_clear(VarveEntrySight *sight)
{
    varve_fd_clear(&sight->dirfd);
    sight->dir = NULL;
}

/* Opens a path in pieces that the kernel takes; it is used up. */
static int
open_path(int root, char *path)
{
    varve_autofd at = -1;
    while (strlen(path) >= PATH_MAX) {
        char *cut = memrchr(path, '/', PATH_MAX - 1);
        *cut = '\0';
        int next = varve_fd_open_beneath(at >= 0 ? at : root, path, O_PATH | O_DIRECTORY);
        varve_fd_clear(&at);
        at = next;
        if (at < 0)
            return -1;
        path = cut + 1;
    }
    return varve_fd_open_beneath(at >= 0 ? at : root, path, O_PATH | O_DIRECTORY);
}

static gboolean
disagree(const char *path, GError **error)
{
    g_autofree char *shown = g_strescape(path, NULL);
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the file system speaks of '%.200s', which the snapshot does not have",
                           shown);
}

static gboolean
is_absent(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP;
}

gboolean
varve_entry_sight_open(VarveEntrySight *sight, const VarveEntry *dir, GError **error)
{
    if (sight->dir == dir)
        return TRUE;
    varve_entry_sight_clear(sight);
    g_autofree char *path = sight->old ? varve_entry_old_path(dir) : varve_entry_path(dir);
    g_autofree char *rest = g_strdup(path[1] == '\0' ? "." : path + 1);
    sight->dirfd = open_path(sight->root, rest);
    if (sight->dirfd < 0)
        return is_absent(errno)
                   ? disagree(path, error)
                   : varve_error_set_errno(error, errno, "opening a directory of the snapshot");
    sight->dir = dir;
    return TRUE;
}

gboolean
varve_entry_sight_look_in(VarveEntrySight *sight, const VarveEntry *dir, const char *name,
                          VarveFound *found, GError **error)
{
    return varve_entry_sight_open(sight, dir, error) &&
           varve_changes_look((VarveFile){sight->dirfd, name}, found, error);
}

gboolean
varve_entry_sight_look(VarveEntrySight *sight, const VarveEntry *entry, VarveFound *found,
                       GError **error)
{
    const VarveEntry *dir = sight->old ? entry->old_parent : entry->parent;
    const char *name = sight->old ? entry->old_name : entry->name;
    if (dir == NULL ? !varve_changes_look((VarveFile){sight->root, NULL}, found, error)
                    : !varve_entry_sight_look_in(sight, dir, name, found, error))
        return FALSE;
    if (found->exists)
        return TRUE;
    g_autofree char *path = sight->old ? varve_entry_old_path(entry) : varve_entry_path(entry);
    return disagree(path, error);
}
