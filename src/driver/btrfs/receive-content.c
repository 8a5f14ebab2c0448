/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "driver/btrfs/receive-internal.h"
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- files that are open ---------------------------------------------------------------------- */

void
varve_receive_file_clear(VarveReceiveFile *file)
{
    g_clear_pointer(&file->path, g_free);
    varve_fd_clear(&file->fd);
}

void
varve_receive_set_file(VarveReceive *receive, const char *path, int fd)
{
    varve_receive_file_clear(&receive->file);
    receive->file = (VarveReceiveFile){g_strdup(path), fd};
}

/* Nothing but a regular file is opened: to open a device does something. Nobody else is at work in
 * the subvolume, so that it is still what it was looked at as. */
static int
open_regular(VarvePlaces *places, const char *path, int flags, GError **error)
{
    VarveFile place;
    struct stat st;
    if (!varve_places_find_name(places, path, &place, error))
        return -1;
    if (fstatat(place.dirfd, place.name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        varve_places_set_errno(error, errno, "looking at the file");
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        varve_error_set(error, VARVE_ERROR_CORRUPT, "content for what is no regular file");
        return -1;
    }
    int fd =
        openat(place.dirfd, place.name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        varve_places_set_errno(error, errno, "opening the file");
    return fd;
}

int
varve_receive_open(VarveReceive *receive, const char *path, GError **error)
{
    if (g_strcmp0(receive->file.path, path) == 0)
        return receive->file.fd;
    int fd = open_regular(receive->places, path, O_WRONLY, error);
    if (fd >= 0)
        varve_receive_set_file(receive, path, fd);
    return fd;
}

static int
open_shared(VarveReceive *receive, const char *path, gboolean of_base, GError **error)
{
    if (receive->shared_of_base == of_base && g_strcmp0(receive->shared.path, path) == 0)
        return receive->shared.fd;
    int fd = open_regular(of_base ? receive->base : receive->places, path, O_RDONLY, error);
    if (fd < 0)
        return -1;
    varve_receive_file_clear(&receive->shared);
    receive->shared = (VarveReceiveFile){g_strdup(path), fd};
    receive->shared_of_base = of_base;
    return fd;
}

/* --- ranges ----------------------------------------------------------------------------------- */

static gboolean
check_range(guint64 offset, guint64 length, GError **error)
{
    return (offset <= G_MAXINT64 && length <= G_MAXINT64 - offset) ||
           varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "%" G_GUINT64_FORMAT " bytes at %" G_GUINT64_FORMAT
                           " are beyond the end of any file",
                           length, offset);
}

/* --- writing ---------------------------------------------------------------------------------- */

static gboolean
is_zero(const VarveSendBytes *data)
{
    return data->length > 0 && data->bytes[0] == 0 &&
           memcmp(data->bytes, data->bytes + 1, data->length - 1) == 0;
}

/* Where it can free the file's last block, what is up to the file's end is up to the block's. */
static off_t
length_to_punch(const struct stat *st, guint64 offset, guint64 length)
{
    guint64 end = offset + length, block = (guint64)st->st_blksize;
    gboolean last = end >= (guint64)st->st_size && end <= G_MAXINT64 - block;
    return (off_t)(last ? (end + block - 1) / block * block - offset : length);
}

/* Sets *done when that file was in the base, and has a hole there now. */
static gboolean
punch(VarveReceive *receive, int fd, guint64 offset, guint64 length, gboolean *done, GError **error)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return varve_error_set_errno(error, errno, "looking at the file");
    *done = FALSE;
    if (receive->first_made != 0 && st.st_ino >= receive->first_made)
        return TRUE;
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                  length_to_punch(&st, offset, length)) < 0)
        return errno == EOPNOTSUPP || varve_places_set_errno(error, errno, "making a hole");
    *done = TRUE;
    return (guint64)st.st_size >= offset + length || ftruncate(fd, (off_t)(offset + length)) == 0 ||
           varve_places_set_errno(error, errno, "making the file longer");
}

gboolean
varve_receive_write(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    const VarveSendBytes *data = &command->data;
    gboolean done = FALSE;
    if (!check_range(command->file_offset, data->length, error))
        return FALSE;
    int fd = varve_receive_open(receive, command->path, error);
    if (fd < 0)
        return FALSE;
    if (receive->base != NULL && is_zero(data) &&
        !punch(receive, fd, command->file_offset, data->length, &done, error))
        return FALSE;
    return done ||
           varve_fd_write_all(fd, data->bytes, data->length, (gint64)command->file_offset) ||
           varve_places_set_errno(error, errno, "writing to it");
}

gboolean
varve_receive_truncate(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    if (!check_range(command->size, 0, error))
        return FALSE;
    int fd = varve_receive_open(receive, command->path, error);
    return fd >= 0 && (ftruncate(fd, (off_t)command->size) == 0 ||
                       varve_places_set_errno(error, errno, "setting its size"));
}

gboolean
varve_receive_fallocate(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    const guint32 known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
    if (!check_range(command->file_offset, command->size, error))
        return FALSE;
    if ((command->fallocate_mode & ~known) != 0)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "an unknown way of allocating: %u",
                               command->fallocate_mode);
    int fd = varve_receive_open(receive, command->path, error);
    return fd >= 0 && (fallocate(fd, (int)command->fallocate_mode, (off_t)command->file_offset,
                                 (off_t)command->size) == 0 ||
                       varve_places_set_errno(error, errno, "allocating"));
}

/* --- sharing ---------------------------------------------------------------------------------- */

/* Sets *of_base, or fails: the sender's host may have shared blocks with any subvolume, but here
 * only these two are the business of the stream. */
static gboolean
find_shared(const VarveReceive *receive, const VarveSendCommand *command, gboolean *of_base,
            GError **error)
{
    *of_base = memcmp(command->clone_uuid, receive->uuid, VARVE_RECEIVE_UUID) != 0;
    if (!*of_base || (receive->base != NULL &&
                      memcmp(command->clone_uuid, receive->base_uuid, VARVE_RECEIVE_UUID) == 0))
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "it shares blocks with a subvolume that is neither this one nor the "
                           "one that it is made of");
}

gboolean
varve_receive_clone(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    gboolean of_base;
    if (!check_range(command->file_offset, command->clone_len, error) ||
        !check_range(command->clone_offset, command->clone_len, error) ||
        !find_shared(receive, command, &of_base, error))
        return FALSE;
    if (command->clone_len == 0) /* would be all up to the end */
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "no bytes are to be shared");
    int to = varve_receive_open(receive, command->path, error);
    int from = to < 0 ? -1 : open_shared(receive, command->clone_path, of_base, error);
    if (from < 0)
        return FALSE;
    struct file_clone_range range = {.src_fd = from,
                                     .src_offset = command->clone_offset,
                                     .src_length = command->clone_len,
                                     .dest_offset = command->file_offset};
    return ioctl(to, FICLONERANGE, &range) == 0 ||
           varve_places_set_errno(error, errno, "sharing blocks");
}
