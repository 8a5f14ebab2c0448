/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/tree.h"
#include "driver/overlay/overlay.h"
#include <dirent.h>
#include <sys/stat.h>

/*
 * Whether overlayfs works in a directory is best asked of overlayfs: it depends on the kernel, on
 * privileges, on the file system below (which may be an overlay itself), and on options of all
 * these. The scratch directory has the layout of a pool, so the mount is made as a pool's is.
 */

/* Without types in directory entries whiteouts would show up as files; the kernel only warns. */
static gboolean
has_entry_types(int fd, GError **error)
{
    DIR *dir = fdopendir(fd);
    if (dir == NULL)
        return varve_error_set_errno(error, errno, "reading a directory");
    gboolean ok = TRUE;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        ok &= entry->d_type != DT_UNKNOWN;
    closedir(dir);
    return ok || varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                                 "its file system does not tell the types of directory entries "
                                 "(an XFS needs ftype=1)");
}

static gboolean
make_scratch(int scratch, GError **error)
{
    static const char *const names[] = {"fs",     "work", "mnt",    "fs/1",   "fs/1/1",  "fs/2",
                                        "fs/2/2", "fs/3", "fs/3/3", "work/3", "work/3/3"};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (mkdirat(scratch, names[i], 0700) < 0)
            return varve_error_set_errno(error, errno, "making directory %s", names[i]);
    }
    int again = varve_fd_open_dir(scratch, ".", error);
    return again >= 0 && has_entry_types(again, error);
}

static gboolean
mount_scratch(const char *path, GError **error)
{
    static const guint64 parents[] = {2, 1};
    const VarveDriverSnapshot snapshot = {3, VARVE_KIND_ACTIVE, parents, 2};
    g_auto(GStrv) options = varve_overlay_common_options();
    g_autoptr(VarveMount) mount = varve_overlay_mount(options, path, &snapshot);
    g_autofree char *target = g_strconcat(path, "/mnt", NULL);
    return varve_mount_attach(mount, target, error) && varve_mount_detach(target, error);
}

static gboolean
try_in(const char *path, GError **error)
{
    g_autofree char *scratch = g_strconcat(path, "/.probe-XXXXXX", NULL);
    if (g_mkdtemp(scratch) == NULL)
        return varve_error_set_errno(error, errno, "making a directory in %s", path);
    varve_autofd fd = varve_fd_open_dir(AT_FDCWD, scratch, error);
    gboolean ok = fd >= 0 && make_scratch(fd, error) && mount_scratch(scratch, error);

    g_autoptr(GError) undo = NULL;
    if (!varve_tree_remove(AT_FDCWD, scratch, NULL, &undo))
        varve_error_log_undo("removing the directory of a trial mount", g_steal_pointer(&undo));
    return ok;
}

gboolean
varve_overlay_probe(const char *path, GHashTable *settings, GError **error)
{
    if (!varve_overlay_check_path(path, error))
        return FALSE;
    g_autoptr(GError) reason = NULL;
    if (try_in(path, &reason))
        return TRUE;
    gboolean full = g_error_matches(reason, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
    return varve_error_set(error, full ? VARVE_ERROR_NO_SPACE : VARVE_ERROR_FAILED_PRECONDITION,
                           "overlayfs does not work in %s: %s", path, reason->message);
}
