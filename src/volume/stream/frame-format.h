/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_FRAME_FORMAT_H
#define VARVE_STREAM_FRAME_FORMAT_H

/* Frames byte by byte, for those who write and read them: docs/stream-format.md. */

#include "volume/stream/frames.h"
#include <isa-l/crc.h>

#define VARVE_FRAME_MAGIC   "\x89VARVE\r\n"
#define VARVE_FRAME_VERSION 1
#define VARVE_FRAME_ZSTD    1 /* the flag */

/* Of a stream that goes on where another one broke off. */
#define VARVE_FRAME_RESUME_MAGIC   "\x89VRESM\r\n"
#define VARVE_FRAME_RESUME_VERSION 1

typedef struct __attribute__((packed)) {
    guint8 magic[8];
    guint32 version;
    guint32 crc; /* of what is before; the first frame's checksum begins with it */
} VarveFramePreamble;

typedef struct __attribute__((packed)) {
    guint8 magic[8];
    guint32 version;
    char uuid[36];
    guint64 bytes; /* of the stream that are not here, */
    guint32 chain; /* and the checksum of the last frame in them */
    guint32 crc;   /* of what is before */
} VarveFrameResumption;

typedef struct __attribute__((packed)) {
    guint64 number;
    guint16 type;
    guint16 flags;
    guint32 size;  /* of what follows */
    guint32 plain; /* of what it is decompressed to */
    guint32 crc;   /* of what is before and what follows */
} VarveFrameHead;

/* CRC-32C (RFC 3720, appendix B.4). */
static inline guint32
varve_frame_checksum(guint32 crc, const void *bytes, gsize size)
{
    return ~crc32_iscsi((guint8 *)bytes, (int)size, ~crc);
}

static inline guint32
varve_frame_checksum_all(guint32 crc, const VarveFrameHead *head, const guint8 *bytes, gsize size)
{
    return varve_frame_checksum(varve_frame_checksum(crc, head, offsetof(VarveFrameHead, crc)),
                                bytes, size);
}

#endif
