/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/superblock.h"
#include "driver/btrfs/crc32c.h"
#include <string.h>
#include <unistd.h>

/*
 * The superblock: 4096 bytes at 64 KiB, which begin with a checksum of the rest. Fields used here,
 * by their offset (https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html#superblock):
 *
 *     0x00  checksum, 32 bytes, of which crc32c uses the first 4
 *     0x20  UUID of the file system, 16 bytes
 *     0x40  magic
 *     0xc4  type of the checksum, 2 bytes, 0: crc32c
 */
enum {
    SUPERBLOCK_OFFSET = 0x10000,
    SUPERBLOCK_SIZE = 4096,
    CHECKSUM_SIZE = 0x20,
    UUID_OFFSET = 0x20,
    MAGIC_OFFSET = 0x40,
    CHECKSUM_TYPE_OFFSET = 0xc4,
};

static const char magic[8] = "_BHRfS_M";

/* Other checksum types are left for the kernel to check, when it mounts. */
static gboolean
is_sound(const guint8 *block)
{
    guint32 checksum;
    memcpy(&checksum, block, sizeof checksum);
    gboolean is_crc32c = block[CHECKSUM_TYPE_OFFSET] == 0 && block[CHECKSUM_TYPE_OFFSET + 1] == 0;
    return !is_crc32c ||
           GUINT32_FROM_LE(checksum) ==
               ~varve_crc32c(G_MAXUINT32, block + CHECKSUM_SIZE, SUPERBLOCK_SIZE - CHECKSUM_SIZE);
}

char *
varve_btrfs_read_uuid(int fd, GError **error)
{
    guint8 block[SUPERBLOCK_SIZE];
    ssize_t n = pread(fd, block, sizeof block, SUPERBLOCK_OFFSET);
    if (n < 0)
        varve_error_set_errno(error, errno, "reading the superblock");
    else if (n < (ssize_t)sizeof block || memcmp(block + MAGIC_OFFSET, magic, sizeof magic) != 0)
        varve_error_set(error, VARVE_ERROR_CORRUPT, "it does not hold a btrfs; it was left alone");
    else if (!is_sound(block))
        varve_error_set(error, VARVE_ERROR_CORRUPT,
                        "its superblock is damaged (wrong checksum); it was left alone; "
                        "'btrfs rescue super-recover' may repair it");
    else
        return varve_btrfs_format_uuid(block + UUID_OFFSET);
    return NULL;
}

char *
varve_btrfs_format_uuid(const guint8 *bytes)
{
    GString *text = g_string_new(NULL);
    for (gsize i = 0; i < 16; i++) {
        gboolean dash = i == 4 || i == 6 || i == 8 || i == 10;
        g_string_append_printf(text, "%s%02x", dash ? "-" : "", bytes[i]);
    }
    return g_string_free(text, FALSE);
}
