/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/receive.h"
#include "driver/btrfs/send-stream.h"
#include "scratch.h"
#include "send-build.h"
#include <isa-l/igzip_lib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <zstd.h>

/*
 * Streams that no kernel made, carried out in a plain directory: whatever they say, what is around
 * it stays as it was. The directory that is received into is "in", beside it is "out" with a file,
 * and "base".
 */

/* --- a place ---------------------------------------------------------------------------------- */

typedef struct {
    Scratch *scratch;
    int in, out, base;
} Place;

static int
make_dir(int dirfd, const char *name)
{
    g_autoptr(GError) error = NULL;
    int fd = varve_fd_make_dir(dirfd, name, 0755, &error);
    g_assert_no_error(error);
    return fd;
}

static void
write_file(int dirfd, const char *name, const char *text)
{
    varve_autofd fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    g_assert_no_errno(fd);
    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
}

static char *
read_file(int dirfd, const char *name)
{
    varve_autofd fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW);
    char *text = g_malloc0(200000);
    g_assert_no_errno(fd);
    g_assert_cmpint(read(fd, text, 199999), >=, 0);
    return text;
}

static Place
place_new(void)
{
    Place place = {.scratch = scratch_new(NULL, 0)};
    place.in = make_dir(place.scratch->fd, "in");
    place.out = make_dir(place.scratch->fd, "out");
    place.base = make_dir(place.scratch->fd, "base");
    write_file(place.out, "file", "outside");
    return place;
}

static void
place_free(Place *place)
{
    g_autofree char *text = read_file(place->out, "file");
    g_assert_cmpstr(text, ==, "outside");
    struct stat st;
    g_assert_no_errno(fstatat(place->out, "file", &st, 0));
    g_assert_cmpuint(st.st_mode, ==, S_IFREG | 0644);
    g_assert_cmpuint(st.st_nlink, ==, 1);
    g_autofree char *clean =
        g_strdup_printf("ls -A '%s/out'; rm -rf '%s/in' '%s/base' '%s/out'", place->scratch->path,
                        place->scratch->path, place->scratch->path, place->scratch->path);
    g_autofree char *names = scratch_run(clean);
    g_assert_cmpstr(names, ==, "file");
    varve_fd_clear(&place->in);
    varve_fd_clear(&place->out);
    varve_fd_clear(&place->base);
    scratch_free(place->scratch);
}

/* --- streams ---------------------------------------------------------------------------------- */

static const guint8 own[16] = "own-uuid-0123456", others[16] = "base-uuid-012345",
                    strange[16] = "strange-uuid-012";

static GByteArray *
begin(gboolean on_base)
{
    GByteArray *stream = send_stream_new(2), *payload = g_byte_array_new();
    send_put_text(payload, VARVE_SEND_A_PATH, "../name");
    send_put_attribute(payload, VARVE_SEND_A_UUID, own, 16);
    send_put_number(payload, VARVE_SEND_A_CTRANSID, 7, 8);
    if (on_base) {
        send_put_attribute(payload, VARVE_SEND_A_CLONE_UUID, others, 16);
        send_put_number(payload, VARVE_SEND_A_CLONE_CTRANSID, 5, 8);
    }
    send_put_command(stream, on_base ? VARVE_SEND_SNAPSHOT : VARVE_SEND_SUBVOL, payload);
    return stream;
}

static void
put_path(GByteArray *stream, guint kind, const char *path)
{
    send_put_paths(stream, kind, path, 0, NULL);
}

static void
put_write(GByteArray *stream, const char *path, guint64 offset, const char *text)
{
    GByteArray *payload = g_byte_array_new();
    send_put_text(payload, VARVE_SEND_A_PATH, path);
    send_put_number(payload, VARVE_SEND_A_FILE_OFFSET, offset, 8);
    send_put(payload, VARVE_SEND_A_DATA, 2);
    g_byte_array_append(payload, (const guint8 *)text, (guint)strlen(text));
    send_put_command(stream, VARVE_SEND_WRITE, payload);
}

