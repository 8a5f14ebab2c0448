/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "base/error.h"
#include "stream-bytes.h"
#include "volume/stream/frames.h"
#include "volume/stream/opening.h"
#include "volume/stream/token.h"

/* Frames, and going on where they broke off. SPEC rows V6 and V7. */

/* --- frames ----------------------------------------------------------------------------------- */

static GByteArray *
write_frames(gboolean compress, const guint8 *payload, gsize size, gsize piece)
{
    g_autoptr(GError) error = NULL;
    GByteArray *bytes = g_byte_array_new();
    g_autofree char *digest = NULL;
    g_autoptr(VarveFrameWriter) writer =
        varve_frame_writer_new((VarveSink){stream_append, bytes}, compress);
    varve_frame_writer_add(writer, VARVE_FRAME_HEADER, (const guint8 *)"head", 4, &error);
    g_assert_no_error(error);
    for (gsize at = 0; at < size; at += piece) {
        varve_frame_writer_add(writer, VARVE_FRAME_DATA, payload + at, MIN(piece, size - at),
                               &error);
        g_assert_no_error(error);
    }
    g_assert_true(varve_frame_writer_finish(writer, &digest, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(varve_frame_writer_bytes(writer), ==, bytes->len);
    return bytes;
}

/* The payload, or NULL with the error set. */
static GByteArray *
read_frames(const GByteArray *stream, gsize piece, GError **error)
{
    StreamReading reading = {stream, 0, piece};
    g_autoptr(VarveFrameReader) reader =
        varve_frame_reader_new((VarveSource){stream_read, &reading});
    g_autoptr(GByteArray) payload = g_byte_array_new();
    const guint8 *bytes;
    gsize size;
    if (!varve_frame_reader_next(reader, &bytes, &size, error))
        return NULL;
    g_assert_cmpmem(bytes, size, "head", 4);
    do {
        if (!varve_frame_reader_next(reader, &bytes, &size, error))
            return NULL;
        g_byte_array_append(payload, bytes, (guint)size);
    } while (bytes != NULL);
    g_assert_true(varve_digest_check(varve_frame_reader_digest(reader), NULL));
    return g_steal_pointer(&payload);
}

static void
test_frames(void)
{
    g_autofree guint8 *payload = g_malloc0(300000);
    for (gsize i = 0; i < 100000; i++)
        payload[i] = (guint8)g_test_rand_int();
    for (int compress = 0; compress < 2; compress++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GByteArray) stream = write_frames(compress, payload, 300000, 50000);
        g_autoptr(GByteArray) again = write_frames(compress, payload, 300000, 50000);
        g_assert_cmpmem(stream->data, stream->len, again->data, again->len);
        g_assert_true(compress ? stream->len < 250000 : stream->len > 300000);
        g_autoptr(GByteArray) got = read_frames(stream, compress ? 7 : G_MAXSIZE, &error);
        g_assert_no_error(error);
        g_assert_cmpmem(got->data, got->len, payload, 300000);
    }
}

/* Every bit of a small stream, and every length. */
static void
test_damaged_frames(void)
{
    g_autoptr(GByteArray) stream = write_frames(TRUE, (const guint8 *)"some payload", 12, 5);
    for (guint i = 0; i < stream->len * 8; i++) {
        g_autoptr(GError) error = NULL;
        stream->data[i / 8] ^= (guint8)(1 << i % 8);
        g_autoptr(GByteArray) got = read_frames(stream, G_MAXSIZE, &error);
        stream->data[i / 8] ^= (guint8)(1 << i % 8);
        g_assert_null(got);
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
    }
    for (guint length = 0; length < stream->len; length++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GByteArray) cut = g_byte_array_new();
        g_byte_array_append(cut, stream->data, length);
        g_autoptr(GByteArray) got = read_frames(cut, G_MAXSIZE, &error);
        g_assert_null(got);
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
    }
}

/* --- going on ----------------------------------------------------------------------------------
 */

#define SOME_UUID "00000000-1111-2222-3333-444444444444"

static void
add_all(VarveFrameWriter *writer, const guint8 *payload, gsize size, gsize piece, GError **error)
{
    g_autofree char *digest = NULL;
    gboolean ok =
        varve_frame_writer_add(writer, VARVE_FRAME_HEADER, (const guint8 *)"head", 4, error);
    for (gsize at = 0; ok && at < size; at += piece)
        ok = varve_frame_writer_add(writer, VARVE_FRAME_DATA, payload + at, MIN(piece, size - at),
                                    error);
    if (ok)
        varve_frame_writer_finish(writer, &digest, error);
}

/* Reads as much of a stream as is right, and keeps it. */
static GByteArray *
keep_frames(const GByteArray *stream, VarveFramePlace *place)
{
    StreamReading reading = {stream, 0, 11};
    GByteArray *kept = g_byte_array_new();
    const guint8 *bytes;
    gsize size;
    g_autoptr(VarveFrameReader) reader =
        varve_frame_reader_new((VarveSource){stream_read, &reading});
    g_assert_true(varve_frame_reader_next(reader, &bytes, &size, NULL));
    varve_frame_reader_keep(reader, (VarveSink){stream_append, kept});
    while (varve_frame_reader_next(reader, &bytes, &size, NULL) && bytes != NULL)
        continue;
    *place = varve_frame_reader_place(reader);
    g_assert_cmpuint(place->bytes, ==, kept->len);
    g_assert_cmpmem(kept->data, kept->len, stream->data, kept->len);
    return kept;
}

