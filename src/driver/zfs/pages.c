/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/fd.h"
#include "base/mount.h"
#include "driver/zfs/zfs.h"
#include <string.h>
#include <unistd.h>

/*
 * Writes reach ZFS at once, but what is written to a mapping of a file is the kernel's until it is
 * written back. Nothing is left of it when the last mount is gone.
 */

/* The same mount as others may have, of which the kernel makes but one file system: that must be
 * read-only for all of them or for none. */
int
varve_zfs_open_root(const VarveZfs *zfs, const char *dataset, GError **error)
{
    static const char *const read_only[] = {"ro", NULL};
    g_autoptr(VarveMount) writable = varve_mount_new("zfs", dataset, NULL);
    g_autoptr(VarveMount) fixed = varve_mount_new("zfs", dataset, read_only);
    g_autoptr(GError) why = NULL;
    int fd = -1;
    if (strchr(dataset, '@') == NULL)
        fd = varve_mount_open(writable, zfs->host->path, &why);
    if (fd >= 0 || (why != NULL && !g_error_matches(why, VARVE_ERROR, VARVE_ERROR_BUSY))) {
        if (fd < 0)
            g_propagate_error(error, g_steal_pointer(&why));
        return fd;
    }
    return varve_mount_open(fixed, zfs->host->path, error);
}

/* ZFS has statistics of a dataset as long as it is mounted, in whichever mount namespace. */
static const char number_program[] = //
    "local args = ...\n"
    "for _, dataset in ipairs(args['datasets']) do\n"
    "    if zfs.exists(dataset) then\n"
    "        return {number = zfs.get_prop(dataset, 'objsetid')}\n"
    "    end\n"
    "end\n"
    "return {}\n";

gboolean
varve_zfs_is_mounted(const VarveZfs *zfs, const VarveZfsName *names, gsize n, gboolean *mounted,
                     GError **error)
{
    g_autoptr(nvlist_t) args = varve_zfs_datasets(names, n);
    g_autoptr(nvlist_t) found =
        varve_zfs_run(zfs->base, VARVE_ZFS_LOOK, number_program, args, "looking at", error);
    if (found == NULL)
        return FALSE;
    g_autofree char *pool = varve_zfs_pool_of(zfs->base);
    g_autofree char *path =
        g_strdup_printf("/proc/spl/kstat/zfs/%s/objset-0x%" G_GINT64_MODIFIER "x", pool,
                        (guint64)varve_zfs_number(found, "number", 0));
    *mounted = access(path, F_OK) == 0;
    return TRUE;
}

gboolean
varve_zfs_write_pages_back(const VarveZfs *zfs, const VarveZfsName *dataset, GError **error)
{
    varve_autofd root = varve_zfs_open_root(zfs, dataset->text, error);
    return root >= 0 && (syncfs(root) == 0 ||
                         varve_error_set_errno(error, errno, "writing back %s", dataset->text));
}

gboolean
varve_zfs_flush_pages(const VarveZfs *zfs, const VarveZfsName *dataset, GError **error)
{
    gboolean mounted;
    return varve_zfs_is_mounted(zfs, dataset, 1, &mounted, error) &&
           (!mounted || varve_zfs_write_pages_back(zfs, dataset, error));
}
