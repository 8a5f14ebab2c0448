/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/compression.h"
#include <isa-l/igzip_lib.h>
#include <string.h>
#include <zstd.h>

/* Compressed layers: row L5 of the specification. */

typedef struct {
    const GByteArray *bytes;
    gsize at, piece;
} Memory;

static gssize
read_memory(gpointer data, void *buffer, gsize size, GError **error)
{
    Memory *memory = data;
    gsize n = MIN(MIN(size, memory->piece), memory->bytes->len - memory->at);
    if (n > 0)
        memcpy(buffer, memory->bytes->data + memory->at, n);
    memory->at += n;
    return (gssize)n;
}

/* Decompresses what comes in pieces into buffers of that size; NULL with the error set. */
static GByteArray *
decompress(const GByteArray *bytes, gsize piece, gsize size, GError **error)
{
    Memory memory = {bytes, 0, piece};
    g_autoptr(VarveDecompressor) decompressor =
        varve_decompressor_new((VarveSource){read_memory, &memory});
    g_autoptr(GByteArray) plain = g_byte_array_new();
    g_autofree guint8 *buffer = g_malloc(size);
    for (gssize n = 1; n > 0;) {
        n = varve_decompressor_read(decompressor, buffer, size, error);
        if (n < 0)
            return NULL;
        g_byte_array_append(plain, buffer, (guint)n);
    }
    return g_steal_pointer(&plain);
}

static void
add_gzip(GByteArray *to, const void *bytes, gsize size)
{
    gsize room = size + 1024;
    g_autofree guint8 *buffer = g_malloc(room);
    struct isal_zstream stream;
    isal_deflate_stateless_init(&stream);
    stream.next_in = (guint8 *)bytes;
    stream.avail_in = (guint32)size;
    stream.next_out = buffer;
    stream.avail_out = (guint32)room;
    stream.end_of_stream = 1;
    stream.gzip_flag = IGZIP_GZIP;
    g_assert_cmpint(isal_deflate_stateless(&stream), ==, COMP_OK);
    g_byte_array_append(to, buffer, stream.total_out);
}

static void
add_zstd(GByteArray *to, const void *bytes, gsize size)
{
    gsize room = ZSTD_compressBound(size);
    g_autofree guint8 *buffer = g_malloc(room);
    gsize done = ZSTD_compress(buffer, room, bytes, size, 3);
    g_assert_false(ZSTD_isError(done));
    g_byte_array_append(to, buffer, (guint)done);
}

static void
add_skippable(GByteArray *to, const void *bytes, gsize size)
{
    const guint8 header[] = {0x5a, 0x2a, 0x4d, 0x18, (guint8)size, 0, 0, 0};
    g_byte_array_append(to, header, sizeof header);
    g_byte_array_append(to, bytes, (guint)size);
}

typedef void (*Add)(GByteArray *to, const void *bytes, gsize size);

static const Add adds[] = {add_gzip, add_zstd};

/* Text that compresses, but not to nothing. */
static GByteArray *
sample(gsize size)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    GByteArray *bytes = g_byte_array_new();
    while (bytes->len < size) {
        g_autofree char *line = g_strdup_printf("line %u of it\n", g_rand_int(rand) % 5000);
        g_byte_array_append(bytes, (guint8 *)line, (guint)strlen(line));
    }
    return bytes;
}

static void
assert_equal(const GByteArray *a, const GByteArray *b)
{
    g_assert_cmpmem(a->data, a->len, b->data, b->len);
}

/* Members and frames one after the other, empty ones too, cut anywhere. */
static void
test_several(gconstpointer data)
{
    Add add = *(const Add *)data;
    g_autoptr(GByteArray) plain = sample(200000), all = g_byte_array_new();
    add(all, plain->data, 100);
    add(all, "", 0);
    add(all, plain->data + 100, 99900);
    add(all, plain->data + 100000, plain->len - 100000);
    static const gsize pieces[] = {1, 2, 3, 7, 8, 9, 15, 1000, 1 << 20};
    static const gsize sizes[] = {1, 1000, 65536, 1 << 20};
    for (gsize i = 0; i < G_N_ELEMENTS(pieces); i++) {
        for (gsize j = 0; j < G_N_ELEMENTS(sizes); j++) {
            g_autoptr(GError) error = NULL;
            g_autoptr(GByteArray) found = decompress(all, pieces[i], sizes[j], &error);
            g_assert_no_error(error);
            assert_equal(found, plain);
        }
    }
}

