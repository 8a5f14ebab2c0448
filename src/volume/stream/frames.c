/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/frames.h"
#include "base/digest.h"
#include "stream.pb-c.h"
#include <isa-l/crc.h>
#include <string.h>
#include <zstd.h>

#define MAGIC   "\x89VARVE\r\n"
#define VERSION 1

#define FLAG_ZSTD  1
#define ZSTD_LEVEL 1
/* After a frame that did not get smaller so many are not tried, up to the maximum, twice as many
 * each time. */
#define MAX_SKIP 16

typedef struct __attribute__((packed)) {
    guint8 magic[8];
    guint32 version;
    guint32 crc; /* of what is before; the first frame's checksum begins with it */
} Preamble;

typedef struct __attribute__((packed)) {
    guint64 number;
    guint16 type;
    guint16 flags;
    guint32 size;  /* of what follows */
    guint32 plain; /* of what it is decompressed to */
    guint32 crc;   /* of what is before and what follows */
} FrameHead;

/* CRC-32C (RFC 3720, appendix B.4). */
static guint32
checksum(guint32 crc, const void *bytes, gsize size)
{
    return ~crc32_iscsi((guint8 *)bytes, (int)size, ~crc);
}

static guint32
frame_checksum(guint32 crc, const FrameHead *head, const guint8 *bytes, gsize size)
{
    return checksum(checksum(crc, head, offsetof(FrameHead, crc)), bytes, size);
}

/* --- writing ---------------------------------------------------------------------------------- */

struct VarveFrameWriter {
    VarveSink sink;
    ZSTD_CCtx *zstd; /* NULL: no compression */
    guint8 *packed;
    guint skip, next_skip;
    guint64 number, bytes, payload;
    guint32 crc;
    VarveDigester *digester;
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
    g_free(writer);
}

static gboolean
put(VarveFrameWriter *writer, const void *bytes, gsize size, GError **error)
{
    varve_digester_update(writer->digester, bytes, size);
    writer->bytes += size;
    return size == 0 || writer->sink.write(writer->sink.data, bytes, size, error);
}

static gboolean
put_preamble(VarveFrameWriter *writer, GError **error)
{
    Preamble preamble = {.version = GUINT32_TO_LE(VERSION)};
    memcpy(preamble.magic, MAGIC, sizeof preamble.magic);
    writer->crc = checksum(0, &preamble, offsetof(Preamble, crc));
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
    if (writer->number == 0 && !put_preamble(writer, error))
        return FALSE;
    gsize packed = compress(writer, type, bytes, size);
    FrameHead head = {
        .number = GUINT64_TO_LE(writer->number++),
        .type = GUINT16_TO_LE(type),
        .flags = GUINT16_TO_LE(packed > 0 ? FLAG_ZSTD : 0),
        .size = GUINT32_TO_LE((guint32)(packed > 0 ? packed : size)),
        .plain = GUINT32_TO_LE((guint32)size),
    };
    if (type == VARVE_FRAME_DATA)
        writer->payload += size;
    const guint8 *follows = packed > 0 ? writer->packed : bytes;
    gsize n = packed > 0 ? packed : size;
    writer->crc = frame_checksum(writer->crc, &head, follows, n);
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

/* --- reading ---------------------------------------------------------------------------------- */

struct VarveFrameReader {
    VarveSource source;
    ZSTD_DCtx *zstd;
    guint8 *bytes, *plain;
    guint64 number, read, payload;
    guint32 crc;
    VarveDigester *digester;
    char *digest;
};

VarveFrameReader *
varve_frame_reader_new(VarveSource source)
{
    VarveFrameReader *reader = g_new0(VarveFrameReader, 1);
    reader->source = source;
    reader->bytes = g_malloc(VARVE_FRAME_MAX);
    reader->plain = g_malloc(VARVE_FRAME_MAX);
    reader->zstd = ZSTD_createDCtx();
    reader->digester = varve_digester_new();
    return reader;
}

void
varve_frame_reader_free(VarveFrameReader *reader)
{
    if (reader == NULL)
        return;
    ZSTD_freeDCtx(reader->zstd);
    varve_digester_free(reader->digester);
    g_free(reader->digest);
    g_free(reader->bytes);
    g_free(reader->plain);
    g_free(reader);
}

static gboolean
refuse(const VarveFrameReader *reader, const char *reason, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "frame %" G_GUINT64_FORMAT " of the stream %s", reader->number, reason);
}

/* Fills the buffer, unless the end comes: *got is how many bytes there were. */
static gboolean
fill(VarveFrameReader *reader, void *buffer, gsize size, gsize *got, GError **error)
{
    for (*got = 0; *got < size;) {
        gssize n =
            reader->source.read(reader->source.data, (guint8 *)buffer + *got, size - *got, error);
        if (n <= 0)
            return n == 0;
        *got += (gsize)n;
        reader->read += (guint64)n;
    }
    return TRUE;
}

static gboolean
take(VarveFrameReader *reader, void *buffer, gsize size, GError **error)
{
    gsize got;
    return fill(reader, buffer, size, &got, error) &&
           (got == size || refuse(reader, "is cut off: it did not arrive whole", error));
}

