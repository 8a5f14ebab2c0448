/* SPDX-License-Identifier: Apache-2.0 */
#include "base/attributes.h"
#include "base/fd.h"
#include "base/tree.h"
#include "base/xattrs.h"
#include <unistd.h>

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
    return copy_owner_and_mode(st, to, error) && varve_xattrs_copy(from, to, which, error) &&
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