static void
test_truncated(gconstpointer data)
{
    Add add = *(const Add *)data;
    g_autoptr(GByteArray) plain = sample(2000), all = g_byte_array_new();
    add(all, plain->data, 1000);
    guint between = all->len; /* where it is whole again */
    add(all, plain->data + 1000, plain->len - 1000);
    for (guint size = 4; size < all->len; size++) {
        g_autoptr(GByteArray) part = g_byte_array_new();
        g_byte_array_append(part, all->data, size);
        g_autoptr(GError) error = NULL;
        g_autoptr(GByteArray) found = decompress(part, 5, 512, &error);
        g_assert_true((found != NULL) == (size == between));
        if (size == between)
            g_assert_no_error(error);
        else
            g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
    }
}

static void
test_garbage_after(gconstpointer data)
{
    Add add = *(const Add *)data;
    g_autoptr(GByteArray) all = g_byte_array_new();
    add(all, "content", 7);
    g_byte_array_append(all, (const guint8 *)"and more", 8);
    g_autoptr(GError) error = NULL;
    g_assert_null(decompress(all, 1000, 1000, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
}

/* Each byte changed: an error, or the same bytes, where it is one that says nothing. */
static void
test_damaged(gconstpointer data)
{
    Add add = *(const Add *)data;
    g_autoptr(GByteArray) plain = sample(1000), all = g_byte_array_new();
    add(all, plain->data, plain->len);
    guint errors = 0;
    for (guint i = 4; i < all->len; i++) {
        g_autoptr(GByteArray) copy = g_byte_array_new();
        g_byte_array_append(copy, all->data, all->len);
        copy->data[i] ^= 0x10;
        g_autoptr(GError) error = NULL;
        g_autoptr(GByteArray) found = decompress(copy, 1000, 1000, &error);
        errors += found == NULL;
        if (found != NULL && add == add_gzip)
            assert_equal(found, plain);
    }
    g_assert_cmpuint(errors, >, all->len / 2);
}

static void
test_skippable(void)
{
    g_autoptr(GByteArray) plain = sample(5000), all = g_byte_array_new();
    add_skippable(all, "first", 5);
    add_zstd(all, plain->data, plain->len);
    add_skippable(all, "last", 4);
    for (gsize piece = 1; piece < 2000; piece += 333) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GByteArray) found = decompress(all, piece, 700, &error);
        g_assert_no_error(error);
        assert_equal(found, plain);
    }
}

static void
test_plain(void)
{
    g_autoptr(GByteArray) plain = sample(5000), empty = g_byte_array_new();
    for (gsize piece = 1; piece < 10000; piece += 3333) {
        g_autoptr(GByteArray) found = decompress(plain, piece, 700, NULL);
        assert_equal(found, plain);
        g_autoptr(GByteArray) nothing = decompress(empty, piece, 700, NULL);
        g_assert_cmpuint(nothing->len, ==, 0);
    }
}

static void
test_detect(void)
{
    g_autoptr(GByteArray) gzip = g_byte_array_new(), zstd = g_byte_array_new();
    add_gzip(gzip, "", 0);
    add_zstd(zstd, "", 0);
    g_assert_cmpint(varve_compression_detect(gzip->data, 4), ==, VARVE_COMPRESSION_GZIP);
    g_assert_cmpint(varve_compression_detect(zstd->data, 4), ==, VARVE_COMPRESSION_ZSTD);
    g_assert_cmpint(varve_compression_detect((const guint8 *)"file", 4), ==,
                    VARVE_COMPRESSION_NONE);
    g_assert_cmpint(varve_compression_detect(zstd->data, 3), ==, VARVE_COMPRESSION_NONE);
}

/* --- compressing ----------------------------------------------------------------------------- */

static gboolean
append(gpointer data, const void *bytes, gsize size, GError **error)
{
    g_byte_array_append(data, bytes, (guint)size);
    return TRUE;
}

