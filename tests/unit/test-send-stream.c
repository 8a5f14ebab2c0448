/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/crc32c.h"
#include "driver/btrfs/namespace.h"
#include "send-build.h"
#include <string.h>

/* Send streams, made here byte by byte, and the names in them. What the kernel's own streams are
 * like is for test-btrfs-changes.c. */

/* --- reading them ----------------------------------------------------------------------------- */

typedef struct {
    const guint8 *bytes;
    gsize length, at;
    gsize piece; /* at most so many bytes at a time */
} Source;

static gssize
read_source(gpointer data, guint8 *buffer, gsize n, GError **error)
{
    Source *source = data;
    n = MIN(MIN(n, source->piece), source->length - source->at);
    memcpy(buffer, source->bytes + source->at, n);
    source->at += n;
    return (gssize)n;
}

/* Reads all; the error is of the first command that could not be, or NULL. */
static GError *
read_all(const GByteArray *bytes, gsize length, gsize piece)
{
    Source source = {bytes->data, length, 0, piece};
    g_autoptr(VarveSendStream) stream = varve_send_stream_new(read_source, &source);
    VarveSendCommand command;
    GError *error = NULL;
    do {
        if (!varve_send_stream_next(stream, &command, &error))
            return error;
    } while (command.kind != VARVE_SEND_END);
    return NULL;
}

static void
assert_refused(GByteArray *bytes, VarveErrorCode code, const char *part)
{
    g_autoptr(GError) error = read_all(bytes, bytes->len, G_MAXSIZE);
    g_assert_error(error, VARVE_ERROR, (int)code);
    if (strstr(error->message, part) == NULL)
        g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, part));
    g_byte_array_unref(bytes);
}

/* A bit of everything, in an order of its own. */
static GByteArray *
sample(void)
{
    static const guint8 uuid[16] = "0123456789abcdef", other[16] = "ABCDEFGHIJKLMNOP";
    GByteArray *stream = send_stream_new(1), *payload = g_byte_array_new();
    send_put_attribute(payload, VARVE_SEND_A_CLONE_UUID, other, 16);
    send_put_number(payload, VARVE_SEND_A_CLONE_CTRANSID, 5, 8);
    send_put_number(payload, VARVE_SEND_A_CTRANSID, 7, 8);
    send_put_attribute(payload, 77, "unknown", 7);
    send_put_attribute(payload, VARVE_SEND_A_UUID, uuid, 16);
    send_put_text(payload, VARVE_SEND_A_PATH, "snapshot");
    send_put_command(stream, VARVE_SEND_SNAPSHOT, payload);

    send_put_paths(stream, VARVE_SEND_RENAME, "a/b", VARVE_SEND_A_PATH_TO, "c");
    payload = g_byte_array_new();
    send_put_text(payload, VARVE_SEND_A_XATTR_NAME, "user.x");
    send_put_attribute(payload, VARVE_SEND_A_XATTR_DATA, "v\0w", 3);
    send_put_text(payload, VARVE_SEND_A_PATH, "");
    send_put_command(stream, VARVE_SEND_SET_XATTR, payload);

    payload = g_byte_array_new();
    send_put_text(payload, VARVE_SEND_A_PATH, "f");
    send_put_time(payload, VARVE_SEND_A_ATIME, 1, 2);
    send_put_time(payload, VARVE_SEND_A_MTIME, G_MAXUINT64, 999999999);
    send_put_time(payload, VARVE_SEND_A_CTIME, 5, 6);
    send_put_command(stream, VARVE_SEND_UTIMES, payload);
    send_put_end(stream);
    return stream;
}

static void
next(VarveSendStream *stream, VarveSendKind kind, VarveSendCommand *command)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_send_stream_next(stream, command, &error));
    g_assert_no_error(error);
    g_assert_cmpint(command->kind, ==, kind);
}

