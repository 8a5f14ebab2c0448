/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/tar-fields.h"
#include "layer/tar-internal.h"
#include <string.h>

#define SIZE_MAX_STORED (G_MAXINT64 - VARVE_TAR_BLOCK)
#define MODE_BITS       07777
#define MAJOR_MAX       0xfff /* the kernel's dev_t has 12 and 20 bits */
#define MINOR_MAX       0xfffff
/* (uid_t)-1 means "leave it as it is" to chown. */
#define ID_MAX ((gint64)G_MAXUINT32 - 1)

gboolean
varve_tar_header_is_zero(const guint8 *block)
{
    return block[0] == 0 && memcmp(block, block + 1, VARVE_TAR_BLOCK - 1) == 0;
}

/* --- numbers --------------------------------------------------------------------------------- */

/* Two's complement, most significant byte first, without the first bit, which marks it. */
static gboolean
binary_number(const guint8 *field, gsize size, gint64 *number)
{
    gboolean negative = (field[0] & 0x40) != 0;
    guint8 fill = negative ? 0xff : 0;
    guint64 value = negative ? G_MAXUINT64 : 0;
    for (gsize i = 0; i < size; i++) {
        guint8 byte = i > 0 ? field[i] : (guint8)((field[0] & 0x7f) | (negative ? 0x80 : 0));
        if (size - i > 8 && byte != fill)
            return FALSE;
        value = value << 8 | byte;
    }
    *number = (gint64)value;
    return (*number < 0) == negative;
}

static gboolean
octal_number(const guint8 *field, gsize size, gint64 *number)
{
    gsize i = 0;
    gint64 value = 0;
    while (i < size && (field[i] == ' ' || field[i] == '\0'))
        i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++) {
        if (value > G_MAXINT64 >> 3)
            return FALSE;
        value = value << 3 | (field[i] - '0');
    }
    *number = value;
    while (i < size && field[i] == ' ')
        i++;
    return i == size || field[i] == '\0';
}

gboolean
varve_tar_number(const guint8 *field, gsize size, gint64 *number)
{
    return (field[0] & 0x80) != 0 ? binary_number(field, size, number)
                                  : octal_number(field, size, number);
}

static gboolean
number_in(const guint8 *block, gsize at, gsize size, gint64 max, const char *what, guint64 *number,
          GError **error)
{
    gint64 value;
    if (!varve_tar_number(block + at, size, &value))
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "its %s is no number", what);
    if (value < 0 || value > max)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "its %s is %" G_GINT64_FORMAT ", which is out of range", what,
                               value);
    *number = (guint64)value;
    return TRUE;
}

/* --- dialects -------------------------------------------------------------------------------- */

/* Bytes are summed up with the checksum's own as spaces; old tars took them as signed. */
static gboolean
has_checksum(const guint8 *block)
{
    gint64 wanted, plus = 0, minus = 0;
    if (!octal_number(block + TAR_CHECKSUM, TAR_SHORT_SIZE, &wanted))
        return FALSE;
    for (gsize i = 0; i < VARVE_TAR_BLOCK; i++) {
        guint8 byte = i >= TAR_CHECKSUM && i < TAR_CHECKSUM + TAR_SHORT_SIZE ? ' ' : block[i];
        plus += byte;
        minus += (gint8)byte;
    }
    return wanted == plus || wanted == minus;
}

static gsize
copy_string(char *to, const guint8 *from, gsize size)
{
    gsize length = strnlen((const char *)from, size);
    memcpy(to, from, length);
    to[length] = '\0';
    return length;
}

static void
copy_name(VarveTarHeader *header, const guint8 *block, gsize prefix_size)
{
    gsize length = 0;
    if (prefix_size > 0 && block[TAR_PREFIX] != '\0') {
        length = copy_string(header->name, block + TAR_PREFIX, prefix_size);
        header->name[length++] = '/';
    }
    copy_string(header->name + length, block + TAR_NAME, TAR_NAME_SIZE);
}

