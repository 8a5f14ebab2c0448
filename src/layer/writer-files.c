/* SPDX-License-Identifier: Apache-2.0 */
#include "base/attributes.h"
#include "base/content.h"
#include "layer/writer-internal.h"
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* --- what is in the way ---------------------------------------------------------------------- */

/* Whether a name is free now that was not. Entries replace what is there. */
static gboolean
make_way(VarveWriter *writer, const VarvePlace *place, int failed, const char *verb, GError **error)
{
    if (failed != EEXIST)
        return varve_error_set_errno(error, failed, "%s it", verb);
    return varve_writer_remove(writer, place, error);
}

/* --- files ----------------------------------------------------------------------------------- */

static gboolean
write_content(VarveWriter *writer, int fd, VarveTar *tar, const VarveTarEntry *entry,
              GError **error)
{
    const guint8 *bytes;
    gsize size;
    guint64 offset, end = 0;
    while (varve_tar_read(tar, &bytes, &size, &offset, error)) {
        if (size == 0) {
            return end == entry->size || ftruncate(fd, (off_t)entry->size) == 0 ||
                   varve_error_set_errno(error, errno, "setting its size");
        }
        if (!varve_check_cancelled(writer->target->watch.cancelled, error))
            return FALSE;
        if (!varve_fd_write_all(fd, bytes, size, (gint64)offset))
            return varve_error_set_errno(error, errno, "writing it");
        end = offset + size;
    }
    return FALSE;
}

gboolean
varve_writer_make_file(VarveWriter *writer, const VarvePlace *place, VarveTar *tar,
                       const VarveTarEntry *entry, GError **error)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    mode_t mode = varve_writer_first_mode(entry);
    varve_autofd fd = openat(place->dirfd, place->name, flags, mode);
    if (fd < 0) {
        if (!make_way(writer, place, errno, "making", error))
            return FALSE;
        fd = openat(place->dirfd, place->name, flags, mode);
        if (fd < 0)
            return varve_error_set_errno(error, errno, "making it");
    }
    return write_content(writer, fd, tar, entry, error) &&
           varve_writer_set_attributes(writer, place, fd, entry, mode, error);
}

/* --- symbolic links and devices -------------------------------------------------------------- */

gboolean
varve_writer_make_symlink(VarveWriter *writer, const VarvePlace *place, const VarveTarEntry *entry,
                          GError **error)
{
    if (entry->target[0] == '\0' || strlen(entry->target) >= PATH_MAX)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "a symbolic link's target has %zu bytes; 1 to %d are possible",
                               strlen(entry->target), PATH_MAX - 1);
    if (symlinkat(entry->target, place->dirfd, place->name) < 0) {
        if (!make_way(writer, place, errno, "making", error))
            return FALSE;
        if (symlinkat(entry->target, place->dirfd, place->name) < 0)
            return varve_error_set_errno(error, errno, "making it");
    }
    return varve_writer_set_attributes(writer, place, -1, entry, 0, error);
}

gboolean
varve_writer_make_node(VarveWriter *writer, const VarvePlace *place, const VarveTarEntry *entry,
                       GError **error)
{
    static const mode_t types[] = {
        [VARVE_TAR_CHAR] = S_IFCHR, [VARVE_TAR_BLOCK_DEVICE] = S_IFBLK, [VARVE_TAR_FIFO] = S_IFIFO};
    gboolean is_whiteout = entry->type == VARVE_TAR_CHAR && entry->major == 0 && entry->minor == 0;
    if (is_whiteout && writer->target->whiteouts == VARVE_WHITEOUTS_OVERLAY)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "a character device 0:0 cannot be in a layer of overlayfs, which "
                               "takes it as the mark of a removed file");
    mode_t first = varve_writer_first_mode(entry);
    mode_t mode = types[entry->type] | first;
    dev_t device = makedev(entry->major, entry->minor);
    if (mknodat(place->dirfd, place->name, mode, device) < 0) {
        if (!make_way(writer, place, errno, "making", error))
            return FALSE;
        if (mknodat(place->dirfd, place->name, mode, device) < 0)
            return varve_error_set_errno(error, errno, "making it");
    }
    return varve_writer_set_attributes(writer, place, -1, entry, first, error);
}