static void
check_sample(const GByteArray *bytes, gsize piece)
{
    Source source = {bytes->data, bytes->len, 0, piece};
    g_autoptr(VarveSendStream) stream = varve_send_stream_new(read_source, &source);
    VarveSendCommand command;
    next(stream, VARVE_SEND_SNAPSHOT, &command);
    g_assert_cmpstr(command.path, ==, "snapshot");
    g_assert_cmpmem(command.uuid, 16, "0123456789abcdef", 16);
    g_assert_cmpmem(command.clone_uuid, 16, "ABCDEFGHIJKLMNOP", 16);
    g_assert_cmpuint(command.ctransid, ==, 7);
    g_assert_cmpuint(command.clone_ctransid, ==, 5);
    next(stream, VARVE_SEND_RENAME, &command);
    g_assert_cmpstr(command.path, ==, "a/b");
    g_assert_cmpstr(command.path_to, ==, "c");
    g_assert_null(command.path_link);
    next(stream, VARVE_SEND_SET_XATTR, &command);
    g_assert_cmpstr(command.path, ==, "");
    g_assert_cmpstr(command.xattr_name, ==, "user.x");
    g_assert_cmpmem(command.xattr_data.bytes, command.xattr_data.length, "v\0w", 3);
    next(stream, VARVE_SEND_UTIMES, &command);
    g_assert_cmpint(command.atime.tv_nsec, ==, 2);
    g_assert_cmpint(command.mtime.tv_sec, ==, -1);
    g_assert_cmpint(command.mtime.tv_nsec, ==, 999999999);
    g_assert_false(command.present & VARVE_SEND_HAS(VARVE_SEND_A_OTIME));
    next(stream, VARVE_SEND_END, &command);
}

static void
test_sample(void)
{
    g_autoptr(GByteArray) bytes = sample();
    for (gsize piece = 1; piece < 64; piece++)
        check_sample(bytes, piece);
    check_sample(bytes, G_MAXSIZE);
}

/* --- damage ----------------------------------------------------------------------------------- */

static void
test_cut_short(void)
{
    g_autoptr(GByteArray) bytes = sample();
    for (gsize length = 0; length < bytes->len; length++) {
        g_autoptr(GError) error = read_all(bytes, length, G_MAXSIZE);
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
        g_assert_nonnull(strstr(error->message, "too early"));
    }
}

/* Any one bit is found to be wrong. */
static void
test_bit_flips(void)
{
    g_autoptr(GByteArray) bytes = sample();
    for (gsize bit = 0; bit < bytes->len * 8; bit++) {
        bytes->data[bit / 8] ^= (guint8)(1 << bit % 8);
        g_autoptr(GError) error = read_all(bytes, bytes->len, G_MAXSIZE);
        gboolean version = bit / 8 >= 13 && bit / 8 < 17;
        int code = version ? VARVE_ERROR_NOT_IMPLEMENTED : VARVE_ERROR_CORRUPT;
        g_assert_error(error, VARVE_ERROR, code);
        bytes->data[bit / 8] ^= (guint8)(1 << bit % 8);
    }
}

static void
test_crc32c(void)
{
    /* RFC 3720's check value is of the inverted form. */
    g_assert_cmphex(~varve_crc32c(G_MAXUINT32, (const guint8 *)"123456789", 9), ==, 0xe3069283);
    g_assert_cmphex(varve_crc32c(0, (const guint8 *)"\0\0\0", 3), ==, 0);

    /* In whatever pieces it is done. */
    g_autofree guint8 *bytes = g_malloc(100);
    for (guint i = 0; i < 100; i++)
        bytes[i] = (guint8)(i * 37);
    guint32 whole = varve_crc32c(1, bytes, 100), single = 1;
    for (guint i = 0; i < 100; i++)
        single = varve_crc32c(single, bytes + i, 1);
    g_assert_cmphex(whole, ==, single);
    for (guint i = 0; i <= 100; i++)
        g_assert_cmphex(varve_crc32c(varve_crc32c(1, bytes, i), bytes + i, 100 - i), ==, whole);
}

static GByteArray *
with(guint32 version, guint kind, GByteArray *payload)
{
    GByteArray *stream = send_stream_new(version);
    send_put_command(stream, kind, payload);
    return stream;
}

static GByteArray *
text_payload(guint number, const char *text, gsize length)
{
    GByteArray *payload = g_byte_array_new();
    send_put_attribute(payload, number, text, length);
    return payload;
}