static gboolean
is_ascii(const guint8 *text, gsize size)
{
    for (gsize i = 0; i < size && text[i] != '\0'; i++) {
        if (text[i] >= 0x80)
            return FALSE;
    }
    return TRUE;
}

/* A GNU header has no prefix. But Go before 1.8 put one there, into layers that still exist; then
 * the times in that place are no numbers. */
static gsize
gnu_prefix_size(const guint8 *block, VarveTarHeader *header)
{
    gint64 ctime;
    gboolean atime_ok = varve_tar_number(block + TAR_GNU_ATIME, TAR_LONG_SIZE, &header->atime);
    header->has_atime = atime_ok && block[TAR_GNU_ATIME] != '\0';
    if (atime_ok && varve_tar_number(block + TAR_GNU_CTIME, TAR_LONG_SIZE, &ctime))
        return 0;
    header->has_atime = FALSE;
    return is_ascii(block + TAR_PREFIX, TAR_PREFIX_SIZE) ? TAR_PREFIX_SIZE : 0;
}

static gsize
prefix_size(const guint8 *block, VarveTarHeader *header)
{
    header->gnu = memcmp(block + TAR_MAGIC, "ustar  ", 8) == 0;
    header->has_atime = FALSE;
    if (header->gnu)
        return gnu_prefix_size(block, header);
    if (memcmp(block + TAR_MAGIC, "ustar", 6) != 0)
        return 0;
    if (memcmp(block + TAR_STAR_MAGIC, "tar", 4) != 0)
        return TAR_PREFIX_SIZE;
    header->has_atime = block[TAR_STAR_ATIME] != '\0' &&
                        varve_tar_number(block + TAR_STAR_ATIME, TAR_LONG_SIZE, &header->atime);
    return TAR_STAR_PREFIX_SIZE;
}

/* Only device nodes need numbers there; some writers leave rubbish for others. */
static gboolean
parse_device(const guint8 *block, VarveTarHeader *header, GError **error)
{
    guint64 major, minor;
    header->major = header->minor = 0;
    if (header->type != '3' && header->type != '4')
        return TRUE;
    if (!number_in(block, TAR_MAJOR, TAR_SHORT_SIZE, MAJOR_MAX, "major device number", &major,
                   error) ||
        !number_in(block, TAR_MINOR, TAR_SHORT_SIZE, MINOR_MAX, "minor device number", &minor,
                   error))
        return FALSE;
    header->major = (guint32)major;
    header->minor = (guint32)minor;
    return TRUE;
}

gboolean
varve_tar_header_parse(const guint8 *block, VarveTarHeader *header, GError **error)
{
    if (!has_checksum(block))
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "there is no tar header");
    guint64 mode, uid, gid;
    header->type = (char)block[TAR_TYPE];
    if (!number_in(block, TAR_SIZE, TAR_LONG_SIZE, SIZE_MAX_STORED, "size", &header->size, error) ||
        !number_in(block, TAR_MODE, TAR_SHORT_SIZE, G_MAXINT64, "mode", &mode, error) ||
        !number_in(block, TAR_UID, TAR_SHORT_SIZE, ID_MAX, "owner", &uid, error) ||
        !number_in(block, TAR_GID, TAR_SHORT_SIZE, ID_MAX, "group", &gid, error) ||
        !parse_device(block, header, error))
        return FALSE;
    if (!varve_tar_number(block + TAR_MTIME, TAR_LONG_SIZE, &header->mtime))
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "its time is no number");
    header->mode = (guint32)(mode & MODE_BITS);
    header->uid = (guint32)uid;
    header->gid = (guint32)gid;
    copy_name(header, block, prefix_size(block, header));
    copy_string(header->target, block + TAR_TARGET, TAR_NAME_SIZE);
    return TRUE;
}