static void
put_number(GByteArray *stream, guint kind, const char *path, guint attribute, guint64 value)
{
    GByteArray *payload = g_byte_array_new();
    send_put_text(payload, VARVE_SEND_A_PATH, path);
    send_put_number(payload, attribute, value, 8);
    send_put_command(stream, kind, payload);
}

static void
put_owner(GByteArray *stream, const char *path, guint64 uid, guint64 gid)
{
    GByteArray *payload = g_byte_array_new();
    send_put_text(payload, VARVE_SEND_A_PATH, path);
    send_put_number(payload, VARVE_SEND_A_UID, uid, 8);
    send_put_number(payload, VARVE_SEND_A_GID, gid, 8);
    send_put_command(stream, VARVE_SEND_CHOWN, payload);
}

static void
put_times(GByteArray *stream, const char *path, guint32 nanoseconds)
{
    GByteArray *payload = g_byte_array_new();
    send_put_text(payload, VARVE_SEND_A_PATH, path);
    send_put_time(payload, VARVE_SEND_A_ATIME, 1, 2);
    send_put_time(payload, VARVE_SEND_A_MTIME, 3, nanoseconds);
    send_put_time(payload, VARVE_SEND_A_CTIME, 5, 6);
    send_put_command(stream, VARVE_SEND_UTIMES, payload);
}

static void
put_xattr(GByteArray *stream, const char *path, const char *name)
{
    GByteArray *payload = g_byte_array_new();
    send_put_text(payload, VARVE_SEND_A_PATH, path);
    send_put_text(payload, VARVE_SEND_A_XATTR_NAME, name);
    send_put_attribute(payload, VARVE_SEND_A_XATTR_DATA, "v", 1);
    send_put_command(stream, VARVE_SEND_SET_XATTR, payload);
}

static void
put_node(GByteArray *stream, const char *path, guint64 mode, guint64 device)
{
    GByteArray *payload = g_byte_array_new();
    send_put_text(payload, VARVE_SEND_A_PATH, path);
    send_put_number(payload, VARVE_SEND_A_MODE, mode, 8);
    send_put_number(payload, VARVE_SEND_A_RDEV, device, 8);
    send_put_command(stream, VARVE_SEND_MKNOD, payload);
}

typedef struct {
    const guint8 *uuid;
    const char *of;
    guint64 from, length, to;
} Clone;

static void
put_clone(GByteArray *stream, const char *path, Clone clone)
{
    GByteArray *payload = g_byte_array_new();
    send_put_text(payload, VARVE_SEND_A_PATH, path);
    send_put_number(payload, VARVE_SEND_A_FILE_OFFSET, clone.to, 8);
    send_put_number(payload, VARVE_SEND_A_CLONE_LEN, clone.length, 8);
    send_put_attribute(payload, VARVE_SEND_A_CLONE_UUID, clone.uuid, 16);
    send_put_number(payload, VARVE_SEND_A_CLONE_CTRANSID, 1, 8);
    send_put_text(payload, VARVE_SEND_A_CLONE_PATH, clone.of);
    send_put_number(payload, VARVE_SEND_A_CLONE_OFFSET, clone.from, 8);
    send_put_command(stream, VARVE_SEND_CLONE, payload);
}

typedef struct {
    guint compression;
    guint64 file_len, len, offset;
    guint encryption;
} Encoding;

static void
put_encoded(GByteArray *stream, const char *path, Encoding how, gconstpointer data, gsize length)
{
    GByteArray *payload = g_byte_array_new();
    send_put_text(payload, VARVE_SEND_A_PATH, path);
    send_put_number(payload, VARVE_SEND_A_FILE_OFFSET, 0, 8);
    send_put_number(payload, VARVE_SEND_A_UNENCODED_FILE_LEN, how.file_len, 8);
    send_put_number(payload, VARVE_SEND_A_UNENCODED_LEN, how.len, 8);
    send_put_number(payload, VARVE_SEND_A_UNENCODED_OFFSET, how.offset, 8);
    send_put_number(payload, VARVE_SEND_A_COMPRESSION, how.compression, 4);
    send_put_number(payload, VARVE_SEND_A_ENCRYPTION, how.encryption, 4);
    send_put(payload, VARVE_SEND_A_DATA, 2);
    g_byte_array_append(payload, data, (guint)length);
    send_put_command(stream, VARVE_SEND_ENCODED_WRITE, payload);
}