static GByteArray *
compress(VarveCompression kind, guint threads, gsize piece, const GByteArray *plain)
{
    GByteArray *packed = g_byte_array_new();
    g_autoptr(VarveCompressor) compressor =
        varve_compressor_new(kind, threads, (VarveSink){append, packed});
    g_autoptr(GError) error = NULL;
    for (gsize at = 0; at < plain->len; at += piece) {
        varve_compressor_write(compressor, plain->data + at, MIN(piece, plain->len - at), &error);
        g_assert_no_error(error);
    }
    varve_compressor_finish(compressor, &error);
    g_assert_no_error(error);
    return packed;
}

/* The result is the same whatever the number of threads and the pieces, and it is what it was. */
static void
test_compressor(gconstpointer data)
{
    VarveCompression kind = GPOINTER_TO_INT(data);
    static const gsize sizes[] = {0, 1, 5000, 512 * 1024, 512 * 1024 + 1, 5 * 1024 * 1024};
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GByteArray) plain = sample(sizes[i]);
        g_byte_array_set_size(plain, (guint)sizes[i]);
        g_autoptr(GByteArray) one = compress(kind, 1, 1 << 20, plain);
        g_autoptr(GByteArray) many = compress(kind, 7, 10007, plain);
        assert_equal(one, many);
        g_autoptr(GError) error = NULL;
        g_autoptr(GByteArray) found = decompress(one, 100000, 70000, &error);
        g_assert_no_error(error);
        assert_equal(found, plain);
        g_assert_true(sizes[i] < 5000 || kind == VARVE_COMPRESSION_NONE ||
                      one->len < plain->len / 2);
    }
}

/* What does not compress grows by little only. */
static void
test_compressor_noise(gconstpointer data)
{
    g_autoptr(GByteArray) noise = g_byte_array_new();
    g_autoptr(GRand) rand = g_rand_new_with_seed(2);
    for (gsize i = 0; i < 600000; i++) {
        guint32 number = g_rand_int(rand);
        g_byte_array_append(noise, (const guint8 *)&number, sizeof number);
    }
    g_autoptr(GByteArray) packed = compress(GPOINTER_TO_INT(data), 2, 1 << 20, noise);
    g_assert_cmpuint(packed->len, <, noise->len + noise->len / 100);
    g_autoptr(GByteArray) found = decompress(packed, 100000, 70000, NULL);
    assert_equal(found, noise);
}

static gboolean
refuse(gpointer data, const void *bytes, gsize size, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_NO_SPACE, "the sink is full");
}

static void
test_compressor_sink_fails(gconstpointer data)
{
    g_autoptr(GByteArray) plain = sample(3 * 1024 * 1024);
    g_autoptr(VarveCompressor) compressor =
        varve_compressor_new(GPOINTER_TO_INT(data), 2, (VarveSink){refuse, NULL});
    g_autoptr(GError) error = NULL;
    g_assert_false(varve_compressor_write(compressor, plain->data, plain->len, &error) &&
                   varve_compressor_finish(compressor, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
}

int
main(int argc, char **argv)
{
    static const char *const names[] = {"gzip", "zstd"};
    static const struct {
        const char *name;
        GTestDataFunc func;
    } tests[] = {{"several", test_several},
                 {"truncated", test_truncated},
                 {"garbage-after", test_garbage_after},
                 {"damaged", test_damaged}};
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        for (gsize j = 0; j < G_N_ELEMENTS(tests); j++) {
            g_autofree char *path = g_strdup_printf("/compression/%s/%s", names[i], tests[j].name);
            g_test_add_data_func(path, &adds[i], tests[j].func);
        }
    }
    static const struct {
        const char *name;
        GTestDataFunc func;
    } compressor_tests[] = {{"round-trip", test_compressor},
                            {"noise", test_compressor_noise},
                            {"sink-fails", test_compressor_sink_fails}};
    static const char *const kinds[] = {"none", "gzip", "zstd"};
    for (int kind = 0; kind < (int)G_N_ELEMENTS(kinds); kind++) {
        for (gsize j = 0; j < G_N_ELEMENTS(compressor_tests); j++) {
            g_autofree char *path =
                g_strdup_printf("/compression/to-%s/%s", kinds[kind], compressor_tests[j].name);
            g_test_add_data_func(path, GINT_TO_POINTER(kind), compressor_tests[j].func);
        }
    }
    g_test_add_func("/compression/skippable", test_skippable);
    g_test_add_func("/compression/plain", test_plain);
    g_test_add_func("/compression/detect", test_detect);
    return g_test_run();
}
