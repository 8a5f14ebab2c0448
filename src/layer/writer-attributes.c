/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/writer-internal.h"
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SPECIAL_BITS (S_ISUID | S_ISGID) /* a change of the owner takes them away */
#define ACL_ACCESS   "system.posix_acl_access"
#define ACL_DEFAULT  "system.posix_acl_default"
#define OVERLAY      "trusted.overlay."

/* --- xattrs ---------------------------------------------------------------------------------- */

/* Calls that take a directory and a name are too young (Linux 6.13) to be relied on. */
typedef struct {
    char text[sizeof "/proc/self/fd/-2147483648/" + NAME_MAX];
} ProcPath;

static ProcPath
proc_path(const VarvePlace *place)
{
    ProcPath path;
    g_snprintf(path.text, sizeof path.text, "/proc/self/fd/%d/%s", place->dirfd, place->name);
    return path;
}

static int
set_xattr(const VarvePlace *place, int fd, const char *name, const VarveTarXattr *xattr)
{
    return fd >= 0 ? fsetxattr(fd, name, xattr->value, xattr->size, 0)
                   : lsetxattr(proc_path(place).text, name, xattr->value, xattr->size, 0);
}

/* What no file system could do there, as against what failed: user xattrs are for files and
 * directories only. */
static gboolean
may_be_dropped(int errnum, int fd, const char *name)
{
    return errnum == EOPNOTSUPP || (errnum == EPERM && fd < 0 && g_str_has_prefix(name, "user."));
}

/* overlayfs would take its own as its notes about a layer; it shows such as are escaped (Linux,
 * Documentation/filesystems/overlayfs.rst, "Nested overlayfs mounts"). */
static char *
name_in_layer(const VarveWriter *writer, const char *name)
{
    if (writer->target->whiteouts != VARVE_WHITEOUTS_OVERLAY || !g_str_has_prefix(name, OVERLAY))
        return NULL;
    return g_strconcat(OVERLAY "overlay.", name + strlen(OVERLAY), NULL);
}

static gboolean
set_one(VarveWriter *writer, const VarvePlace *place, int fd, const VarveTarXattr *xattr,
        GError **error)
{
    g_autofree char *escaped = name_in_layer(writer, xattr->name);
    if (set_xattr(place, fd, escaped != NULL ? escaped : xattr->name, xattr) == 0)
        return TRUE;
    if (may_be_dropped(errno, fd, xattr->name)) {
        writer->xattrs_dropped++;
        return TRUE;
    }
    int failed = errno;
    g_autofree char *printable = g_strescape(xattr->name, NULL);
    return varve_error_set_errno(error, failed, "setting the xattr '%s'", printable);
}

static gboolean
set_xattrs(VarveWriter *writer, const VarvePlace *place, int fd, const VarveTarEntry *entry,
           GError **error)
{
    for (gsize i = 0; i < entry->n_xattrs; i++) {
        if (!set_one(writer, place, fd, &entry->xattrs[i], error))
            return FALSE;
    }
    return TRUE;
}

/* What a directory passed on to what was made in it, and the layer does not have. */
static gboolean
remove_inherited_acl(const VarvePlace *place, int fd, GError **error)
{
    if (!place->directory->default_acl || fd < 0)
        return TRUE;
    static const char *const names[] = {ACL_ACCESS, ACL_DEFAULT};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (fremovexattr(fd, names[i]) < 0 && errno != ENODATA && errno != EOPNOTSUPP)
            return varve_error_set_errno(error, errno, "removing an inherited ACL");
    }
    return TRUE;
}

/* --- owner and mode -------------------------------------------------------------------------- */

static gboolean
needs_owner(const VarveWriter *writer, const VarvePlace *place, const VarveTarEntry *entry)
{
    return entry->uid != writer->uid || entry->gid != writer->gid || !place->directory->plain_group;
}

mode_t
varve_writer_first_mode(const VarveTarEntry *entry)
{
    mode_t mode = entry->mode & ~(mode_t)SPECIAL_BITS;
    return entry->type == VARVE_TAR_DIRECTORY ? mode | S_IRWXU : mode;
}

static gboolean
set_owner(VarveWriter *writer, const VarvePlace *place, int fd, const VarveTarEntry *entry,
          GError **error)
{
    if (!needs_owner(writer, place, entry))
        return TRUE;
    int result =
        fd >= 0 ? fchown(fd, entry->uid, entry->gid)
                : fchownat(place->dirfd, place->name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW);
    return result == 0 || varve_error_set_errno(error, errno, "setting its owner to %u:%u",
                                                entry->uid, entry->gid);
}

/* Symbolic links have none; fchmodat() would follow them. */
static gboolean
set_mode(VarveWriter *writer, const VarvePlace *place, int fd, const VarveTarEntry *entry,
         mode_t mode, GError **error)
{
    if (entry->type == VARVE_TAR_SYMLINK ||
        (writer->exact_modes && mode == entry->mode && !place->directory->default_acl))
        return TRUE;
    int result =
        fd >= 0 ? fchmod(fd, entry->mode) : fchmodat(place->dirfd, place->name, entry->mode, 0);
    return result == 0 || varve_error_set_errno(error, errno, "setting its mode");
}