static void
test_refusals(void)
{
    assert_refused(send_stream_new(0), VARVE_ERROR_NOT_IMPLEMENTED, "version 0");
    assert_refused(send_stream_new(3), VARVE_ERROR_NOT_IMPLEMENTED, "version 3");
    assert_refused(with(1, 0, g_byte_array_new()), VARVE_ERROR_CORRUPT, "no command 0");
    assert_refused(with(2, 26, g_byte_array_new()), VARVE_ERROR_CORRUPT, "no command 26");
    assert_refused(with(1, 65535, g_byte_array_new()), VARVE_ERROR_CORRUPT, "no command 65535");
    assert_refused(with(1, VARVE_SEND_FALLOCATE, g_byte_array_new()), VARVE_ERROR_CORRUPT,
                   "version 1 has no command 23");
    assert_refused(with(1, VARVE_SEND_RMDIR, g_byte_array_new()), VARVE_ERROR_CORRUPT,
                   "rmdir lacks the attribute path");
    assert_refused(with(1, VARVE_SEND_RENAME, text_payload(VARVE_SEND_A_PATH, "a", 1)),
                   VARVE_ERROR_CORRUPT, "rename lacks the attribute path_to");
    assert_refused(with(1, VARVE_SEND_RMDIR, text_payload(VARVE_SEND_A_PATH, "a\0b", 3)),
                   VARVE_ERROR_CORRUPT, "NUL");

    GByteArray *payload = text_payload(VARVE_SEND_A_PATH, "a", 1);
    send_put_text(payload, VARVE_SEND_A_PATH, "b");
    assert_refused(with(1, VARVE_SEND_RMDIR, payload), VARVE_ERROR_CORRUPT, "path twice");
    payload = text_payload(VARVE_SEND_A_PATH, "a", 1);
    send_put_number(payload, VARVE_SEND_A_MODE, 0755, 4);
    assert_refused(with(1, VARVE_SEND_CHMOD, payload), VARVE_ERROR_CORRUPT,
                   "mode has 4 bytes instead of 8");
    payload = g_byte_array_new();
    send_put(payload, VARVE_SEND_A_PATH, 2);
    send_put(payload, 2, 2);
    send_put(payload, 'a', 1);
    assert_refused(with(1, VARVE_SEND_RMDIR, payload), VARVE_ERROR_CORRUPT,
                   "attribute 15 does not fit");
    payload = text_payload(VARVE_SEND_A_PATH, "a", 1);
    send_put(payload, VARVE_SEND_A_MODE, 2);
    assert_refused(with(1, VARVE_SEND_RMDIR, payload), VARVE_ERROR_CORRUPT, "header does not fit");
}

static GByteArray *
sized(guint32 version, guint32 length)
{
    GByteArray *stream = send_stream_new(version);
    send_put(stream, length, 4);
    send_put(stream, VARVE_SEND_WRITE, 2);
    send_put(stream, 0, 4);
    return stream;
}

/* Nothing is read, nor memory taken, for what nobody may mean. */
static void
test_oversize(void)
{
    assert_refused(sized(1, 64 * 1024), VARVE_ERROR_CORRUPT, "more than any may have");
    assert_refused(sized(1, G_MAXUINT32), VARVE_ERROR_CORRUPT, "more than any may have");
    assert_refused(sized(2, G_MAXUINT32), VARVE_ERROR_CORRUPT, "more than any may have");
    assert_refused(sized(2, 64 * 1024), VARVE_ERROR_CORRUPT, "too early");
}

