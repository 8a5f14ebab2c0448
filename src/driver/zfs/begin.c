/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/zfs/begin.h"
#include <string.h>

/* Where its members are. */
enum {
    RECORD_TYPE = 0,   /* 4 bytes */
    MAGIC = 8,         /* 8 */
    VERSION = 16,      /* 8: the two lowest bits say what kind of stream it is */
    OBJECTS_TYPE = 32, /* 4: dmu_objset_type_t */
    TO_GUID = 40,      /* 8 */
    FROM_GUID = 48,    /* 8 */
    TO_NAME = 56,      /* 256, up to the end */
};

#define RECORD_BEGIN   0
#define STREAM_MAGIC   G_GUINT64_CONSTANT(0x2F5bacbac)
#define KIND_OF_STREAM 3 /* bits of VERSION */
#define SUBSTREAM      1 /* of one snapshot; not a package of several, as zfs send -R makes */
#define FILE_SYSTEM    2

G_STATIC_ASSERT(TO_NAME + 256 == VARVE_ZFS_BEGIN_SIZE);

static guint64
read_64(const guint8 *bytes, gboolean swapped)
{
    guint64 value;
    memcpy(&value, bytes, sizeof value);
    return swapped ? GUINT64_SWAP_LE_BE(value) : value;
}

static guint32
read_32(const guint8 *bytes, gboolean swapped)
{
    guint32 value;
    memcpy(&value, bytes, sizeof value);
    return swapped ? GUINT32_SWAP_LE_BE(value) : value;
}

static gboolean
refuse(GError **error, const char *why)
{
    return varve_error_set(error, VARVE_ERROR_CORRUPT, "%s", why);
}

gboolean
varve_zfs_begin_parse(const guint8 *bytes, gsize size, VarveZfsBegin *begin, GError **error)
{
    if (size < VARVE_ZFS_BEGIN_SIZE)
        return refuse(error, "the stream ends too early");
    gboolean swapped = read_64(bytes + MAGIC, FALSE) != STREAM_MAGIC;
    if (read_64(bytes + MAGIC, swapped) != STREAM_MAGIC ||
        read_32(bytes + RECORD_TYPE, swapped) != RECORD_BEGIN)
        return refuse(error, "it is no stream of ZFS");
    if ((read_64(bytes + VERSION, swapped) & KIND_OF_STREAM) != SUBSTREAM)
        return refuse(error, "the stream is not of one snapshot alone");
    if (read_32(bytes + OBJECTS_TYPE, swapped) != FILE_SYSTEM)
        return refuse(error, "the stream is of a volume and not of a file system");
    begin->to = read_64(bytes + TO_GUID, swapped);
    begin->from = read_64(bytes + FROM_GUID, swapped);
    return TRUE;
}
