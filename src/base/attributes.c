/* SPDX-License-Identifier: Apache-2.0 */
#include "base/attributes.h"
#include "base/fd.h"
#include "base/tree.h"
#include <limits.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/* --- xattrs ---------------------------------------------------------------------------------- */

/* Xattr calls that take a directory and a name are too young (Linux 6.13) to be relied on; the
 * directory's entry in /proc serves. */
typedef struct {
    char text[sizeof "/proc/self/fd/-2147483648/" + NAME_MAX];
} ProcPath;

static ProcPath
proc_path(VarveFile file)
{
    ProcPath path;
    g_snprintf(path.text, sizeof path.text, "/proc/self/fd/%d/%s", file.dirfd, file.name);
    return path;
}

static ssize_t
list_xattrs(VarveFile file, char *list, size_t size)
{
    return file.name == NULL ? flistxattr(file.dirfd, list, size)
                             : llistxattr(proc_path(file).text, list, size);
}

static ssize_t
get_xattr(VarveFile file, const char *name, void *value, size_t size)
{
    return file.name == NULL ? fgetxattr(file.dirfd, name, value, size)
                             : lgetxattr(proc_path(file).text, name, value, size);
}

static int
set_xattr(VarveFile file, const char *name, const void *value, size_t size)
{
    return file.name == NULL ? fsetxattr(file.dirfd, name, value, size, 0)
                             : lsetxattr(proc_path(file).text, name, value, size, 0);
}

/* Overlayfs stores an inner overlay's xattrs as trusted.overlay.overlay.*: those are content. */
static gboolean
is_overlays_own(const char *name)
{
    static const char *const prefixes[] = {"trusted.overlay.", "user.overlay."};
    for (gsize i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        if (g_str_has_prefix(name, prefixes[i]))
            return !g_str_has_prefix(name + strlen(prefixes[i]), "overlay.");
    }
    return FALSE;
}

/* XFS shows an ACL a second time, in the form in which it stores it. */
static gboolean
is_wanted(const char *name, VarveXattrs which)
{
    return !g_str_has_prefix(name, "trusted.SGI_ACL_") &&
           (which == VARVE_XATTRS_ALL || !is_overlays_own(name));
}

static gboolean
copy_xattr(VarveFile from, VarveFile to, const char *name, char *value, GError **error)
{
    ssize_t size = get_xattr(from, name, value, XATTR_SIZE_MAX);
    if (size < 0)
        return errno == ENODATA || varve_error_set_errno(error, errno, "reading xattr %s", name);
    return set_xattr(to, name, value, (size_t)size) == 0 ||
           varve_error_set_errno(error, errno, "setting xattr %s", name);
}

static gboolean
copy_listed(VarveFile from, VarveFile to, VarveXattrs which, const char *list, size_t length,
            GError **error)
{
    g_autofree char *value = g_malloc(XATTR_SIZE_MAX);
    for (const char *name = list; name < list + length; name += strlen(name) + 1) {
        if (is_wanted(name, which) && !copy_xattr(from, to, name, value, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
copy_xattrs(VarveFile from, VarveFile to, VarveXattrs which, GError **error)
{
    if (which == VARVE_XATTRS_NONE)
        return TRUE;
    char some[1024];
    g_autofree char *all = NULL;
    const char *list = some;
    ssize_t length = list_xattrs(from, some, sizeof some);
    if (length < 0 && errno == ERANGE) {
        list = all = g_malloc(XATTR_LIST_MAX);
        length = list_xattrs(from, all, XATTR_LIST_MAX);
    }
    if (length < 0)
        return errno == EOPNOTSUPP || varve_error_set_errno(error, errno, "listing xattrs");
    return length == 0 || copy_listed(from, to, which, list, (size_t)length, error);
}

/* --- owner, mode, times ---------------------------------------------------------------------- */

static int
change_mode(VarveFile file, mode_t mode)
{
    return file.name == NULL ? fchmod(file.dirfd, mode) : fchmodat(file.dirfd, file.name, mode, 0);
}

static const char *
name_or_empty(VarveFile file)
{
    return file.name != NULL ? file.name : "";
}

static gboolean
copy_owner_and_mode(const struct stat *st, VarveFile to, GError **error)
{
    const int flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
    const char *name = name_or_empty(to);
    struct stat have;
    if (fstatat(to.dirfd, name, &have, flags) < 0)
        return varve_error_set_errno(error, errno, "looking at the copy");

    gboolean same_owner = have.st_uid == st->st_uid && have.st_gid == st->st_gid;
    if (!same_owner && fchownat(to.dirfd, name, st->st_uid, st->st_gid, flags) < 0)
        return varve_error_set_errno(error, errno, "setting the owner");

    /* A change of the owner takes setuid and setgid away. */
    gboolean same_mode =
        have.st_mode == st->st_mode && (same_owner || (st->st_mode & (S_ISUID | S_ISGID)) == 0);
    if (!same_mode && !S_ISLNK(st->st_mode) && change_mode(to, st->st_mode & 07777) < 0)
        return varve_error_set_errno(error, errno, "setting the mode");
    return TRUE;
}

static gboolean
copy_times(const struct stat *st, VarveFile to, GError **error)
{
    const struct timespec times[] = {st->st_atim, st->st_mtim};
    int result = to.name == NULL ? futimens(to.dirfd, times)
                                 : utimensat(to.dirfd, to.name, times, AT_SYMLINK_NOFOLLOW);
    return result == 0 || varve_error_set_errno(error, errno, "setting the times");
}

/* In this order: changing the owner drops file capabilities, an ACL has a say in what the mode is,
 * and the times are to be the last word. */
gboolean
varve_attributes_copy(VarveFile from, const struct stat *st, VarveFile to, VarveXattrs which,
                      GError **error)
{
    return copy_owner_and_mode(st, to, error) && copy_xattrs(from, to, which, error) &&
           copy_times(st, to, error);
}

gboolean
varve_tree_copy_attributes(int srcfd, int dstfd, GError **error)
{
    struct stat st;
    if (fstat(srcfd, &st) < 0)
        return varve_error_set_errno(error, errno, "looking at a directory");
    return varve_attributes_copy((VarveFile){srcfd, NULL}, &st, (VarveFile){dstfd, NULL},
                                 VARVE_XATTRS_WITHOUT_OVERLAY, error);
}
