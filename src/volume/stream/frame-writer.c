/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "stream.pb-c.h"
#include "volume/stream/frame-format.h"
#include <string.h>
#include <zstd.h>

#define ZSTD_LEVEL 1
/* After a frame that did not get smaller so many are not tried, up to the maximum, twice as many
 * each time. */
#define MAX_SKIP 16

struct VarveFrameWriter {
    VarveSink sink;
    ZSTD_CCtx *zstd; /* NULL: no compression */
    guint8 *packed;
    guint skip, next_skip;
    guint64 number, bytes, payload;
    guint32 crc;
    VarveDigester *digester;
    gboolean silent; /* it is not at the place to go on at yet */
    VarveFramePlace place;
    char *uuid;
};

VarveFrameWriter *
varve_frame_writer_new(VarveSink sink, gboolean compress)
{
    VarveFrameWriter *writer = g_new0(VarveFrameWriter, 1);
    writer->sink = sink;
    writer->digester = varve_digester_new();
    if (compress) {
        writer->zstd = ZSTD_createCCtx();
        writer->packed = g_malloc(VARVE_FRAME_MAX);
    }
    return writer;
}

void
varve_frame_writer_free(VarveFrameWriter *writer)
{
    if (writer == NULL)
        return;
    ZSTD_freeCCtx(writer->zstd);
    g_free(writer->packed);
    varve_digester_free(writer->digester);
    g_free(writer->uuid);
    g_free(writer);
}

/* --- going on --------------------------------------------------------------------------------- */

void
varve_frame_writer_resume(VarveFrameWriter *writer, const char *uuid, const VarveFramePlace *place)
{
    g_assert(writer->number == 0 && strlen(uuid) == sizeof((VarveFrameResumption *)0)->uuid);
    writer->silent = TRUE;
    writer->place = *place;
    writer->uuid = g_strdup(uuid);
}

static gboolean
put_resumption(VarveFrameWriter *writer, GError **error)
{
    VarveFrameResumption resumption = {
        .version = GUINT32_TO_LE(VARVE_FRAME_RESUME_VERSION),
        .bytes = GUINT64_TO_LE(writer->place.bytes),
        .chain = GUINT32_TO_LE(writer->place.crc),
    };
    memcpy(resumption.magic, VARVE_FRAME_RESUME_MAGIC, sizeof resumption.magic);
    memcpy(resumption.uuid, writer->uuid, sizeof resumption.uuid);
    resumption.crc =
        GUINT32_TO_LE(varve_frame_checksum(0, &resumption, offsetof(VarveFrameResumption, crc)));
    return writer->sink.write(writer->sink.data, &resumption, sizeof resumption, error);
}

/* Before each frame: whether it is the one to begin with, and what came before is what the receiver
 * has. */
static gboolean
find_place(VarveFrameWriter *writer, VarveFrameType type, GError **error)
{
    if (!writer->silent)
        return TRUE;
    gboolean there = writer->bytes == writer->place.bytes && writer->number > 0;
    if (there && writer->crc == writer->place.crc) {
        writer->silent = FALSE;
        return put_resumption(writer, error);
    }
    if (!there && writer->bytes < writer->place.bytes && type != VARVE_FRAME_TRAILER)
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "it cannot go on: what the receiver kept is not what would be sent now, "
                           "by this version and of this snapshot; begin anew");
}

/* --- frames ----------------------------------------------------------------------------------- */

static gboolean
put(VarveFrameWriter *writer, const void *bytes, gsize size, GError **error)
{
    varve_digester_update(writer->digester, bytes, size);
    writer->bytes += size;
    return size == 0 || writer->silent || writer->sink.write(writer->sink.data, bytes, size, error);
}

static gboolean
put_preamble(VarveFrameWriter *writer, GError **error)
{
    VarveFramePreamble preamble = {.version = GUINT32_TO_LE(VARVE_FRAME_VERSION)};
    memcpy(preamble.magic, VARVE_FRAME_MAGIC, sizeof preamble.magic);
    writer->crc = varve_frame_checksum(0, &preamble, offsetof(VarveFramePreamble, crc));
    preamble.crc = GUINT32_TO_LE(writer->crc);
    return put(writer, &preamble, sizeof preamble, error);
}

/* The size of the frame when compressed; 0 when it stays as it is. An eighth less is worth it. */
static gsize
compress(VarveFrameWriter *writer, VarveFrameType type, const guint8 *bytes, gsize size)
{
    if (writer->zstd == NULL || type != VARVE_FRAME_DATA || size < 64)
        return 0;
    if (writer->skip > 0) {
        writer->skip--;
        return 0;
    }
    gsize packed =
        ZSTD_compressCCtx(writer->zstd, writer->packed, size - size / 8, bytes, size, ZSTD_LEVEL);
    if (!ZSTD_isError(packed)) {
        writer->next_skip = 1;
        return packed;
    }
    writer->skip = writer->next_skip = MIN(MAX(writer->next_skip, 1) * 2, MAX_SKIP);
    return 0;
}

gboolean
varve_frame_writer_add(VarveFrameWriter *writer, VarveFrameType type, const guint8 *bytes,
                       gsize size, GError **error)
{
    g_assert(size <= VARVE_FRAME_MAX);
    if (!find_place(writer, type, error) || (writer->number == 0 && !put_preamble(writer, error)))
        return FALSE;
    gsize packed = compress(writer, type, bytes, size);
    VarveFrameHead head = {
        .number = GUINT64_TO_LE(writer->number++),
        .type = GUINT16_TO_LE(type),
        .flags = GUINT16_TO_LE(packed > 0 ? VARVE_FRAME_ZSTD : 0),
        .size = GUINT32_TO_LE((guint32)(packed > 0 ? packed : size)),
        .plain = GUINT32_TO_LE((guint32)size),
    };
    if (type == VARVE_FRAME_DATA)
        writer->payload += size;
    const guint8 *follows = packed > 0 ? writer->packed : bytes;
    gsize n = packed > 0 ? packed : size;
    writer->crc = varve_frame_checksum_all(writer->crc, &head, follows, n);
    head.crc = GUINT32_TO_LE(writer->crc);
    return put(writer, &head, sizeof head, error) && put(writer, follows, n, error);
}

gboolean
varve_frame_writer_finish(VarveFrameWriter *writer, char **digest, GError **error)
{
    Varve__Stream__Trailer trailer = VARVE__STREAM__TRAILER__INIT;
    guint8 bytes[256];
    *digest = varve_digester_finish(writer->digester);
    trailer.digest = *digest;
    trailer.payload = writer->payload;
    gsize size = varve__stream__trailer__get_packed_size(&trailer);
    g_assert(size <= sizeof bytes);
    varve__stream__trailer__pack(&trailer, bytes);
    varve_digester_free(writer->digester);
    writer->digester = varve_digester_new(); /* of the trailer, which nobody asks for */
    if (varve_frame_writer_add(writer, VARVE_FRAME_TRAILER, bytes, size, error))
        return TRUE;
    g_clear_pointer(digest, g_free);
    return FALSE;
}

guint64
varve_frame_writer_bytes(const VarveFrameWriter *writer)
{
    return writer->bytes;
}

guint64
varve_frame_writer_payload(const VarveFrameWriter *writer)
{
    return writer->payload;
}
