/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/image.h"
#include "base/fd.h"
#include "base/loop.h"
#include "driver/btrfs/superblock.h"
#include "driver/image-size.h"
#include <linux/btrfs.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct VarveBtrfsImage {
    const VarveDriverHost *host;
    char *file;
    char *mountpoint;
    int root;
};

static VarveBtrfsImage *
image_new(const VarveDriverHost *host, const char *file)
{
    VarveBtrfsImage *image = g_new0(VarveBtrfsImage, 1);
    image->host = host;
    image->file = g_strdup(file);
    image->mountpoint = g_build_filename(host->path, "mnt", NULL);
    image->root = -1;
    return image;
}

void
varve_btrfs_image_close(VarveBtrfsImage *image)
{
    if (image == NULL)
        return;
    varve_fd_clear(&image->root);
    g_free(image->file);
    g_free(image->mountpoint);
    g_free(image);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveBtrfsImage, varve_btrfs_image_close)

int
varve_btrfs_image_get_root(VarveBtrfsImage *image)
{
    return image->root;
}

/* --- mounting --------------------------------------------------------------------------------- */

/* Whether the directory behind fd is on the btrfs with that UUID. */
static gboolean
is_on(int fd, const char *uuid)
{
    struct btrfs_ioctl_fs_info_args info = {0};
    if (ioctl(fd, BTRFS_IOC_FS_INFO, &info) < 0)
        return FALSE;
    g_autofree char *found = varve_btrfs_format_uuid(info.fsid);
    return g_str_equal(found, uuid);
}

static gboolean
mount_device(VarveBtrfsImage *image, const char *device, GError **error)
{
    /* discard: what is freed in there becomes a hole in the file again. */
    static const char *const options[] = {"subvolid=5", "noatime", "discard=async", NULL};
    g_autoptr(VarveMount) mount = varve_mount_new("btrfs", device, options);
    g_autoptr(GError) why = NULL;
    if (varve_mount_attach(mount, image->mountpoint, &why))
        return TRUE;
    /* The file was found to be ours, so what btrfs does not like about it is damage. */
    gboolean damaged = g_error_matches(why, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT) ||
                       g_error_matches(why, VARVE_ERROR, VARVE_ERROR_INTERNAL);
    return varve_error_set(error, damaged ? VARVE_ERROR_CORRUPT : (VarveErrorCode)why->code, "%s",
                           why->message);
}

/* A device that the file is attached to already is used again: attached twice, btrfs would see one
 * file system on two devices. fd: of the file, for reading and writing. */
static gboolean
attach_and_mount(VarveBtrfsImage *image, int fd, GError **error)
{
    g_autofree char *path = NULL;
    varve_autofd device = -1;
    if (!varve_loop_find(fd, &device, &path, error))
        return FALSE;
    if (device < 0)
        device = varve_loop_attach(fd, &path, error);
    return device >= 0 && mount_device(image, path, error);
}

/* Whether the file holds the file system with that UUID. */
static gboolean
check_content(const VarveBtrfsImage *image, int fd, const char *uuid, GError **error)
{
    g_autofree char *found = varve_btrfs_read_uuid(fd, error);
    if (found == NULL) {
        g_prefix_error(error, "the file %s: ", image->file);
        return FALSE;
    }
    if (g_str_equal(found, uuid))
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the file %s holds another file system than this pool's: its UUID is %s "
                           "and should be %s; it was left alone",
                           image->file, found, uuid);
}

/* Opens the root of the file system with that UUID, mounting it if need be. */
static gboolean
open_mounted(VarveBtrfsImage *image, int fd, const char *uuid, GError **error)
{
    varve_autofd dir = varve_fd_make_dir(image->host->dirfd, "mnt", 0700, error);
    if (dir < 0)
        return FALSE;
    if (!is_on(dir, uuid)) {
        if (!check_content(image, fd, uuid, error) || !attach_and_mount(image, fd, error))
            return FALSE;
        varve_fd_clear(&dir);
        dir = varve_fd_open_dir(image->host->dirfd, "mnt", error);
        if (dir < 0)
            return FALSE;
    }
    image->root = dir;
    dir = -1;
    return TRUE;
}

/* Takes the file's lock, which whoever holds the result has. Not on the descriptor that the loop
 * device gets: the device would keep the lock. */
