/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/zfs/label.h"
#include <libnvpair.h>
#include <string.h>
#include <sys/fs/zfs.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Two labels at the beginning and two at the end, of 256 KiB each; in each, after two pads of 8
 * KiB, a packed nvlist in 112 KiB, the last 40 bytes of which are a checksum
 * (include/sys/vdev_impl.h in OpenZFS).
 */
#define LABELS      4
#define LABEL_SIZE  (256 * 1024)
#define LIST_OFFSET (16 * 1024)
#define LIST_SIZE   (112 * 1024 - 40)

/* --- the list --------------------------------------------------------------------------------- */

/*
 * Four bytes (1: what follows is XDR, RFC 4506), two words, and pairs: the pair's size, a size in
 * memory, the name, the type, the number of values, the values; a size of 0 ends them. Read here,
 * since libnvpair believes all that it reads (module/nvpair/nvpair.c in OpenZFS).
 */
#define XDR    1
#define HEADER 12

typedef struct {
    const guint8 *at, *end;
} Reader;

/* Takes n bytes; NULL when there are no more so many. */
static const guint8 *
take(Reader *reader, gsize n)
{
    if ((gsize)(reader->end - reader->at) < n)
        return NULL;
    const guint8 *bytes = reader->at;
    reader->at += n;
    return bytes;
}

static gboolean
take_word(Reader *reader, guint32 *word)
{
    const guint8 *bytes = take(reader, 4);
    if (bytes == NULL)
        return FALSE;
    *word = (guint32)bytes[0] << 24 | (guint32)bytes[1] << 16 | (guint32)bytes[2] << 8 | bytes[3];
    return TRUE;
}

static gboolean
take_number(Reader *reader, guint64 *number)
{
    guint32 high, low;
    if (!take_word(reader, &high) || !take_word(reader, &low))
        return FALSE;
    *number = (guint64)high << 32 | low;
    return TRUE;
}

/* A string, of which the buffer gets as much as it can hold. */
static gboolean
take_string(Reader *reader, char *buffer, gsize size)
{
    guint32 length;
    if (!take_word(reader, &length))
        return FALSE;
    const guint8 *bytes = take(reader, ((gsize)length + 3) / 4 * 4);
    if (bytes == NULL)
        return FALSE;
    gsize n = MIN(length, size - 1);
    memcpy(buffer, bytes, n);
    buffer[n] = '\0';
    return TRUE;
}

typedef struct {
    VarveZfsLabel *label;
    gboolean has_guid, has_name;
} Parse;

static gboolean
parse_value(Reader *pair, const char *name, guint32 type, Parse *parse)
{
    guint64 state;
    if (g_str_equal(name, ZPOOL_CONFIG_POOL_GUID) && type == DATA_TYPE_UINT64)
        return parse->has_guid = take_number(pair, &parse->label->guid);
    if (g_str_equal(name, ZPOOL_CONFIG_POOL_NAME) && type == DATA_TYPE_STRING)
        return parse->has_name = take_string(pair, parse->label->name, sizeof parse->label->name);
    if (g_str_equal(name, ZPOOL_CONFIG_POOL_STATE) && type == DATA_TYPE_UINT64) {
        if (!take_number(pair, &state))
            return FALSE;
        parse->label->destroyed = state == POOL_STATE_DESTROYED;
    }
    return TRUE;
}

/* FALSE at the end, or where it is damaged. */
static gboolean
parse_pair(Reader *reader, Parse *parse)
{
    char name[64];
    guint32 size, in_memory, type, count;
    if (!take_word(reader, &size) || size < 4)
        return FALSE;
    const guint8 *bytes = take(reader, size - 4);
    if (bytes == NULL)
        return FALSE;
    Reader pair = {bytes, bytes + size - 4};
    return take_word(&pair, &in_memory) && take_string(&pair, name, sizeof name) &&
           take_word(&pair, &type) && take_word(&pair, &count) &&
           parse_value(&pair, name, type, parse);
}

static gboolean
parse_list(const guint8 *packed, VarveZfsLabel *label)
{
    *label = (VarveZfsLabel){0};
    Reader reader = {packed, packed + LIST_SIZE};
    Parse parse = {.label = label};
    if (*take(&reader, HEADER) != XDR)
        return FALSE;
    while (parse_pair(&reader, &parse))
        ;
    return parse.has_guid && parse.has_name;
}

/* --- the labels ------------------------------------------------------------------------------- */

static guint64
label_offset(guint number, guint64 size)
{
    guint64 offset = (guint64)number * LABEL_SIZE;
    guint64 whole = size - size % LABEL_SIZE;
    return number < LABELS / 2 ? offset : whole - LABELS * LABEL_SIZE + offset;
}

gboolean
varve_zfs_label_read(int fd, VarveZfsLabel *label, GError **error)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return varve_error_set_errno(error, errno, "reading the file's attributes");
    g_autofree guint8 *packed = g_malloc(LIST_SIZE);
    for (guint i = 0; S_ISREG(st.st_mode) && st.st_size >= LABELS * LABEL_SIZE && i < LABELS; i++) {
        off_t offset = (off_t)label_offset(i, (guint64)st.st_size) + LIST_OFFSET;
        if (pread(fd, packed, LIST_SIZE, offset) == LIST_SIZE && parse_list(packed, label))
            return TRUE;
    }
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "it does not hold a zpool, or is damaged; it was left alone");
}