static gboolean
take_preamble(VarveFrameReader *reader, GError **error)
{
    Preamble preamble;
    gsize got;
    if (!fill(reader, &preamble, sizeof preamble, &got, error))
        return FALSE;
    if (got == 0)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the stream is empty: did its sender fail?");
    if (got < sizeof preamble || memcmp(preamble.magic, MAGIC, sizeof preamble.magic) != 0)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "that is no stream of a snapshot: it begins with something else");
    reader->crc = checksum(0, &preamble, offsetof(Preamble, crc));
    if (GUINT32_FROM_LE(preamble.crc) != reader->crc)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "the stream's first bytes are damaged");
    guint32 version = GUINT32_FROM_LE(preamble.version);
    if (version != VERSION)
        return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                               "the stream is of version %u, this Varve knows version %d", version,
                               VERSION);
    varve_digester_update(reader->digester, &preamble, sizeof preamble);
    return TRUE;
}

static gboolean
check_head(VarveFrameReader *reader, const FrameHead *head, VarveFrameType *type, GError **error)
{
    gboolean first = reader->number == 0;
    guint16 flags = GUINT16_FROM_LE(head->flags);
    guint32 size = GUINT32_FROM_LE(head->size), plain = GUINT32_FROM_LE(head->plain);
    *type = (VarveFrameType)GUINT16_FROM_LE(head->type);
    if (GUINT64_FROM_LE(head->number) != reader->number)
        return refuse(reader, "is not there: another one is in its place, or it is damaged", error);
    if (*type < VARVE_FRAME_HEADER || *type > VARVE_FRAME_TRAILER ||
        first != (*type == VARVE_FRAME_HEADER))
        return refuse(reader, "is damaged: it is of a type that cannot be there", error);
    gboolean is_packed = flags == FLAG_ZSTD && *type == VARVE_FRAME_DATA;
    if (size > VARVE_FRAME_MAX || plain > VARVE_FRAME_MAX || (flags != 0 && !is_packed) ||
        (is_packed ? size >= plain : size != plain))
        return refuse(reader, "is damaged: its size cannot be", error);
    return TRUE;
}

/* Only what has the right checksum is decompressed. */
static gboolean
unpack(VarveFrameReader *reader, const FrameHead *head, const guint8 **bytes, gsize *size,
       GError **error)
{
    gsize packed = GUINT32_FROM_LE(head->size);
    *size = GUINT32_FROM_LE(head->plain);
    *bytes = reader->bytes;
    if (GUINT16_FROM_LE(head->flags) == 0)
        return TRUE;
    *bytes = reader->plain;
    gsize n = ZSTD_decompressDCtx(reader->zstd, reader->plain, *size, reader->bytes, packed);
    return (!ZSTD_isError(n) && n == *size) || refuse(reader, "cannot be decompressed", error);
}

static gboolean
check_trailer(VarveFrameReader *reader, const guint8 *bytes, gsize size, GError **error)
{
    guint8 more;
    gsize got;
    reader->digest = varve_digester_finish(reader->digester);
    Varve__Stream__Trailer *trailer = varve__stream__trailer__unpack(NULL, size, bytes);
    gboolean ok = trailer != NULL && g_str_equal(trailer->digest, reader->digest) &&
                  trailer->payload == reader->payload;
    if (trailer != NULL)
        varve__stream__trailer__free_unpacked(trailer, NULL);
    if (!ok)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the stream is damaged: its digest is not the one that it had");
    return fill(reader, &more, 1, &got, error) &&
           (got == 0 ||
            varve_error_set(error, VARVE_ERROR_CORRUPT, "something follows the end of the stream"));
}

static gboolean
take_frame(VarveFrameReader *reader, FrameHead *head, VarveFrameType *type, GError **error)
{
    if (!take(reader, head, sizeof *head, error) || !check_head(reader, head, type, error))
        return FALSE;
    gsize size = GUINT32_FROM_LE(head->size);
    if (!take(reader, reader->bytes, size, error))
        return FALSE;
    reader->crc = frame_checksum(reader->crc, head, reader->bytes, size);
    if (GUINT32_FROM_LE(head->crc) != reader->crc)
        return refuse(reader, "is damaged: its checksum is wrong", error);
    if (*type == VARVE_FRAME_TRAILER)
        return TRUE;
    varve_digester_update(reader->digester, head, sizeof *head);
    varve_digester_update(reader->digester, reader->bytes, size);
    return TRUE;
}

gboolean
varve_frame_reader_next(VarveFrameReader *reader, const guint8 **bytes, gsize *size, GError **error)
{
    FrameHead head;
    VarveFrameType type;
    if ((reader->number == 0 && !take_preamble(reader, error)) ||
        !take_frame(reader, &head, &type, error) || !unpack(reader, &head, bytes, size, error))
        return FALSE;
    reader->number++;
    if (type == VARVE_FRAME_DATA)
        reader->payload += *size;
    if (type != VARVE_FRAME_TRAILER)
        return TRUE;
    if (!check_trailer(reader, *bytes, *size, error))
        return FALSE;
    *bytes = NULL;
    *size = 0;
    return TRUE;
}

const char *
varve_frame_reader_digest(const VarveFrameReader *reader)
{
    return reader->digest;
}

guint64
varve_frame_reader_bytes(const VarveFrameReader *reader)
{
    return reader->read;
}

guint64
varve_frame_reader_payload(const VarveFrameReader *reader)
{
    return reader->payload;
}
