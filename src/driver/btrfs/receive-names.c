/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/xattrs.h"
#include "driver/btrfs/receive-internal.h"
#include <dirent.h>
#include <linux/btrfs_tree.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* --- making ----------------------------------------------------------------------------------- */

/* See receive.c: streams of the kernel make all in the root directory. What another one makes
 * elsewhere shall inherit nothing either. */
static gboolean
drop_inherited_acls(VarveReceive *receive, const VarveFile *place, GError **error)
{
    static const char *const names[] = {"system.posix_acl_access", VARVE_DEFAULT_ACL};
    if (place->dirfd == receive->target->root)
        return TRUE;
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (varve_xattrs_set(*place, names[i], NULL, 0) < 0 && errno != ENODATA &&
            errno != EOPNOTSUPP)
            return varve_error_set_errno(error, errno, "taking away an ACL that was inherited");
    }
    return TRUE;
}

static gboolean
note_made(VarveReceive *receive, const VarveFile *place, GError **error)
{
    receive->received.files++;
    if (receive->base != NULL && receive->first_made == 0) {
        struct stat st;
        if (fstatat(place->dirfd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return varve_error_set_errno(error, errno, "looking at it");
        receive->first_made = st.st_ino;
    }
    return drop_inherited_acls(receive, place, error);
}

gboolean
varve_receive_make_file(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    VarveFile place;
    if (!varve_places_find_name(receive->places, command->path, &place, error))
        return FALSE;
    int fd =
        openat(place.dirfd, place.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return varve_places_set_errno(error, errno, "making the file");
    varve_receive_set_file(receive, command->path, fd);
    return note_made(receive, &place, error);
}

/* As the kernel has it for userland, in 32 bits: 12 of the major number, 20 of the minor one. */
static gboolean
read_device(guint64 value, dev_t *device, GError **error)
{
    if (value > G_MAXUINT32)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "a device has no such number");
    guint32 number = (guint32)value;
    *device = makedev(number >> 8 & 0xfff, (number & 0xff) | (number >> 12 & 0xfff00));
    return TRUE;
}

static gboolean
make_node(const VarveFile *place, const VarveSendCommand *command, GError **error)
{
    static const mode_t types[] = {[VARVE_SEND_MKFIFO] = S_IFIFO, [VARVE_SEND_MKSOCK] = S_IFSOCK};
    mode_t type =
        command->kind == VARVE_SEND_MKNOD ? (mode_t)command->mode & S_IFMT : types[command->kind];
    dev_t device = 0;
    if (command->kind == VARVE_SEND_MKNOD && type != S_IFCHR && type != S_IFBLK)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "it is no device");
    if (command->kind == VARVE_SEND_MKNOD && !read_device(command->rdev, &device, error))
        return FALSE;
    return mknodat(place->dirfd, place->name, type | 0600, device) == 0 ||
           varve_places_set_errno(error, errno, "making the special file");
}

static gboolean
make_other(const VarveFile *place, const VarveSendCommand *command, GError **error)
{
    if (command->kind == VARVE_SEND_MKDIR)
        return mkdirat(place->dirfd, place->name, 0700) == 0 ||
               varve_places_set_errno(error, errno, "making the directory");
    if (command->kind == VARVE_SEND_SYMLINK)
        return symlinkat(command->path_link, place->dirfd, place->name) == 0 ||
               varve_places_set_errno(error, errno, "making the symbolic link");
    return make_node(place, command, error);
}

gboolean
varve_receive_make_other(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    VarveFile place;
    return varve_places_find_name(receive->places, command->path, &place, error) &&
           make_other(&place, command, error) && note_made(receive, &place, error);
}

gboolean
varve_receive_link(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    VarveFile place, of;
    if (!varve_places_find_name(receive->places, command->path, &place, error) ||
        !varve_places_find_name(receive->places, command->path_link, &of, error))
        return FALSE;
    return linkat(of.dirfd, of.name, place.dirfd, place.name, 0) == 0 ||
           varve_places_set_errno(error, errno, "making the hard link");
}

/* --- placeholders ----------------------------------------------------------------------------- */

/* A snapshot has an empty directory in the place of each subvolume in the one that it was made of.
 * Streams do not speak of those: they have to give way to what streams do speak of. */
static gboolean
remove_placeholder(int dirfd, const char *name)
{
    struct stat st;
    return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
           st.st_ino == BTRFS_EMPTY_SUBVOL_DIR_OBJECTID && unlinkat(dirfd, name, AT_REMOVEDIR) == 0;
}

/* Whether a directory that is not empty now may be. */
static gboolean
remove_placeholders(const VarveFile *place)
{
    int fd = openat(place->dirfd, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    gboolean removed = FALSE;
    if (dir == NULL) {
        varve_fd_clear(&fd);
        return FALSE;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (!g_str_equal(entry->d_name, ".") && !g_str_equal(entry->d_name, ".."))
            removed |= remove_placeholder(fd, entry->d_name);
    }
    closedir(dir);
    return removed;
}

/* --- moving and removing ---------------------------------------------------------------------- */

/* What a path named is not there any more, or somewhere else. */
static void
forget(VarveReceive *receive, const char *path)
{
    varve_places_forget(receive->places, path);
    if (receive->file.path != NULL && varve_places_is_beneath(receive->file.path, path))
        varve_receive_file_clear(&receive->file);
    if (receive->shared.path != NULL && !receive->shared_of_base &&
        varve_places_is_beneath(receive->shared.path, path))
        varve_receive_file_clear(&receive->shared);
}

/* A file that is open, and is moved itself, goes on under its new name: all that is made is made
 * under a name of its own first. */
static void
forget_renamed(VarveReceive *receive, const VarveSendCommand *command)
{
    VarveReceiveFile file = {.fd = -1};
    if (g_strcmp0(receive->file.path, command->path) == 0) {
        file = receive->file;
        receive->file = (VarveReceiveFile){.fd = -1};
    }
    forget(receive, command->path);
    forget(receive, command->path_to);
    if (file.fd >= 0)
        varve_receive_set_file(receive, command->path_to, file.fd);
    g_free(file.path);
}

gboolean
varve_receive_rename(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    VarveFile from, to;
    if (!varve_places_find_name(receive->places, command->path, &from, error) ||
        !varve_places_find_name(receive->places, command->path_to, &to, error))
        return FALSE;
    int failed = renameat(from.dirfd, from.name, to.dirfd, to.name) < 0 ? errno : 0;
    if ((failed == EISDIR || failed == ENOTEMPTY || failed == EEXIST) &&
        remove_placeholder(to.dirfd, to.name))
        failed = renameat(from.dirfd, from.name, to.dirfd, to.name) < 0 ? errno : 0;
    if (failed != 0)
        return varve_places_set_errno(error, failed, "renaming it");
    forget_renamed(receive, command);
    return TRUE;
}

gboolean
varve_receive_remove(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    VarveFile place;
    int flags = command->kind == VARVE_SEND_RMDIR ? AT_REMOVEDIR : 0;
    if (!varve_places_find_name(receive->places, command->path, &place, error))
        return FALSE;
    int failed = unlinkat(place.dirfd, place.name, flags) < 0 ? errno : 0;
    if (failed == ENOTEMPTY && remove_placeholders(&place))
        failed = unlinkat(place.dirfd, place.name, flags) < 0 ? errno : 0;
    if (failed != 0)
        return varve_places_set_errno(error, failed, "removing it");
    forget(receive, command->path);
    return TRUE;
}
