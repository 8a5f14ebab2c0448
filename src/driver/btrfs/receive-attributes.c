/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/xattrs.h"
#include "driver/btrfs/receive-internal.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a path names: the file that is open, without a name, or a place. */
static gboolean
find(VarveReceive *receive, const char *path, VarveFile *file, GError **error)
{
    *file = (VarveFile){receive->file.fd, NULL};
    return g_strcmp0(receive->file.path, path) == 0 ||
           varve_places_find(receive->places, path, file, error);
}

static gboolean
check_number(guint64 value, guint64 most, const char *what, GError **error)
{
    return value <= most ||
           varve_error_set(error, VARVE_ERROR_CORRUPT, "no %s is %" G_GUINT64_FORMAT, what, value);
}

/* --- xattrs ----------------------------------------------------------------------------------- */

static void
keep_default_acl(VarveReceive *receive, const VarveSendCommand *command)
{
    g_clear_pointer(&receive->default_acl, g_bytes_unref);
    if (command->kind == VARVE_SEND_SET_XATTR)
        receive->default_acl = g_bytes_new(command->xattr_data.bytes, command->xattr_data.length);
}

gboolean
varve_receive_xattr(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    if (*command->path == '\0' && g_str_equal(command->xattr_name, VARVE_DEFAULT_ACL)) {
        keep_default_acl(receive, command);
        return TRUE;
    }
    VarveFile file;
    if (!find(receive, command->path, &file, error))
        return FALSE;
    gboolean removes = command->kind == VARVE_SEND_REMOVE_XATTR;
    const void *value = removes                          ? NULL
                        : command->xattr_data.length > 0 ? (const void *)command->xattr_data.bytes
                                                         : "";
    if (varve_xattrs_set(file, command->xattr_name, value, command->xattr_data.length) == 0)
        return TRUE;
    g_autofree char *shown = g_strescape(command->xattr_name, NULL);
    g_autofree char *doing = g_strdup_printf("%s the extended attribute %.255s",
                                             removes ? "removing" : "setting", shown);
    return varve_places_set_errno(error, errno, doing);
}

/* --- owner, mode, times ----------------------------------------------------------------------- */

gboolean
varve_receive_chown(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    const guint64 most = (uid_t)-2; /* -1 would leave it as it is */
    VarveFile file;
    if (!check_number(command->uid, most, "user", error) ||
        !check_number(command->gid, most, "group", error) ||
        !find(receive, command->path, &file, error))
        return FALSE;
    uid_t uid = (uid_t)command->uid;
    gid_t gid = (gid_t)command->gid;
    int result = file.name == NULL ? fchown(file.dirfd, uid, gid)
                                   : fchownat(file.dirfd, file.name, uid, gid, AT_SYMLINK_NOFOLLOW);
    return result == 0 || varve_places_set_errno(error, errno, "setting the owner");
}

/* A symbolic link has no mode of its own, and fchmodat() would follow it. Nobody else is at work in
 * the subvolume, so that it is still what it was looked at as. */
static gboolean
chmod_place(const VarveFile *place, mode_t mode, GError **error)
{
    struct stat st;
    if (fstatat(place->dirfd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return varve_places_set_errno(error, errno, "looking at it");
    if (S_ISLNK(st.st_mode))
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "a mode for a symbolic link, which has none");
    return fchmodat(place->dirfd, place->name, mode, 0) == 0 ||
           varve_places_set_errno(error, errno, "setting the mode");
}

gboolean
varve_receive_chmod(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    VarveFile file;
    if (!check_number(command->mode, 07777, "mode", error) ||
        !find(receive, command->path, &file, error))
        return FALSE;
    mode_t mode = (mode_t)command->mode;
    if (file.name != NULL)
        return chmod_place(&file, mode, error);
    return fchmod(file.dirfd, mode) == 0 ||
           varve_places_set_errno(error, errno, "setting the mode");
}

gboolean
varve_receive_utimes(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    const struct timespec times[] = {command->atime, command->mtime};
    VarveFile file;
    for (gsize i = 0; i < G_N_ELEMENTS(times); i++) {
        if (!check_number((guint64)times[i].tv_nsec, 999999999, "part of a second", error))
            return FALSE;
    }
    if (*command->path == '\0') {
        memcpy(receive->root_times, times, sizeof times);
        return TRUE;
    }
    if (!find(receive, command->path, &file, error))
        return FALSE;
    int result = file.name == NULL ? futimens(file.dirfd, times)
                                   : utimensat(file.dirfd, file.name, times, AT_SYMLINK_NOFOLLOW);
    return result == 0 || varve_places_set_errno(error, errno, "setting the times");
}