/* The largest commands of each version, one after the other, in pieces. */
static void
check_large(guint32 version, gsize size)
{
    g_autofree char *data = g_strnfill(size, 'd');
    g_autoptr(GByteArray) bytes = send_stream_new(version);
    for (guint i = 0; i < 3; i++) {
        GByteArray *payload = text_payload(VARVE_SEND_A_PATH, "a", 1);
        send_put_number(payload, VARVE_SEND_A_FILE_OFFSET, i, 8);
        send_put(payload, VARVE_SEND_A_DATA, 2);
        if (version == 1)
            send_put(payload, size, 2);
        g_byte_array_append(payload, (const guint8 *)data, (guint)size);
        send_put_command(bytes, VARVE_SEND_WRITE, payload);
    }
    send_put_end(bytes);

    Source source = {bytes->data, bytes->len, 0, 5000};
    g_autoptr(VarveSendStream) stream = varve_send_stream_new(read_source, &source);
    VarveSendCommand command;
    for (guint i = 0; i < 3; i++) {
        next(stream, VARVE_SEND_WRITE, &command);
        g_assert_cmpstr(command.path, ==, "a");
        g_assert_cmpuint(command.file_offset, ==, i);
        g_assert_cmpmem(command.data.bytes, command.data.length, data, size);
    }
    next(stream, VARVE_SEND_END, &command);
}

static void
test_large(void)
{
    check_large(1, 64 * 1024 - 10 - 5 - 12 - 4);
    check_large(2, 200000); /* data has no length in version 2 */
}

static void
test_version_2(void)
{
    g_autoptr(GByteArray) bytes = send_stream_new(2);
    GByteArray *payload = text_payload(VARVE_SEND_A_PATH, "a", 1);
    send_put_number(payload, VARVE_SEND_A_FILE_OFFSET, 1, 8);
    send_put_number(payload, VARVE_SEND_A_UNENCODED_FILE_LEN, 2, 8);
    send_put_number(payload, VARVE_SEND_A_UNENCODED_LEN, 3, 8);
    send_put_number(payload, VARVE_SEND_A_UNENCODED_OFFSET, 4, 8);
    send_put_number(payload, VARVE_SEND_A_COMPRESSION, 5, 4);
    send_put(payload, VARVE_SEND_A_DATA, 2);
    send_put(payload, 0x2a2a2a, 3);
    send_put_command(bytes, VARVE_SEND_ENCODED_WRITE, payload);
    send_put_end(bytes);

    Source source = {bytes->data, bytes->len, 0, G_MAXSIZE};
    g_autoptr(VarveSendStream) stream = varve_send_stream_new(read_source, &source);
    VarveSendCommand command;
    next(stream, VARVE_SEND_ENCODED_WRITE, &command);
    g_assert_cmpuint(command.file_offset, ==, 1);
    g_assert_cmpuint(command.unencoded_file_len, ==, 2);
    g_assert_cmpuint(command.unencoded_len, ==, 3);
    g_assert_cmpuint(command.unencoded_offset, ==, 4);
    g_assert_cmpuint(command.compression, ==, 5);
    g_assert_cmpmem(command.data.bytes, command.data.length, "***", 3);
    next(stream, VARVE_SEND_END, &command);
}

/* --- names ------------------------------------------------------------------------------------ */

static void
apply(VarveEntries *names, VarveSendKind kind, const char *path, const char *other)
{
    g_autoptr(GError) error = NULL;
    const VarveSendCommand command = {
        .kind = kind, .path = path, .path_to = other, .path_link = other};
    varve_namespace_apply(names, &command, &error);
    g_assert_no_error(error);
}

static void
assert_wrong(VarveEntries *names, VarveSendKind kind, const char *path, const char *other,
             const char *part)
{
    g_autoptr(GError) error = NULL;
    const VarveSendCommand command = {
        .kind = kind, .path = path, .path_to = other, .path_link = other};
    g_assert_false(varve_namespace_apply(names, &command, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
    if (strstr(error->message, part) == NULL)
        g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, part));
}

/* old NULL: it was not there. */
static void
assert_name(VarveEntries *names, const char *path, const char *old)
{
    g_autoptr(GError) error = NULL;
    VarveEntry *name = varve_namespace_resolve(names, path + 1, &error);
    g_assert_no_error(error);
    g_autofree char *now = varve_entry_path(name);
    g_autofree char *was = name->old_name != NULL ? varve_entry_old_path(name) : NULL;
    g_assert_cmpstr(now, ==, path);
    g_assert_cmpstr(was, ==, old);
}

