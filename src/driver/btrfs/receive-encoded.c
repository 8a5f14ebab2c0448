/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "driver/btrfs/receive-internal.h"
#include <isa-l/igzip_lib.h>
#include <linux/btrfs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <zstd.h>

/*
 * Data as it is on the sender's disk: compressed. The kernel takes it as it is, if the file system
 * could have compressed it itself (a mount without checksums could not, nor a kernel before 5.18).
 * Otherwise it is decompressed here, all but LZO, which we have no library for.
 *
 * What is decompressed is at most 128 KiB long, of which a part may be in the file.
 */

#define MOST_PLAIN (128 * 1024)

/* Each returns FALSE when the data is damaged, or not as long as it says. */
typedef gboolean (*Decompress)(const VarveSendBytes *data, guint8 *plain, gsize size);

static gboolean
copy_plain(const VarveSendBytes *data, guint8 *plain, gsize size)
{
    if (data->length < size)
        return FALSE;
    memcpy(plain, data->bytes, size);
    return TRUE;
}

/* What is on disk is followed by zeros up to the end of its last block. */
static gboolean
decompress_zlib(const VarveSendBytes *data, guint8 *plain, gsize size)
{
    g_autofree struct inflate_state *state = g_new(struct inflate_state, 1);
    isal_inflate_init(state);
    state->crc_flag = ISAL_ZLIB;
    state->next_in = (guint8 *)data->bytes;
    state->avail_in = (guint32)data->length;
    state->next_out = plain;
    state->avail_out = (guint32)size;
    return isal_inflate(state) == ISAL_DECOMP_OK && state->avail_out == 0;
}

static gboolean
decompress_zstd(const VarveSendBytes *data, guint8 *plain, gsize size)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ZSTD_inBuffer in = {data->bytes, data->length, 0};
    ZSTD_outBuffer out = {plain, size, 0};
    size_t left = 1;
    while (context != NULL && left != 0 && !ZSTD_isError(left) && in.pos < in.size &&
           out.pos < out.size)
        left = ZSTD_decompressStream(context, &out, &in);
    ZSTD_freeDCtx(context);
    return !ZSTD_isError(left) && out.pos == size;
}

static const Decompress decompressors[] = {
    [BTRFS_ENCODED_IO_COMPRESSION_NONE] = copy_plain,
    [BTRFS_ENCODED_IO_COMPRESSION_ZLIB] = decompress_zlib,
    [BTRFS_ENCODED_IO_COMPRESSION_ZSTD] = decompress_zstd,
};

static gboolean
write_decompressed(int fd, const VarveSendCommand *command, GError **error)
{
    g_autofree guint8 *plain = g_malloc(MOST_PLAIN);
    if (command->compression >= G_N_ELEMENTS(decompressors))
        return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                               "its data is compressed in the way %u, which this file system "
                               "cannot take as it is, and Varve cannot decompress; receive it on a "
                               "btrfs that is mounted without nodatasum, in Linux 5.18 or later",
                               command->compression);
    if (!decompressors[command->compression](&command->data, plain, command->unencoded_len))
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "its compressed data is damaged");
    return varve_fd_write_all(fd, plain + command->unencoded_offset, command->unencoded_file_len,
                              (gint64)command->file_offset) ||
           varve_places_set_errno(error, errno, "writing to it");
}

static gboolean
check_lengths(const VarveSendCommand *command, GError **error)
{
    guint64 length = command->unencoded_len, offset = command->unencoded_offset;
    if (command->encryption != 0 || length > MOST_PLAIN || offset > length ||
        command->unencoded_file_len > length - offset || command->data.length == 0 ||
        command->file_offset > G_MAXINT64 - MOST_PLAIN)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "compressed data cannot be like that");
    return TRUE;
}

gboolean
varve_receive_encoded(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    int fd = check_lengths(command, error) ? varve_receive_open(receive, command->path, error) : -1;
    if (fd < 0)
        return FALSE;
    const struct iovec data = {(void *)command->data.bytes, command->data.length};
    struct btrfs_ioctl_encoded_io_args args = {
        .iov = &data,
        .iovcnt = 1,
        .offset = (gint64)command->file_offset,
        .len = command->unencoded_file_len,
        .unencoded_len = command->unencoded_len,
        .unencoded_offset = command->unencoded_offset,
        .compression = command->compression,
    };
    if (ioctl(fd, BTRFS_IOC_ENCODED_WRITE, &args) >= 0)
        return TRUE;
    if (errno != ENOTTY && errno != EINVAL && errno != ENOSPC && errno != EPERM)
        return varve_error_set_errno(error, errno, "writing compressed data to it");
    return write_decompressed(fd, command, error);
}
