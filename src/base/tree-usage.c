/* SPDX-License-Identifier: Apache-2.0 */
#include "base/inodes.h"
#include "base/walk.h"
#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/*
 * A tree may be in use while it is measured, so what vanishes meanwhile is not an error.
 *
 * base, where there is one, is walked beside the tree: base holds the directory that corresponds to
 * the walk's, except within a directory that it has no counterpart of; absent counts the levels
 * since then.
 */
typedef struct {
    VarveWalk *walk;
    VarveDirstack *base;
    gsize absent;
    GHashTable *links; /* files with several names that were counted */
    gint64 bytes, inodes;
} Count;

static gboolean
stat_at(int dirfd, const char *name, struct statx *stx)
{
    const unsigned int mask = STATX_BASIC_STATS;
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name == '\0' ? AT_EMPTY_PATH : 0);
    return statx(dirfd, name, flags, mask, stx) == 0;
}

/* Whether the base's entry of that name (or its directory itself, for "") is the same. */
static gboolean
in_base(const Count *count, const char *name, const struct statx *stx)
{
    struct statx other;
    return count->base != NULL && count->absent == 0 &&
           stat_at(varve_dirstack_top(count->base), name, &other) &&
           other.stx_mode == stx->stx_mode && other.stx_size == stx->stx_size &&
           other.stx_mtime.tv_sec == stx->stx_mtime.tv_sec &&
           other.stx_mtime.tv_nsec == stx->stx_mtime.tv_nsec && other.stx_uid == stx->stx_uid &&
           other.stx_gid == stx->stx_gid;
}

static gboolean
is_counted_link(Count *count, const struct statx *stx)
{
    if (stx->stx_nlink < 2 || S_ISDIR(stx->stx_mode))
        return FALSE;
    VarveInode inode = {makedev(stx->stx_dev_major, stx->stx_dev_minor), stx->stx_ino};
    return !g_hash_table_add(count->links, g_memdup2(&inode, sizeof inode));
}

static gboolean
count_entry(Count *count, const char *name, GError **error)
{
    struct statx stx;
    if (!stat_at(varve_walk_fd(count->walk), name, &stx)) {
        if (errno == ENOENT)
            return TRUE;
        g_autofree char *place = varve_walk_place(count->walk, name);
        return varve_error_set_errno(error, errno, "looking at %s", place);
    }
    if ((stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0 && *name != '\0')
        return TRUE; /* mounted here, so not the tree's */
    if (!in_base(count, name, &stx) && !is_counted_link(count, &stx)) {
        count->bytes += (gint64)stx.stx_blocks * 512;
        count->inodes++;
    }
    return TRUE;
}

static gboolean
enter(Count *count, const char *name, GError **error)
{
    int failed = varve_walk_enter(count->walk, name);
    if (failed == EXDEV || failed == ENOENT || failed == ENOTDIR || failed == ELOOP)
        return TRUE; /* another file system's, or gone */
    if (failed != 0) {
        g_autofree char *place = varve_walk_place(count->walk, name);
        return varve_error_set_errno(error, failed, "reading directory %s", place);
    }
    if (count->base != NULL && (count->absent > 0 || varve_dirstack_push(count->base, name) != 0))
        count->absent++;
    return TRUE;
}

static gboolean
leave(Count *count, GError **error)
{
    if (count->absent > 0)
        count->absent--;
    else if (count->base != NULL && !varve_dirstack_pop(count->base, error))
        return FALSE;
    return varve_walk_leave(count->walk, NULL, error);
}

static gboolean
count_all(Count *count, GError **error)
{
    if (!count_entry(count, "", error))
        return FALSE;
    VarveWalkEntry entry;
    while (varve_walk_next(count->walk, &entry, error)) {
        if (entry.name == NULL && varve_walk_depth(count->walk) == 0)
            return TRUE;
        gboolean ok = entry.name == NULL
                          ? leave(count, error)
                          : count_entry(count, entry.name, error) &&
                                (entry.type != DT_DIR || enter(count, entry.name, error));
        if (!ok)
            return FALSE;
    }
    return FALSE;
}

static gboolean
measure(int dirfd, const char *name, VarveDirstack *base, gint64 *bytes, gint64 *inodes,
        GError **error)
{
    g_autoptr(VarveWalk) walk = varve_walk_new(dirfd, name, "measuring", NULL, error);
    if (walk == NULL)
        return FALSE;
    g_autoptr(GHashTable) links = varve_inodes_new(NULL);
    Count count = {.walk = walk, .base = base, .links = links};
    if (!count_all(&count, error))
        return FALSE;
    *bytes = count.bytes;
    *inodes = count.inodes;
    return TRUE;
}

gboolean
varve_tree_usage(int dirfd, const char *name, gint64 *bytes, gint64 *inodes, GError **error)
{
    return measure(dirfd, name, NULL, bytes, inodes, error);
}

gboolean
varve_tree_usage_beyond(int dirfd, const char *name, int basefd, gint64 *bytes, gint64 *inodes,
                        GError **error)
{
    int fd = varve_fd_open_dir(basefd, ".", error);
    if (fd < 0)
        return FALSE;
    g_autoptr(VarveDirstack) base = varve_dirstack_new(fd);
    return measure(dirfd, name, base, bytes, inodes, error);
}