/* In this order: a new owner takes setuid and file capabilities away, an ACL has a say in what the
 * mode is, and the times are to be the last word. */
gboolean
varve_writer_set_attributes(VarveWriter *writer, const VarvePlace *place, int fd,
                            const VarveTarEntry *entry, mode_t mode, GError **error)
{
    const struct timespec times[] = {entry->atime, entry->mtime};
    if (!set_owner(writer, place, fd, entry, error) || !remove_inherited_acl(place, fd, error) ||
        !set_mode(writer, place, fd, entry, mode, error) ||
        !set_xattrs(writer, place, fd, entry, error))
        return FALSE;
    int result = fd >= 0 ? futimens(fd, times)
                         : utimensat(place->dirfd, place->name, times, AT_SYMLINK_NOFOLLOW);
    return result == 0 || varve_error_set_errno(error, errno, "setting its times");
}

/* --- directories ----------------------------------------------------------------------------- */

static gboolean
is_in_entry(const VarveTarEntry *entry, const char *name)
{
    for (gsize i = 0; i < entry->n_xattrs; i++) {
        if (g_str_equal(entry->xattrs[i].name, name))
            return TRUE;
    }
    return FALSE;
}

/* SELinux's label is the host's matter, and overlayfs's notes are no content. */
static gboolean
is_kept(const VarveTarEntry *entry, const char *name)
{
    return is_in_entry(entry, name) || g_str_equal(name, "security.selinux") ||
           g_str_has_prefix(name, OVERLAY);
}

static gboolean
remove_other_xattrs(int fd, const VarveTarEntry *entry, GError **error)
{
    ssize_t size = flistxattr(fd, NULL, 0);
    if (size <= 0)
        return size == 0 || errno == EOPNOTSUPP ||
               varve_error_set_errno(error, errno, "listing its xattrs");
    g_autofree char *names = g_malloc((gsize)size);
    size = flistxattr(fd, names, (gsize)size);
    if (size < 0)
        return varve_error_set_errno(error, errno, "listing its xattrs");
    for (const char *name = names; name < names + size; name += strlen(name) + 1) {
        if (!is_kept(entry, name) && fremovexattr(fd, name) < 0 && errno != ENODATA)
            return varve_error_set_errno(error, errno, "removing the xattr '%s'", name);
    }
    return TRUE;
}

/* The default ACL comes last of all, since what is made in the directory would inherit it. */
static gboolean
set_directory_xattrs(VarveWriter *writer, const VarvePlace *place, VarveDirectory *directory,
                     int fd, const VarveTarEntry *entry, GError **error)
{
    for (gsize i = 0; i < entry->n_xattrs; i++) {
        const VarveTarXattr *xattr = &entry->xattrs[i];
        if (g_str_equal(xattr->name, ACL_DEFAULT)) {
            g_clear_pointer(&directory->acl, g_bytes_unref);
            directory->acl = g_bytes_new(xattr->value, MIN(xattr->size, XATTR_SIZE_MAX));
        } else if (!set_one(writer, place, fd, xattr, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean
varve_writer_set_directory(VarveWriter *writer, const VarvePlace *place, VarveDirectory *directory,
                           const VarveTarEntry *entry, gboolean merged, GError **error)
{
    if (writer->target->unsettled != NULL) {
        g_autofree char *path = varve_directory_path(directory);
        varve_unsettled_give_attributes(writer->target->unsettled, path);
    }
    gboolean inherits = place->directory != directory && place->directory->default_acl;
    int fd = -1;
    if (entry->n_xattrs > 0 || merged || inherits) {
        fd = varve_directory_fd(writer->directories, directory, error);
        if (fd < 0)
            return FALSE;
    }
    gboolean ok = merged ? fchown(fd, entry->uid, entry->gid) == 0 ||
                               varve_error_set_errno(error, errno, "setting its owner")
                         : set_owner(writer, place, fd, entry, error);
    if (!ok || (merged && !remove_other_xattrs(fd, entry, error)) ||
        (inherits && !merged && !remove_inherited_acl(place, fd, error)) ||
        !set_directory_xattrs(writer, place, directory, fd, entry, error))
        return FALSE;
    directory->gid = entry->gid;
    /* A new one has its parent's setgid until its own mode is set, at the end. */
    directory->plain_group = entry->gid == writer->gid &&
                             (merged ? directory->plain_group : place->directory->plain_group);
    directory->default_acl = directory->default_acl && is_in_entry(entry, ACL_DEFAULT);
    directory->mode = entry->mode;
    directory->times[0] = entry->atime;
    directory->times[1] = entry->mtime;
    directory->dirty = TRUE;
    mode_t first = varve_writer_first_mode(entry);
    directory->set_mode = merged || inherits || !writer->exact_modes || first != entry->mode ||
                          !place->directory->plain_group;
    return TRUE;
}
