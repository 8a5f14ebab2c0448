/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/attributes.h"
#include "base/xattrs.h"
#include <fcntl.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NSEC_PER_SEC 1000000000

static gboolean
check_xattrs(const VarveStreamEntry *entry)
{
    for (gsize i = 0; i < entry->n_xattrs; i++) {
        gsize length = strlen(entry->xattrs[i]->name);
        if (length == 0 || length > XATTR_NAME_MAX || entry->xattrs[i]->value.len > XATTR_SIZE_MAX)
            return FALSE;
    }
    return TRUE;
}

gboolean
varve_stream_attributes_check(const VarveStreamEntry *entry, GError **error)
{
    gboolean ok = (entry->mode & ~07777u) == 0 && entry->mtime_nsec < NSEC_PER_SEC &&
                  entry->atime_nsec < NSEC_PER_SEC && entry->size <= G_MAXINT64 &&
                  check_xattrs(entry);
    return ok || varve_error_set(error, VARVE_ERROR_CORRUPT,
                                 "the stream gives it something that no file can have");
}

void
varve_stream_attributes_times(const VarveStreamEntry *entry, struct timespec times[2])
{
    times[0] = (struct timespec){entry->atime, entry->atime_nsec};
    times[1] = (struct timespec){entry->mtime, entry->mtime_nsec};
}

static gboolean
set_xattrs(const VarveStreamEntry *entry, VarveFile file, GError **error)
{
    g_autofree VarveXattr *xattrs = g_new(VarveXattr, entry->n_xattrs);
    for (gsize i = 0; i < entry->n_xattrs; i++) {
        const Varve__Stream__Xattr *from = entry->xattrs[i];
        xattrs[i] = (VarveXattr){from->name, from->value.data, from->value.len};
    }
    return varve_xattrs_replace(file, xattrs, entry->n_xattrs, error);
}

static gboolean
set_owner(const VarveStreamEntry *entry, VarveFile file, const struct stat *have, GError **error)
{
    const char *name = file.name != NULL ? file.name : "";
    return (have->st_uid == entry->uid && have->st_gid == entry->gid) ||
           fchownat(file.dirfd, name, entry->uid, entry->gid,
                    AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0 ||
           varve_error_set_errno(error, errno, "setting its owner to %u:%u", entry->uid,
                                 entry->gid);
}

/* Another owner, and an ACL, may have changed it. */
static gboolean
set_mode(const VarveStreamEntry *entry, VarveFile file, const struct stat *have, GError **error)
{
    gboolean same = (have->st_mode & 07777) == entry->mode && have->st_uid == entry->uid &&
                    have->st_gid == entry->gid && entry->n_xattrs == 0;
    if (same || entry->kind == VARVE__STREAM__ENTRY__KIND__SYMLINK)
        return TRUE;
    int result = file.name == NULL ? fchmod(file.dirfd, entry->mode)
                                   : fchmodat(file.dirfd, file.name, entry->mode, 0);
    return result == 0 || varve_error_set_errno(error, errno, "setting its mode");
}

/* In this order: a new owner takes setuid and file capabilities away, and the times are to be the
 * last word. What an ACL says of the mode is what the mode says. What is right already is left
 * alone: file systems write an inode for each of these. */
gboolean
varve_stream_attributes_set(const VarveStreamEntry *entry, VarveFile file, GError **error)
{
    struct timespec times[2];
    struct stat have;
    const char *name = file.name != NULL ? file.name : "";
    varve_stream_attributes_times(entry, times);
    if (fstatat(file.dirfd, name, &have, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
        return varve_error_set_errno(error, errno, "looking at it");
    if (!set_owner(entry, file, &have, error) || !set_xattrs(entry, file, error) ||
        !set_mode(entry, file, &have, error))
        return FALSE;
    int result = file.name == NULL ? futimens(file.dirfd, times)
                                   : utimensat(file.dirfd, name, times, AT_SYMLINK_NOFOLLOW);
    return result == 0 || varve_error_set_errno(error, errno, "setting its times");
}