static gssize
read_bytes(gpointer data, void *buffer, gsize size, GError **error)
{
    GByteArray *bytes = data;
    gsize n = MIN(size, bytes->len);
    memcpy(buffer, bytes->data, n);
    g_byte_array_remove_range(bytes, 0, (guint)n);
    return (gssize)n;
}

/* Frees the stream. */
static gboolean
receive(Place *place, gboolean on_base, GByteArray *stream, GError **error)
{
    const VarveSource source = {read_bytes, stream};
    const VarveReceiveTarget target = {place->in, on_base ? place->base : -1, {0}};
    send_put_end(stream);
    gboolean ok = varve_btrfs_receive(&target, &source, error);
    g_byte_array_unref(stream);
    return ok;
}

static void
accept(Place *place, GByteArray *stream)
{
    g_autoptr(GError) error = NULL;
    receive(place, FALSE, stream, &error);
    g_assert_no_error(error);
}

static void
refuse(Place *place, gboolean on_base, GByteArray *stream, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(receive(place, on_base, stream, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
    if (strstr(error->message, part) == NULL)
        g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, part));
}

/* --- paths ------------------------------------------------------------------------------------ */

/* Every command with a path; of those with two, path is either. */
static void
put_any(GByteArray *stream, guint which, const char *path)
{
    switch (which) {
    case 0:
        return put_path(stream, VARVE_SEND_MKFILE, path);
    case 1:
        return put_path(stream, VARVE_SEND_MKDIR, path);
    case 2:
        return put_path(stream, VARVE_SEND_MKFIFO, path);
    case 3:
        return put_path(stream, VARVE_SEND_MKSOCK, path);
    case 4:
        return put_node(stream, path, S_IFCHR, 0x103);
    case 5:
        return send_put_paths(stream, VARVE_SEND_SYMLINK, path, VARVE_SEND_A_PATH_LINK, "x");
    case 6:
        return send_put_paths(stream, VARVE_SEND_RENAME, "mine", VARVE_SEND_A_PATH_TO, path);
    case 7:
        return send_put_paths(stream, VARVE_SEND_RENAME, path, VARVE_SEND_A_PATH_TO, "x");
    case 8:
        return send_put_paths(stream, VARVE_SEND_LINK, "x", VARVE_SEND_A_PATH_LINK, path);
    case 9:
        return send_put_paths(stream, VARVE_SEND_LINK, path, VARVE_SEND_A_PATH_LINK, "mine");
    case 10:
        return put_path(stream, VARVE_SEND_UNLINK, path);
    case 11:
        return put_path(stream, VARVE_SEND_RMDIR, path);
    case 12:
        return put_write(stream, path, 0, "hostile");
    case 13:
        return put_number(stream, VARVE_SEND_TRUNCATE, path, VARVE_SEND_A_SIZE, 0);
    case 14:
        return put_number(stream, VARVE_SEND_CHMOD, path, VARVE_SEND_A_MODE, 0777);
    case 15:
        return put_owner(stream, path, 1, 1);
    case 16:
        return put_times(stream, path, 4);
    case 17:
        return put_xattr(stream, path, "user.x");
    case 18:
        return put_clone(stream, path, (Clone){own, "mine", 0, 1, 0});
    case 19:
        return put_clone(stream, "mine", (Clone){own, path, 0, 1, 0});
    default:
        return put_encoded(stream, path, (Encoding){0, 1, 1, 0, 0}, "x", 1);
    }
}

#define ANY 21

static const char *const bad_paths[] = {
    "..",
    "../out/file",
    "a/../../out/file",
    "/etc/varve-test",
    "/",
    "a//b",
    ".",
    "./mine",
    "a/",
    "a/.",
    "",
    "mine/x",
    "none/x",
    "abs/file",
    "rel/file",
    "dot/out/file",
    "self/file",
};

