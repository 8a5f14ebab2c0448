/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/subvolume.h"
#include "base/fd.h"
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The umask had its say in the mode, and whoever we run as in the owner. */
static gboolean
settle_root(int dirfd, const char *name, GError **error)
{
    varve_autofd fd = varve_fd_open_dir(dirfd, name, error);
    if (fd < 0)
        return FALSE;
    struct stat st;
    if (fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0755 && st.st_uid == 0 && st.st_gid == 0)
        return TRUE;
    if (fchown(fd, 0, 0) < 0 || fchmod(fd, 0755) < 0)
        return varve_error_set_errno(error, errno, "setting owner and mode of subvolume %s", name);
    return TRUE;
}

gboolean
varve_subvolume_create(int dirfd, const char *name, GError **error)
{
    struct btrfs_ioctl_vol_args_v2 args = {0};
    g_strlcpy(args.name, name, sizeof args.name);
    if (ioctl(dirfd, BTRFS_IOC_SUBVOL_CREATE_V2, &args) < 0)
        return varve_error_set_errno(error, errno, "making subvolume %s", name);
    if (settle_root(dirfd, name, error))
        return TRUE;
    GError *undo_error = NULL;
    if (!varve_subvolume_delete(dirfd, name, &undo_error))
        varve_error_log_undo("deleting a subvolume that could not be set up", undo_error);
    return FALSE;
}

gboolean
varve_subvolume_snapshot(int dirfd, const char *name, int source, gboolean readonly, GError **error)
{
    struct btrfs_ioctl_vol_args_v2 args = {.fd = source,
                                           .flags = readonly ? BTRFS_SUBVOL_RDONLY : 0};
    g_strlcpy(args.name, name, sizeof args.name);
    if (ioctl(dirfd, BTRFS_IOC_SNAP_CREATE_V2, &args) < 0)
        return varve_error_set_errno(error, errno, "making snapshot %s", name);
    return TRUE;
}

gboolean
varve_subvolume_set_readonly(int fd, gboolean readonly, GError **error)
{
    guint64 flags;
    if (ioctl(fd, BTRFS_IOC_SUBVOL_GETFLAGS, &flags) < 0)
        return varve_error_set_errno(error, errno, "reading the subvolume's flags");
    if (!(flags & BTRFS_SUBVOL_RDONLY) == !readonly)
        return TRUE;
    flags ^= BTRFS_SUBVOL_RDONLY;
    if (ioctl(fd, BTRFS_IOC_SUBVOL_SETFLAGS, &flags) < 0)
        return varve_error_set_errno(error, errno, "making the subvolume %s",
                                     readonly ? "read-only" : "writable");
    return TRUE;
}

gboolean
varve_subvolume_get_id(int fd, guint64 *id, GError **error)
{
    /* Asked for the root directory of tree 0, it tells which tree fd is in. */
    struct btrfs_ioctl_ino_lookup_args args = {.objectid = BTRFS_FIRST_FREE_OBJECTID};
    if (ioctl(fd, BTRFS_IOC_INO_LOOKUP, &args) < 0)
        return varve_error_set_errno(error, errno, "reading the subvolume's number");
    *id = args.treeid;
    return TRUE;
}

static gboolean
destroy(int dirfd, const char *name)
{
    struct btrfs_ioctl_vol_args args = {0};
    g_strlcpy(args.name, name, sizeof args.name);
    return ioctl(dirfd, BTRFS_IOC_SNAP_DESTROY, &args) == 0 || errno == ENOENT;
}

gboolean
varve_subvolume_delete(int dirfd, const char *name, GError **error)
{
    if (destroy(dirfd, name))
        return TRUE;
    if (errno == ENOTEMPTY) { /* it has subvolumes inside */
        varve_autofd fd = varve_fd_open_dir(dirfd, name, error);
        guint64 id = 0;
        if (fd < 0 || !varve_subvolume_get_id(fd, &id, error) ||
            !varve_subvolume_delete_nested(fd, id, error))
            return FALSE;
        if (destroy(dirfd, name))
            return TRUE;
    }
    if (errno == EPERM && geteuid() == 0) /* what the kernel says then, though it is no matter of
                                             permission (btrfs_delete_subvolume) */
        return varve_error_set(error, VARVE_ERROR_BUSY,
                               "deleting subvolume %s: it is being sent, or a swap file in it is "
                               "in use",
                               name);
    return varve_error_set_errno(error, errno, "deleting subvolume %s", name);
}
