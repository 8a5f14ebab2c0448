/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "driver/btrfs/image.h"
#include <linux/magic.h>
#include <sys/vfs.h>

gboolean
varve_btrfs_check_path(const char *path, GError **error)
{
    g_autofree char *existing = g_strdup(path);
    struct statfs st;
    while (statfs(existing, &st) < 0) {
        if (errno != ENOENT || g_str_equal(existing, "/"))
            return varve_error_set_errno(error, errno, "looking at %s", existing);
        char *parent = g_path_get_dirname(existing);
        g_free(existing);
        existing = parent;
    }
    if (st.f_type == BTRFS_SUPER_MAGIC)
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "%s is not on a btrfs file system; the setting file=PATH keeps the pool "
                           "in a btrfs of its own, in a sparse file",
                           existing);
}