/* Neither by their own words, nor by way of a symbolic link. */
static void
test_paths(void)
{
    for (guint which = 0; which < ANY; which++) {
        for (gsize i = 0; i < G_N_ELEMENTS(bad_paths); i++) {
            gboolean of_root = which >= 14 && which <= 17;
            if (*bad_paths[i] == '\0' && of_root)
                continue; /* the root directory has attributes */
            Place place = place_new();
            g_autofree char *absolute = g_strconcat(place.scratch->path, "/out", NULL);
            GByteArray *stream = begin(FALSE);
            put_path(stream, VARVE_SEND_MKFILE, "mine");
            send_put_paths(stream, VARVE_SEND_SYMLINK, "abs", VARVE_SEND_A_PATH_LINK, absolute);
            send_put_paths(stream, VARVE_SEND_SYMLINK, "rel", VARVE_SEND_A_PATH_LINK, "../out");
            send_put_paths(stream, VARVE_SEND_SYMLINK, "dot", VARVE_SEND_A_PATH_LINK, "..");
            send_put_paths(stream, VARVE_SEND_SYMLINK, "self", VARVE_SEND_A_PATH_LINK, ".");
            put_any(stream, which, bad_paths[i]);
            refuse(&place, FALSE, stream, "");
            place_free(&place);
        }
    }
}

/* What is at the end of a path is not followed either: these are about the link itself, or
 * refused. */
static void
test_last_links(void)
{
    for (guint which = 0; which < ANY; which++) {
        Place place = place_new();
        g_autoptr(GError) error = NULL;
        GByteArray *stream = begin(FALSE);
        put_path(stream, VARVE_SEND_MKFILE, "mine");
        send_put_paths(stream, VARVE_SEND_SYMLINK, "link", VARVE_SEND_A_PATH_LINK, "../out/file");
        put_any(stream, which, "link");
        gboolean moves = which >= 6 && which <= 8, removes = which == 10;
        gboolean sets = which == 15 || which == 16;
        g_assert_cmpint(receive(&place, FALSE, stream, &error), ==, moves || removes || sets);
        place_free(&place);
    }
}

/* A directory that was there may be a link now: what was opened before is not used again. */
static void
test_replaced_directory(void)
{
    Place place = place_new();
    GByteArray *stream = begin(FALSE);
    put_path(stream, VARVE_SEND_MKDIR, "d");
    put_path(stream, VARVE_SEND_MKDIR, "d/e");
    put_path(stream, VARVE_SEND_MKFILE, "d/e/f");
    send_put_paths(stream, VARVE_SEND_RENAME, "d", VARVE_SEND_A_PATH_TO, "gone");
    send_put_paths(stream, VARVE_SEND_SYMLINK, "d", VARVE_SEND_A_PATH_LINK, "gone");
    put_path(stream, VARVE_SEND_MKFILE, "d/e/g");
    refuse(&place, FALSE, stream, "mkfile 'd/e/g'");
    g_assert_no_errno(faccessat(place.in, "gone/e/f", F_OK, 0));
    g_assert_cmpint(faccessat(place.in, "gone/e/g", F_OK, 0), <, 0);
    place_free(&place);
}

/* Nor is a file that is open taken for another one of its name. */
static void
test_replaced_file(void)
{
    Place place = place_new();
    GByteArray *stream = begin(FALSE);
    put_path(stream, VARVE_SEND_MKFILE, "a");
    put_write(stream, "a", 0, "first");
    send_put_paths(stream, VARVE_SEND_RENAME, "a", VARVE_SEND_A_PATH_TO, "b");
    put_write(stream, "b", 5, " more");
    put_path(stream, VARVE_SEND_MKFILE, "a");
    put_write(stream, "a", 0, "second");
    put_path(stream, VARVE_SEND_MKFILE, "c");
    put_write(stream, "b", 0, "F");
    send_put_paths(stream, VARVE_SEND_RENAME, "a", VARVE_SEND_A_PATH_TO, "b");
    put_write(stream, "b", 0, "S");
    accept(&place, stream);
    g_autofree char *b = read_file(place.in, "b");
    g_assert_cmpstr(b, ==, "Second");
    place_free(&place);
}

/* --- content ---------------------------------------------------------------------------------- */