static void
assert_goes_on(const GByteArray *whole, const GByteArray *kept, const VarveFramePlace *place,
               const guint8 *payload, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) rest = g_byte_array_new();
    g_autoptr(VarveFrameWriter) writer =
        varve_frame_writer_new((VarveSink){stream_append, rest}, FALSE);
    varve_frame_writer_resume(writer, SOME_UUID, place);
    add_all(writer, payload, size, 5, &error);
    g_assert_no_error(error);
    StreamReading reading = {rest, 0, 7}, before = {kept, 0, 3};
    VarveStreamOpening opening;
    g_assert_true(
        varve_stream_opening_read(&opening, (VarveSource){stream_read, &reading}, &error));
    g_assert_true(opening.goes_on);
    g_assert_cmpstr(opening.uuid, ==, SOME_UUID);
    g_assert_cmpuint(opening.place.bytes, ==, place->bytes);
    g_assert_cmpuint(opening.place.crc, ==, place->crc);
    g_assert_cmpmem(rest->data + reading.at, rest->len - reading.at, whole->data + place->bytes,
                    whole->len - place->bytes);
    opening.kept = (VarveSource){stream_read, &before};
    g_autoptr(GByteArray) joined = g_byte_array_new();
    const VarveSource source = varve_stream_opening_source(&opening);
    guint8 bytes[64];
    for (gssize n; (n = source.read(source.data, bytes, sizeof bytes, &error)) > 0;)
        g_byte_array_append(joined, bytes, (guint)n);
    g_assert_no_error(error);
    g_assert_cmpmem(joined->data, joined->len, whole->data, whole->len);
}

/* From each length of a stream. */
static void
test_going_on(void)
{
    const guint8 *payload = (const guint8 *)"some payload";
    g_autoptr(GByteArray) whole = write_frames(FALSE, payload, 12, 5);
    guint64 last = 0;
    guint places = 0;
    for (guint length = 16 + 24 + 4; length <= whole->len; length++) {
        VarveFramePlace place;
        g_autoptr(GByteArray) cut = g_byte_array_new();
        g_byte_array_append(cut, whole->data, length);
        g_autoptr(GByteArray) kept = keep_frames(cut, &place);
        if (place.bytes == last)
            continue;
        last = place.bytes;
        places++;
        assert_goes_on(whole, kept, &place, payload, 12);
    }
    g_assert_cmpuint(places, ==, 4); /* the header, and three with data */
}

/* Where the stream is another one, or has no such place, nothing is written. */
static void
test_not_going_on(void)
{
    const guint8 *payload = (const guint8 *)"some payload";
    g_autoptr(GByteArray) whole = write_frames(FALSE, payload, 12, 5);
    VarveFramePlace right;
    g_autoptr(GByteArray) kept G_GNUC_UNUSED = keep_frames(whole, &right);
    const VarveFramePlace wrong[] = {
        {right.bytes, right.crc ^ 1},
        {right.bytes - 1, right.crc},
        {right.bytes + 1, right.crc},
        {whole->len, right.crc},
        {16, 0},
        {1, 0},
        {G_MAXINT64, 0},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GByteArray) rest = g_byte_array_new();
        g_autoptr(VarveFrameWriter) writer =
            varve_frame_writer_new((VarveSink){stream_append, rest}, FALSE);
        varve_frame_writer_resume(writer, SOME_UUID, &wrong[i]);
        add_all(writer, payload, 12, 5, &error);
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
        g_assert_cmpuint(rest->len, ==, 0);
    }
}

static void
test_tokens(void)
{
    g_autoptr(GError) error = NULL;
    const VarveStreamHeader header = {.uuid = (char *)SOME_UUID,
                                      .base = (char *)"",
                                      .format = (char *)"portable-1",
                                      .plain = TRUE,
                                      .expected = 1234567};
    const VarveFramePlace place = {G_GUINT64_CONSTANT(123456789012), 0xdeadbeef};
    g_autofree char *text = varve_resume_token_write(&header, &place);
    g_auto(VarveResumeToken) token = {0};
    g_assert_true(varve_resume_token_read(text, &token, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(token.uuid, ==, SOME_UUID);
    g_assert_cmpstr(token.base, ==, "");
    g_assert_cmpstr(token.format, ==, "portable-1");
    g_assert_true(token.plain);
    g_assert_cmpuint(token.expected, ==, 1234567);
    g_assert_cmpuint(token.place.bytes, ==, place.bytes);
    g_assert_cmpuint(token.place.crc, ==, place.crc);
    for (gsize i = 0; text[i] != '\0'; i++) {
        g_auto(VarveResumeToken) wrong = {0};
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        g_assert_false(varve_resume_token_read(text, &wrong, NULL));
        text[i] = was;
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/frames", test_frames);
    g_test_add_func("/frames/damaged", test_damaged_frames);
    g_test_add_func("/frames/going-on", test_going_on);
    g_test_add_func("/frames/not-going-on", test_not_going_on);
    g_test_add_func("/frames/tokens", test_tokens);
    return g_test_run();
}