static int
lock_file(const char *file, GError **error)
{
    varve_autofd fd = open(file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) < 0) {
        varve_error_set_errno(error, errno, "locking %s", file);
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

/* --- an existing one -------------------------------------------------------------------------- */

static char *
read_identity(const VarveBtrfsImage *image, GError **error)
{
    g_autofree char *record = g_build_filename(image->host->path, "fsid", NULL);
    g_autoptr(GError) why = NULL;
    char *uuid = NULL;
    if (!g_file_get_contents(record, &uuid, NULL, &why)) {
        varve_error_set(error, VARVE_ERROR_CORRUPT,
                        "the pool's record of its file system is missing: %s", why->message);
        return NULL;
    }
    return g_strchomp(uuid);
}

static gboolean
import_image(VarveBtrfsImage *image, GError **error)
{
    varve_autofd fd = open(image->file, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return varve_error_set(error, VARVE_ERROR_NOT_FOUND, "the pool's file %s is missing",
                               image->file);
    if (fd < 0)
        return varve_error_set_errno(error, errno, "opening the pool's file %s", image->file);
    varve_autofd lock = lock_file(image->file, error);
    g_autofree char *uuid = lock >= 0 ? read_identity(image, error) : NULL;
    return uuid != NULL && open_mounted(image, fd, uuid, error);
}

/* --- a fresh one ------------------------------------------------------------------------------ */

static char *
find_mkfs(void)
{
    static const char *const places[] = {"mkfs.btrfs", "/usr/sbin/mkfs.btrfs", "/sbin/mkfs.btrfs"};
    char *path = NULL;
    for (gsize i = 0; path == NULL && i < G_N_ELEMENTS(places); i++)
        path = g_find_program_in_path(places[i]);
    return path;
}

static gboolean
missing_mkfs(GError **error)
{
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "mkfs.btrfs is not installed: it is in the package btrfs-progs");
}

static gboolean
make_file_system(const char *file, GError **error)
{
    g_autofree char *mkfs = find_mkfs();
    if (mkfs == NULL)
        return missing_mkfs(error);
    char *arguments[] = {mkfs, (char *)"--quiet", (char *)"--", (char *)file, NULL};
    g_autofree char *notes = NULL, *complaint = NULL;
    g_autoptr(GError) why = NULL;
    int status;
    if (g_spawn_sync("/", arguments, NULL, G_SPAWN_DEFAULT, NULL, NULL, &notes, &complaint, &status,
                     &why) &&
        g_spawn_check_wait_status(status, &why))
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_INTERNAL, "making a btrfs in %s: %s: %s", file,
                           why->message, complaint != NULL ? g_strstrip(complaint) : "");
}

/* Notes whose the file is. Until this is on disk, the file is nobody's. */
static gboolean
write_identity(const VarveBtrfsImage *image, const char *uuid, GError **error)
{
    g_autofree char *record = g_build_filename(image->host->path, "fsid", NULL);
    g_autofree char *line = g_strconcat(uuid, "\n", NULL);
    g_autoptr(GError) why = NULL;
    if (g_file_set_contents_full(record, line, -1,
                                 G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600,
                                 &why))
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_INTERNAL, "%s", why->message);
}

static gboolean
fill_image(VarveBtrfsImage *image, int fd, guint64 size, GError **error)
{
    if (ftruncate(fd, (off_t)size) < 0)
        return varve_error_set_errno(error, errno, "making %s %" G_GUINT64_FORMAT " bytes large",
                                     image->file, size);
    varve_autofd lock = lock_file(image->file, error);
    if (lock < 0 || !make_file_system(image->file, error))
        return FALSE;
    g_autofree char *uuid = varve_btrfs_read_uuid(fd, error);
    return uuid != NULL && write_identity(image, uuid, error) &&
           open_mounted(image, fd, uuid, error);
}

static gboolean
make_image(VarveBtrfsImage *image, const char *size_setting, GError **error)
{
    guint64 size;
    if (!varve_image_size(image->file, size_setting, &size, error))
        return FALSE;
    varve_autofd fd = open(image->file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS,
                               "the file %s is there already; it was left alone", image->file);
    if (fd < 0)
        return varve_error_set_errno(error, errno, "making the file %s", image->file);
    if (fill_image(image, fd, size, error))
        return TRUE;
    GError *undo_error = NULL;
    if (!varve_btrfs_image_destroy(image, &undo_error))
        varve_error_log_undo("removing an image that could not be made", undo_error);
    return FALSE;
}

VarveBtrfsImage *
varve_btrfs_image_open(const VarveDriverHost *host, const char *file, gboolean fresh,
                       const char *size, GError **error)
{
    g_autoptr(VarveBtrfsImage) image = image_new(host, file);
    if (!(fresh ? make_image(image, size, error) : import_image(image, error)))
        return NULL;
    return g_steal_pointer(&image);
}

/* --- the end ---------------------------------------------------------------------------------- */

gboolean
varve_btrfs_image_destroy(VarveBtrfsImage *image, GError **error)
{
    varve_fd_clear(&image->root);
    g_autoptr(GError) why = NULL;
    if (!varve_mount_detach(image->mountpoint, &why) &&
        !g_error_matches(why, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT) &&
        !g_error_matches(why, VARVE_ERROR, VARVE_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    if (unlink(image->file) < 0 && errno != ENOENT)
        return varve_error_set_errno(error, errno, "deleting %s", image->file);
    int dirfd = image->host->dirfd;
    if (unlinkat(dirfd, "fsid", 0) < 0 && errno != ENOENT)
        return varve_error_set_errno(error, errno, "deleting the record of the file system");
    if (unlinkat(dirfd, "mnt", AT_REMOVEDIR) < 0 && errno != ENOENT)
        return varve_error_set_errno(error, errno, "removing the mount point");
    return TRUE;
}

gboolean
varve_btrfs_image_probe(const char *file, GError **error)
{
    if (access("/dev/loop-control", R_OK | W_OK) < 0)
        return varve_error_set_errno(error, errno,
                                     "keeping a pool in a file needs loop devices: opening "
                                     "/dev/loop-control");
    g_autofree char *mkfs = find_mkfs();
    if (mkfs == NULL)
        return missing_mkfs(error);
    g_autofree char *parent = g_path_get_dirname(file);
    if (!g_file_test(parent, G_FILE_TEST_IS_DIR))
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "the directory %s, which is to hold the pool's file, is missing",
                               parent);
    return TRUE;
}