static void
test_devices(void)
{
    if (!scratch_need_root())
        return;
    Place place = place_new();
    GByteArray *stream = begin(FALSE);
    put_node(stream, "null", S_IFCHR | 0644, makedev(1, 3));
    put_write(stream, "null", 0, "x");
    refuse(&place, FALSE, stream, "no regular file");
    stream = begin(FALSE);
    put_path(stream, VARVE_SEND_MKFIFO, "fifo");
    put_write(stream, "fifo", 0, "x"); /* which nobody reads */
    refuse(&place, FALSE, stream, "no regular file");
    stream = begin(FALSE);
    put_node(stream, "regular", S_IFREG | 0644, 0);
    refuse(&place, FALSE, stream, "no device");
    stream = begin(FALSE);
    put_node(stream, "large", S_IFCHR, G_GUINT64_CONSTANT(1) << 40);
    refuse(&place, FALSE, stream, "no such number");
    place_free(&place);
}

static void
test_clones(void)
{
    static const struct {
        Clone clone;
        const char *part;
    } clones[] = {
        {{strange, "file", 0, 1, 0}, "neither this one"},
        {{others, "../out/file", 0, 1, 0}, "component"},
        {{others, "link/file", 0, 1, 0}, "opening its directory"},
        {{others, "link", 0, 1, 0}, "no regular file"},
        {{others, "none", 0, 1, 0}, "looking at the file"},
        {{others, "file", 0, 0, 0}, "no bytes"},
        {{others, "file", 0, G_MAXUINT64, 0}, "beyond the end"},
        {{others, "file", G_MAXUINT64 - 1, 4096, 0}, "beyond the end"},
        {{others, "file", 0, 4096, G_MAXINT64 - 1}, "beyond the end"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(clones); i++) {
        Place place = place_new();
        write_file(place.base, "file", "in the base");
        g_assert_no_errno(symlinkat("../out", place.base, "link"));
        GByteArray *stream = begin(TRUE);
        put_path(stream, VARVE_SEND_MKFILE, "mine");
        put_clone(stream, "mine", clones[i].clone);
        refuse(&place, TRUE, stream, clones[i].part);
        place_free(&place);
    }
}

static void
test_numbers(void)
{
    Place place = place_new();
    GByteArray *stream = begin(FALSE);
    put_path(stream, VARVE_SEND_MKFILE, "a");
    put_write(stream, "a", G_MAXUINT64, "x");
    refuse(&place, FALSE, stream, "beyond the end");
    stream = begin(FALSE);
    put_path(stream, VARVE_SEND_MKFILE, "b");
    put_number(stream, VARVE_SEND_TRUNCATE, "b", VARVE_SEND_A_SIZE, G_MAXUINT64);
    refuse(&place, FALSE, stream, "beyond the end");
    stream = begin(FALSE);
    put_number(stream, VARVE_SEND_CHMOD, "", VARVE_SEND_A_MODE, 010000);
    refuse(&place, FALSE, stream, "no mode is 4096");
    stream = begin(FALSE);
    put_owner(stream, "", G_MAXUINT32, 0);
    refuse(&place, FALSE, stream, "no user is");
    stream = begin(FALSE);
    put_times(stream, "", 0x3fffffff); /* UTIME_NOW */
    refuse(&place, FALSE, stream, "no part of a second is");
    place_free(&place);
}

static void
test_order(void)
{
    Place place = place_new();
    GByteArray *stream = send_stream_new(1);
    put_path(stream, VARVE_SEND_MKFILE, "a");
    refuse(&place, FALSE, stream, "does not begin with a subvolume");
    stream = begin(FALSE);
    GByteArray *again = begin(FALSE);
    g_byte_array_append(stream, again->data + 17, again->len - 17);
    g_byte_array_unref(again);
    refuse(&place, FALSE, stream, "a second subvolume");
    refuse(&place, TRUE, begin(FALSE), "no difference to the one that is given");
    refuse(&place, FALSE, begin(TRUE), "which is not given");
    stream = begin(FALSE);
    put_path(stream, VARVE_SEND_MKFILE, "b");
    GByteArray *payload = g_byte_array_new();
    send_put_text(payload, VARVE_SEND_A_PATH, "b");
    send_put_number(payload, VARVE_SEND_A_FILE_OFFSET, 0, 8);
    send_put_number(payload, VARVE_SEND_A_SIZE, 1, 8);
    send_put_command(stream, VARVE_SEND_UPDATE_EXTENT, payload);
    refuse(&place, FALSE, stream, "without the data");
    stream = begin(FALSE);
    send_put_end(stream);
    refuse(&place, FALSE, stream, "goes on after its end");
    place_free(&place);
}

/* --- compressed data where the file system does not take it
 * --------------------------------------- */

enum { PLAIN = 100000 };

static gsize
compress(guint compression, const char *plain, guint8 *data)
{
    if (compression == 2)
        return ZSTD_compress(data, PLAIN, plain, PLAIN, 3);
    struct isal_zstream zlib;
    isal_deflate_stateless_init(&zlib);
    zlib.gzip_flag = IGZIP_ZLIB;
    zlib.next_in = (guint8 *)plain;
    zlib.avail_in = PLAIN;
    zlib.next_out = data;
    zlib.avail_out = PLAIN;
    zlib.end_of_stream = 1;
    g_assert_cmpint(isal_deflate_stateless(&zlib), ==, COMP_OK);
    return zlib.total_out;
}

static void
test_decompress(void)
{
    g_autofree char *plain = g_malloc(PLAIN + 1);
    for (guint i = 0; i <= PLAIN; i++)
        plain[i] = (char)('a' + i / 100 % 26);
    for (guint compression = 1; compression <= 2; compression++) {
        Place place = place_new();
        g_autofree guint8 *data = g_malloc0(PLAIN + 100);
        gsize length = compress(compression, plain, data) + 50; /* zeros behind it */
        GByteArray *stream = begin(FALSE);
        put_path(stream, VARVE_SEND_MKFILE, "a");
        put_encoded(stream, "a", (Encoding){compression, 50000, PLAIN, 7, 0}, data, length);
        accept(&place, stream);
        g_autofree char *text = read_file(place.in, "a");
        g_assert_cmpuint(strlen(text), ==, 50000);
        g_assert_cmpmem(text, 50000, plain + 7, 50000);

        const Encoding wrong[] = {
            {compression, PLAIN, PLAIN + 1, 0, 0},   {compression, PLAIN, PLAIN, 1, 0},
            {compression, G_MAXUINT64, PLAIN, 1, 0}, {compression, 1, 1 << 30, 0, 0},
            {compression, 1, PLAIN, G_MAXUINT64, 0}, {compression, PLAIN, PLAIN, 0, 1},
            {3 - compression, PLAIN, PLAIN, 0, 0},
        };
        for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
            g_autofree char *name = g_strdup_printf("%u", (guint)i);
            stream = begin(FALSE);
            put_path(stream, VARVE_SEND_MKFILE, name);
            put_encoded(stream, name, wrong[i], data, length);
            refuse(&place, FALSE, stream, "compressed data");
        }
        place_free(&place);
    }
}

static void
test_unknown_compression(void)
{
    Place place = place_new();
    g_autoptr(GError) error = NULL;
    GByteArray *stream = begin(FALSE);
    put_path(stream, VARVE_SEND_MKFILE, "a");
    put_encoded(stream, "a", (Encoding){3, 1, 1, 0, 0}, "x", 1);
    g_assert_false(receive(&place, FALSE, stream, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NOT_IMPLEMENTED);
    place_free(&place);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    g_test_add_func("/btrfs-receive/paths", test_paths);
    g_test_add_func("/btrfs-receive/last-links", test_last_links);
    g_test_add_func("/btrfs-receive/replaced-directory", test_replaced_directory);
    g_test_add_func("/btrfs-receive/replaced-file", test_replaced_file);
    g_test_add_func("/btrfs-receive/devices", test_devices);
    g_test_add_func("/btrfs-receive/clones", test_clones);
    g_test_add_func("/btrfs-receive/numbers", test_numbers);
    g_test_add_func("/btrfs-receive/order", test_order);
    g_test_add_func("/btrfs-receive/decompress", test_decompress);
    g_test_add_func("/btrfs-receive/unknown-compression", test_unknown_compression);
    return g_test_run();
}
