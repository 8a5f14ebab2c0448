/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/subvolume.h"
#include <linux/btrfs.h>
#include <sys/ioctl.h>

/* Limits of subvolumes: qgroups, see btrfs-qgroup(8). */

static gboolean
enable_quotas(int fd, GError **error)
{
    struct btrfs_ioctl_quota_ctl_args enable = {.cmd = BTRFS_QUOTA_CTL_ENABLE};
    return ioctl(fd, BTRFS_IOC_QUOTA_CTL, &enable) == 0 ||
           varve_error_set_errno(error, errno, "enabling quotas");
}

/* The group of the subvolume itself has its number, which 0 stands for. What it refers to is
 * limited; all bits set take a limit away. */
static gboolean
set_limit(int fd, guint64 bytes)
{
    struct btrfs_ioctl_qgroup_limit_args limit = {
        .lim = {.flags = BTRFS_QGROUP_LIMIT_MAX_RFER, .max_rfer = bytes > 0 ? bytes : G_MAXUINT64},
    };
    return ioctl(fd, BTRFS_IOC_QGROUP_LIMIT, &limit) == 0;
}

gboolean
varve_subvolume_set_limit(int fd, guint64 bytes, gboolean may_enable, GError **error)
{
    if (set_limit(fd, bytes))
        return TRUE;
    /* What kernels say while quotas are off. */
    gboolean off = errno == ENOTCONN || errno == EINVAL;
    if (off && bytes == 0)
        return TRUE;
    if (off && !may_enable)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "quotas are not enabled on this btrfs: 'btrfs quota enable DIR' "
                               "does that, for all of it");
    if (off && !enable_quotas(fd, error))
        return FALSE;
    return (off && set_limit(fd, bytes)) ||
           varve_error_set_errno(error, errno, "limiting the subvolume");
}
