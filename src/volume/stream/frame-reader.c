/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "stream.pb-c.h"
#include "volume/stream/frame-format.h"
#include <string.h>
#include <zstd.h>

struct VarveFrameReader {
    VarveSource source;
    ZSTD_DCtx *zstd;
    guint8 *bytes, *plain;
    guint64 number, read, payload;
    guint32 crc;
    VarveDigester *digester;
    char *digest;
    gboolean skim, failed;
    VarveFramePlace place, expected;
    GByteArray *first; /* all up to the first frame's end, until it is kept */
    VarveSink keep;    /* write NULL: nothing is kept */
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
    reader->first = g_byte_array_new();
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
    g_byte_array_unref(reader->first);
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
    VarveFramePreamble preamble;
    gsize got;
    if (!fill(reader, &preamble, sizeof preamble, &got, error))
        return FALSE;
    if (got == 0)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the stream is empty: did its sender fail?");
    if (got < sizeof preamble ||
        memcmp(preamble.magic, VARVE_FRAME_MAGIC, sizeof preamble.magic) != 0)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "that is no stream of a snapshot: it begins with something else");
    reader->crc = varve_frame_checksum(0, &preamble, offsetof(VarveFramePreamble, crc));
    if (GUINT32_FROM_LE(preamble.crc) != reader->crc)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "the stream's first bytes are damaged");
    guint32 version = GUINT32_FROM_LE(preamble.version);
    if (version != VARVE_FRAME_VERSION)
        return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                               "the stream is of version %u, this Varve knows version %d", version,
                               VARVE_FRAME_VERSION);
    varve_digester_update(reader->digester, &preamble, sizeof preamble);
    g_byte_array_append(reader->first, (const guint8 *)&preamble, sizeof preamble);
    return TRUE;
}

static gboolean
check_head(VarveFrameReader *reader, const VarveFrameHead *head, VarveFrameType *type,
           GError **error)
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
    gboolean is_packed = flags == VARVE_FRAME_ZSTD && *type == VARVE_FRAME_DATA;
    if (size > VARVE_FRAME_MAX || plain > VARVE_FRAME_MAX || (flags != 0 && !is_packed) ||
        (is_packed ? size >= plain : size != plain))
        return refuse(reader, "is damaged: its size cannot be", error);
    return TRUE;
}

/* Only what has the right checksum is decompressed. */
static gboolean
unpack(VarveFrameReader *reader, const VarveFrameHead *head, const guint8 **bytes, gsize *size,
       GError **error)
{
    gsize packed = GUINT32_FROM_LE(head->size);
    *size = GUINT32_FROM_LE(head->plain);
    *bytes = reader->bytes;
    if (GUINT16_FROM_LE(head->flags) == 0 || reader->skim)
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
take_frame(VarveFrameReader *reader, VarveFrameHead *head, VarveFrameType *type, GError **error)
{
    if (!take(reader, head, sizeof *head, error) || !check_head(reader, head, type, error))
        return FALSE;
    gsize size = GUINT32_FROM_LE(head->size);
    if (!take(reader, reader->bytes, size, error))
        return FALSE;
    reader->crc = varve_frame_checksum_all(reader->crc, head, reader->bytes, size);
    if (GUINT32_FROM_LE(head->crc) != reader->crc)
        return refuse(reader, "is damaged: its checksum is wrong", error);
    if (*type == VARVE_FRAME_TRAILER || reader->skim)
        return TRUE;
    varve_digester_update(reader->digester, head, sizeof *head);
    varve_digester_update(reader->digester, reader->bytes, size);
    return TRUE;
}

/* --- places ----------------------------------------------------------------------------------- */

static void
keep_bytes(VarveFrameReader *reader, const void *bytes, gsize size)
{
    if (size > 0)
        (void)reader->keep.write(reader->keep.data, bytes, size, NULL);
}

static void
pass_frame(VarveFrameReader *reader, const VarveFrameHead *head)
{
    gsize size = GUINT32_FROM_LE(head->size);
    reader->place = (VarveFramePlace){reader->read, reader->crc};
    if (reader->number == 1) {
        g_byte_array_append(reader->first, (const guint8 *)head, sizeof *head);
        g_byte_array_append(reader->first, reader->bytes, (guint)size);
    } else if (reader->keep.write != NULL && reader->read > reader->expected.bytes) {
        keep_bytes(reader, head, sizeof *head);
        keep_bytes(reader, reader->bytes, size);
    }
}

void
varve_frame_reader_keep(VarveFrameReader *reader, VarveSink sink)
{
    reader->keep = sink;
    if (reader->expected.bytes == 0)
        keep_bytes(reader, reader->first->data, reader->first->len);
    g_byte_array_set_size(reader->first, 0);
}

static gboolean
check_place(const VarveFrameReader *reader, GError **error)
{
    const VarveFramePlace *place = &reader->place, *expected = &reader->expected;
    return place->bytes < expected->bytes ||
           (place->bytes == expected->bytes && place->crc == expected->crc) ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "what was kept is not what this goes on with: begin anew");
}

gboolean
varve_frame_reader_expect(VarveFrameReader *reader, const VarveFramePlace *place, GError **error)
{
    reader->expected = *place;
    return check_place(reader, error);
}

VarveFramePlace
varve_frame_reader_place(const VarveFrameReader *reader)
{
    return reader->place;
}

void
varve_frame_reader_skim(VarveFrameReader *reader)
{
    reader->skim = TRUE;
}

/* --- frames ----------------------------------------------------------------------------------- */

static gboolean
next_frame(VarveFrameReader *reader, const guint8 **bytes, gsize *size, GError **error)
{
    VarveFrameHead head;
    VarveFrameType type;
    if ((reader->number == 0 && !take_preamble(reader, error)) ||
        !take_frame(reader, &head, &type, error) || !unpack(reader, &head, bytes, size, error))
        return FALSE;
    reader->number++;
    if (type == VARVE_FRAME_DATA)
        reader->payload += *size;
    if (type != VARVE_FRAME_TRAILER) {
        gboolean before = reader->place.bytes < reader->expected.bytes;
        pass_frame(reader, &head);
        return !before || check_place(reader, error);
    }
    if (!check_trailer(reader, *bytes, *size, error))
        return FALSE;
    *bytes = NULL;
    *size = 0;
    return TRUE;
}

gboolean
varve_frame_reader_next(VarveFrameReader *reader, const guint8 **bytes, gsize *size, GError **error)
{
    gboolean ok = next_frame(reader, bytes, size, error);
    reader->failed |= !ok;
    return ok;
}

gboolean
varve_frame_reader_failed(const VarveFrameReader *reader)
{
    return reader->failed;
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