static void
test_names(void)
{
    g_autoptr(VarveEntries) names = varve_entries_new();
    assert_name(names, "/", "/");
    apply(names, VARVE_SEND_MKDIR, "o300-7-0", NULL);
    apply(names, VARVE_SEND_RENAME, "o300-7-0", "new");
    apply(names, VARVE_SEND_RENAME, "d/e", "new/e");
    apply(names, VARVE_SEND_RENAME, "d", "new/e/d");
    apply(names, VARVE_SEND_MKFILE, "new/e/d/made", NULL);
    apply(names, VARVE_SEND_LINK, "new/f", "g/f");
    apply(names, VARVE_SEND_UNLINK, "g/f", NULL);
    apply(names, VARVE_SEND_UTIMES, "new/e/d/file", NULL);
    assert_name(names, "/new", NULL);
    assert_name(names, "/new/e", "/d/e");
    assert_name(names, "/new/e/d", "/d");
    assert_name(names, "/new/e/d/made", NULL);
    assert_name(names, "/new/e/d/file", "/d/file");
    assert_name(names, "/new/e/other", "/d/e/other");
    assert_name(names, "/new/f", NULL);
}

static void
test_wrong_names(void)
{
    g_autoptr(VarveEntries) names = varve_entries_new();
    g_autofree char *name = g_strnfill(256, 'n'), *path = g_strnfill(4096, '/');
    for (guint i = 0; i < 4096; i += 2)
        path[i] = 'p';
    apply(names, VARVE_SEND_MKFILE, "file", NULL);
    apply(names, VARVE_SEND_MKDIR, "dir", NULL);
    apply(names, VARVE_SEND_MKFILE, "dir/in", NULL);
    apply(names, VARVE_SEND_RENAME, "a", "b");

    static const char *const malformed[] = {"/a", "a//b", "a/", ".", "..", "a/../b", "a/.", "/"};
    for (gsize i = 0; i < G_N_ELEMENTS(malformed); i++)
        assert_wrong(names, VARVE_SEND_CHMOD, malformed[i], NULL, "malformed");
    assert_wrong(names, VARVE_SEND_CHMOD, name, NULL, "malformed");
    assert_wrong(names, VARVE_SEND_CHMOD, path, NULL, "too long");
    assert_wrong(names, VARVE_SEND_CHMOD, "a", NULL, "not there");
    assert_wrong(names, VARVE_SEND_CHMOD, "a/b", NULL, "not there");
    assert_wrong(names, VARVE_SEND_CHMOD, "file/x", NULL, "not there");
    assert_wrong(names, VARVE_SEND_CHMOD, "dir/other", NULL, "not there");
    assert_wrong(names, VARVE_SEND_MKDIR, "file", NULL, "there already");
    assert_wrong(names, VARVE_SEND_MKDIR, "file/x", NULL, "not there");
    assert_wrong(names, VARVE_SEND_MKDIR, "", NULL, "malformed");
    assert_wrong(names, VARVE_SEND_RMDIR, "dir", NULL, "not empty");
    assert_wrong(names, VARVE_SEND_RMDIR, "", NULL, "not empty");
    assert_wrong(names, VARVE_SEND_RENAME, "", "x", "into itself");
    assert_wrong(names, VARVE_SEND_RENAME, "dir", "dir/x", "into itself");
    assert_wrong(names, VARVE_SEND_RENAME, "x", "x/y/z", "into itself");
    assert_wrong(names, VARVE_SEND_RENAME, "file", "dir", "not empty");
    assert_wrong(names, VARVE_SEND_LINK, "x", "dir", "directory another name");
    assert_wrong(names, VARVE_SEND_LINK, "new", "", "directory another name");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/send-stream/crc32c", test_crc32c);
    g_test_add_func("/send-stream/sample", test_sample);
    g_test_add_func("/send-stream/cut-short", test_cut_short);
    g_test_add_func("/send-stream/bit-flips", test_bit_flips);
    g_test_add_func("/send-stream/refusals", test_refusals);
    g_test_add_func("/send-stream/oversize", test_oversize);
    g_test_add_func("/send-stream/large", test_large);
    g_test_add_func("/send-stream/version-2", test_version_2);
    g_test_add_func("/send-stream/names", test_names);
    g_test_add_func("/send-stream/wrong-names", test_wrong_names);
    return g_test_run();
}