/* --- hard links ------------------------------------------------------------------------------ */

static gboolean
may_go_on(guint64 bytes, gpointer writer, GError **error)
{
    return varve_check_cancelled(((const VarveWriter *)writer)->target->watch.cancelled, error);
}

static gboolean
copy_file(VarveWriter *writer, int below, const VarvePlace *target, GError **error)
{
    varve_autofd from = openat(below, target->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (from < 0 || fstat(from, &st) < 0)
        return varve_error_set_errno(error, errno, "opening it in the layers below");
    varve_autofd to = openat(target->dirfd, target->name,
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return varve_error_set_errno(error, errno, "copying it from the layers below");
    g_autoptr(VarveContent) content = varve_content_new(may_go_on, writer);
    return varve_content_copy(content, from, to, st.st_size, error) &&
           varve_attributes_copy((VarveFile){from, NULL}, &st, (VarveFile){to, NULL},
                                 VARVE_XATTRS_WITHOUT_OVERLAY, error);
}

/* A symbolic link, device node, fifo or socket: none of them is opened. */
static gboolean
copy_special(int below, const VarvePlace *target, const struct stat *st, GError **error)
{
    char text[PATH_MAX] = "";
    if (S_ISLNK(st->st_mode) && readlinkat(below, target->name, text, sizeof text - 1) < 0)
        return varve_error_set_errno(error, errno, "reading it in the layers below");
    int made = S_ISLNK(st->st_mode)
                   ? symlinkat(text, target->dirfd, target->name)
                   : mknodat(target->dirfd, target->name, st->st_mode, st->st_rdev);
    if (made < 0)
        return varve_error_set_errno(error, errno, "copying it from the layers below");
    return varve_attributes_copy((VarveFile){below, target->name}, st,
                                 (VarveFile){target->dirfd, target->name},
                                 VARVE_XATTRS_WITHOUT_OVERLAY, error);
}

/* Overlayfs: a file that only the layers below have comes up, as it would if it were changed. */
static gboolean
copy_up(VarveWriter *writer, const VarvePlace *target, GError **error)
{
    if (writer->target->unsettled != NULL)
        return varve_unsettled_give_up(writer->target->unsettled, error);
    struct stat st;
    varve_autofd below = varve_directory_open_below(writer->directories, target->directory);
    if (below < 0)
        return varve_error_set_errno(error, ENOENT, "linking to it");
    if (fstatat(below, target->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return varve_error_set_errno(error, errno, "looking at it in the layers below");
    if (S_ISDIR(st.st_mode))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "it is a directory");
    target->directory->dirty = TRUE;
    return S_ISREG(st.st_mode) ? copy_file(writer, below, target, error)
                               : copy_special(below, target, &st, error);
}

static gboolean
is_same_file(const VarvePlace *a, const VarvePlace *b)
{
    struct stat at, bt;
    return fstatat(a->dirfd, a->name, &at, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(b->dirfd, b->name, &bt, AT_SYMLINK_NOFOLLOW) == 0 && at.st_ino == bt.st_ino &&
           at.st_dev == bt.st_dev;
}

static gboolean
is_whiteout(const VarveWriter *writer, const VarvePlace *place)
{
    struct stat st;
    return writer->has_whiteouts &&
           fstatat(place->dirfd, place->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           varve_is_whiteout(&st);
}

/* A directory is refused by the kernel, and so is what is on another file system. A symbolic link
 * is linked itself, not followed. */
static gboolean
link_places(VarveWriter *writer, const VarvePlace *target, const VarvePlace *place, GError **error)
{
    if (is_whiteout(writer, target))
        return varve_error_set_errno(error, ENOENT, "linking to it");
    if (linkat(target->dirfd, target->name, place->dirfd, place->name, 0) == 0)
        return TRUE;
    int failed = errno;
    if (failed == ENOENT) {
        if (!copy_up(writer, target, error))
            return FALSE;
    } else {
        if (failed == EEXIST && is_same_file(target, place))
            return TRUE;
        struct stat st; /* nothing is removed for what cannot be linked then */
        if (fstatat(target->dirfd, target->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return varve_error_set_errno(error, errno, "linking to it");
        if (S_ISDIR(st.st_mode))
            return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "it is a directory");
        if (!make_way(writer, place, failed, "linking", error))
            return FALSE;
    }
    if (linkat(target->dirfd, target->name, place->dirfd, place->name, 0) == 0)
        return TRUE;
    failed = errno;
    if (failed != EEXIST)
        return varve_error_set_errno(error, failed, "linking to it");
    return varve_writer_remove(writer, place, error) &&
           (linkat(target->dirfd, target->name, place->dirfd, place->name, 0) == 0 ||
            varve_error_set_errno(error, errno, "linking to it"));
}

static gboolean
link_to(VarveWriter *writer, const VarvePlace *place, const char *text, GError **error)
{
    VarveWriterPath path;
    VarveDirectory *directory;
    gboolean overlay = writer->target->whiteouts == VARVE_WHITEOUTS_OVERLAY;
    if (!varve_writer_split(text, &path, error) ||
        !varve_directories_find(writer->directories, path.directory, overlay, &directory, error))
        return FALSE;
    if (directory == NULL || path.name[0] == '\0')
        return varve_error_set_errno(error, ENOENT, "linking to it");
    int fd = varve_directory_fd(writer->directories, directory, error);
    return fd >= 0 && link_places(writer, &(VarvePlace){directory, fd, path.name}, place, error);
}

gboolean
varve_writer_make_link(VarveWriter *writer, const VarvePlace *place, const VarveTarEntry *entry,
                       GError **error)
{
    if (link_to(writer, place, entry->target, error))
        return TRUE;
    g_autofree char *printable = g_strescape(entry->target, NULL);
    g_prefix_error(error, "hard link to '%.200s': ", printable);
    return FALSE;
}

/* --- directories ----------------------------------------------------------------------------- */

/* Merges with the directory that is there. */
static gboolean
merge(VarveWriter *writer, const VarvePlace *place, const VarveTarEntry *entry, gboolean *merged,
      GError **error)
{
    VarveDirectory *directory;
    int failed;
    if (!varve_directory_open(writer->directories, place->directory, place->name, &directory,
                              &failed, error))
        return FALSE;
    *merged = directory != NULL;
    if (*merged)
        return varve_writer_set_directory(writer, place, directory, entry, TRUE, error);
    return failed == ELOOP || failed == ENOTDIR ||
           varve_error_set_errno(error, failed, "opening the directory that is there");
}

gboolean
varve_writer_make_directory(VarveWriter *writer, const VarvePlace *place,
                            const VarveTarEntry *entry, GError **error)
{
    mode_t mode = varve_writer_first_mode(entry);
    gboolean replaced = FALSE, merged = FALSE;
    if (mkdirat(place->dirfd, place->name, mode) < 0) {
        int failed = errno;
        if (failed == EEXIST && (!merge(writer, place, entry, &merged, error) || merged))
            return merged;
        if (!make_way(writer, place, failed, "making", error))
            return FALSE;
        if (mkdirat(place->dirfd, place->name, mode) < 0)
            return varve_error_set_errno(error, errno, "making it");
        replaced = TRUE;
    }
    VarveDirectory *directory =
        varve_directory_add(writer->directories, place->directory, place->name);
    /* What was replaced hid what is below, and so must this. */
    if (replaced && writer->target->whiteouts == VARVE_WHITEOUTS_OVERLAY) {
        int fd = varve_directory_fd(writer->directories, directory, error);
        if (fd < 0 || !varve_directory_make_opaque(directory, fd, error))
            return FALSE;
    }
    return varve_writer_set_directory(writer, place, directory, entry, FALSE, error);
}
