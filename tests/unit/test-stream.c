/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tree.h"
#include "driver/driver.h"
#include "scratch.h"
#include "stream-bytes.h"
#include "tree-compare.h"
#include "tree-everything.h"
#include "tree-mutate.h"
#include "volume/stream/content.h"
#include "volume/stream/pack.h"
#include "volume/stream/records.h"
#include "volume/stream/unpack.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Portable payloads from one directory to another, without an engine. SPEC rows V6 and V7.
 * VARVE_TEST_ROUNDS=N does N random rounds instead of some. */

#define DEFAULT_ROUNDS 60

/* --- trees ------------------------------------------------------------------------------------ */

static GByteArray *
pack(int before, int after)
{
    g_autoptr(GError) error = NULL;
    GByteArray *payload = g_byte_array_new();
    const VarveSink sink = {stream_append, payload};
    const VarveStreamPack how = {.before = before, .after = after};
    const VarveDriverTrees trees = {before, after, NULL};
    g_autoptr(VarveStreamPacker) packer = varve_stream_packer_new(&how, &sink, &error);
    g_assert_no_error(error);
    varve_driver_compare_trees(&trees, varve_stream_packer_add, packer, &error);
    g_assert_no_error(error);
    g_assert_true(varve_stream_packer_finish(packer, &error));
    return payload;
}

static gboolean
unpack(int root, const GByteArray *payload, gsize piece, GError **error)
{
    const VarveTreeWatch watch = {NULL, NULL, NULL};
    StreamReading reading = {payload, 0, piece};
    guint64 entries;
    return varve_stream_unpack(root, (VarveSource){stream_read, &reading}, &watch, &entries, error);
}

static void
unpack_ok(int root, const GByteArray *payload)
{
    g_autoptr(GError) error = NULL;
    gboolean ok = unpack(root, payload, G_MAXSIZE, &error);
    g_assert_no_error(error);
    g_assert_true(ok);
}

static int
open_new(int dirfd, const char *name)
{
    g_assert_no_errno(mkdirat(dirfd, name, 0755));
    int fd = varve_fd_open_dir(dirfd, name, NULL);
    g_assert_no_errno(fd);
    return fd;
}

static void
remove_tree(int dirfd, const char *name)
{
    g_autoptr(GError) error = NULL;
    varve_tree_remove(dirfd, name, NULL, &error);
    g_assert_no_error(error);
}

static void
copy_tree(int dirfd, const char *from, const char *to)
{
    g_autoptr(GError) error = NULL;
    varve_tree_copy(dirfd, from, dirfd, to, NULL, &error);
    g_assert_no_error(error);
}

static void
test_everything(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(Scratch) scratch = scratch_new("ext4", 256 << 20);
    if (scratch == NULL)
        return;
    struct stat st;
    tree_make_everything(scratch->fd, "a");
    varve_autofd a = varve_fd_open_dir(scratch->fd, "a", NULL), b = open_new(scratch->fd, "b");
    g_autoptr(GByteArray) payload = pack(-1, a);
    g_assert_cmpuint(payload->len, <, 16 << 20); /* holes are not in it */
    unpack_ok(b, payload);
    tree_compare(a, b);
    g_assert_no_errno(fstatat(b, "sparse-middle", &st, 0));
    g_assert_cmpint(st.st_blocks * 512, <=, 512 * 1024);
    g_autoptr(GByteArray) nothing = pack(a, b);
    g_assert_cmpuint(nothing->len, <, 32); /* but its end */
}

/* Names that belong together come to be so, whatever they were. */
static void
test_links(void)
{
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    varve_autofd a = open_new(scratch->fd, "a");
    tree_write_file(a, "one", "same", 4, 0644);
    g_assert_no_errno(linkat(a, "one", a, "two", 0));
    g_assert_no_errno(linkat(a, "one", a, "three", 0));
    copy_tree(scratch->fd, "a", "b");
    copy_tree(scratch->fd, "a", "c");
    varve_autofd b = varve_fd_open_dir(scratch->fd, "b", NULL);
    varve_autofd c = varve_fd_open_dir(scratch->fd, "c", NULL);
    g_assert_no_errno(unlinkat(b, "one", 0));
    tree_write_file(b, "one", "else", 4, 0644); /* has its own content now */
    g_assert_no_errno(linkat(b, "two", b, "four", 0));
    g_autoptr(GByteArray) payload = pack(a, b);
    unpack_ok(c, payload);
    struct stat one, two, three, four;
    g_assert_no_errno(fstatat(c, "one", &one, 0));
    g_assert_no_errno(fstatat(c, "two", &two, 0));
    g_assert_no_errno(fstatat(c, "three", &three, 0));
    g_assert_no_errno(fstatat(c, "four", &four, 0));
    g_assert_cmpuint(one.st_nlink, ==, 1);
    g_assert_cmpuint(two.st_nlink, ==, 3);
    g_assert_cmpuint(two.st_ino, ==, three.st_ino);
    g_assert_cmpuint(two.st_ino, ==, four.st_ino);
    remove_tree(scratch->fd, "a");
    remove_tree(scratch->fd, "b");
    remove_tree(scratch->fd, "c");
}

static void
round_of_changes(Scratch *scratch, GRand *numbers)
{
    copy_tree(scratch->fd, "here", "new");
    varve_autofd here = varve_fd_open_dir(scratch->fd, "here", NULL);
    varve_autofd new = varve_fd_open_dir(scratch->fd, "new", NULL);
    varve_autofd there = varve_fd_open_dir(scratch->fd, "there", NULL);
    tree_mutate(new, numbers, 10);
    g_autoptr(GByteArray) payload = pack(here, new);
    unpack_ok(there, payload);
    g_autoptr(GByteArray) rest = pack(new, there);
    g_assert_cmpuint(rest->len, <, 32);
    remove_tree(scratch->fd, "here");
    g_assert_no_errno(renameat(scratch->fd, "new", scratch->fd, "here"));
}

/* The secret changes of tree_mutate() are the driver's to find, not the walk's; so their trees are
 * compared by what the walk sees. */
static void
test_random(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(Scratch) scratch = scratch_new("ext4", 256 << 20);
    if (scratch == NULL)
        return;
    const char *wish = g_getenv("VARVE_TEST_ROUNDS");
    g_autoptr(GRand) numbers = g_rand_new_with_seed(20261122);
    varve_autofd here = open_new(scratch->fd, "here"), there = open_new(scratch->fd, "there");
    varve_fd_clear(&here);
    varve_fd_clear(&there);
    for (int i = wish != NULL ? atoi(wish) : DEFAULT_ROUNDS; i > 0; i--)
        round_of_changes(scratch, numbers);
}

/* --- hostile payloads ------------------------------------------------------------------------- */

#define KIND(name) VARVE__STREAM__ENTRY__KIND__##name

static void
add_entry(GByteArray *payload, VarveStreamEntry entry)
{
    const VarveSink sink = {stream_append, payload};
    g_assert_true(varve_record_write_entry(&sink, &entry, NULL));
}

/* An entry with some of its fields. */
#define ENTRY(...)                                                                                 \
    ({                                                                                             \
        VarveStreamEntry made = VARVE__STREAM__ENTRY__INIT;                                        \
        const struct {                                                                             \
            int kind;                                                                              \
            const char *path, *target;                                                             \
            guint32 mode;                                                                          \
            guint64 size;                                                                          \
        } said = {__VA_ARGS__};                                                                    \
        made.kind = (Varve__Stream__Entry__Kind)said.kind;                                         \
        made.path = (char *)(said.path != NULL ? said.path : "");                                  \
        made.target = (char *)(said.target != NULL ? said.target : "");                            \
        made.mode = said.mode;                                                                     \
        made.size = said.size;                                                                     \
        made;                                                                                      \
    })

static void
refused(int root, GByteArray *payload, const char *text)
{
    const VarveSink sink = {stream_append, payload};
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_record_write_end(&sink, NULL));
    gboolean ok = unpack(root, payload, G_MAXSIZE, &error);
    g_byte_array_unref(payload);
    g_assert_false(ok);
    g_assert_nonnull(error);
    if (strstr(error->message, text) == NULL)
        g_error("'%s' is not in: %s", text, error->message);
}

static GByteArray *
one_entry(VarveStreamEntry entry)
{
    GByteArray *payload = g_byte_array_new();
    add_entry(payload, entry);
    return payload;
}

static GByteArray *
with_data(VarveStreamEntry entry, guint64 offset, const char *text)
{
    GByteArray *payload = one_entry(entry);
    const VarveSink sink = {stream_append, payload};
    varve_record_write_data(&sink, offset, (const guint8 *)text, strlen(text), NULL);
    return payload;
}

static void
test_hostile(void)
{
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    varve_autofd outside = open_new(scratch->fd, "outside"), root = open_new(scratch->fd, "root");
    tree_write_file(outside, "victim", "untouched", 9, 0640);
    tree_write_file(root, "file", "file", 4, 0644);
    g_assert_no_errno(symlinkat("../outside", root, "out"));
    g_assert_no_errno(symlinkat("../outside/victim", root, "victim"));

    static const char *const paths[] = {"",        "a",   "//", "/a/",   "/../outside/x",
                                        "/a/../b", "/..", "/.", "/a//b", "/a/./b"};
    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++)
        refused(root, one_entry(ENTRY(KIND(FILE), paths[i])), "none that a snapshot can have");
    g_autofree char *name = g_strnfill(256, 'n'), *path = g_strconcat("/", name, NULL);
    refused(root, one_entry(ENTRY(KIND(FILE), path)), "none that a snapshot can have");

    refused(root, one_entry(ENTRY(KIND(FILE), "/out/x")), "no directory is above");
    refused(root, one_entry(ENTRY(KIND(REMOVE), "/out/victim")), "no directory is above");
    refused(root, one_entry(ENTRY(KIND(DIRECTORY), "/missing/x")), "no directory is above");
    refused(root, one_entry(ENTRY(KIND(LINK), "/x", "/out/victim")), "is missing");
    refused(root, one_entry(ENTRY(KIND(LINK), "/x", "/../outside/victim")), "none that a snapshot");
    refused(root, one_entry(ENTRY(KIND(LINK), "/x", "/")), "is missing");
    refused(root, one_entry(ENTRY(KIND(PATCH), "/victim")), "there is no file to change");
    refused(root, one_entry(ENTRY(KIND(PATCH), "/nothing")), "there is no file to change");
    refused(root, one_entry(ENTRY(KIND(REMOVE), "/nothing")), "there is nothing to remove");
    refused(root, one_entry(ENTRY(KIND(REMOVE), "/")), "the root is a directory");
    refused(root, one_entry(ENTRY(KIND(FILE), "/")), "the root is a directory");
    refused(root, one_entry(ENTRY(KIND(FILE), "/file")), "File exists");
    refused(root, one_entry(ENTRY(KIND(SYMLINK), "/empty")), "symbolic link");
    refused(root, one_entry(ENTRY(99, "/kind")), "unknown kind");
    refused(root, one_entry(ENTRY(KIND(NONE), "/kind")), "unknown kind");
    refused(root, one_entry(ENTRY(KIND(FILE), "/mode", NULL, 0100644)), "no file can have");
    refused(root, one_entry(ENTRY(KIND(FILE), "/size", NULL, 0644, G_MAXUINT64)),
            "no file can have");
    refused(root, with_data(ENTRY(KIND(FILE), "/short", NULL, 0644, 3), 0, "four"),
            "beyond the end");
    refused(root, with_data(ENTRY(KIND(FILE), "/far", NULL, 0644, 3), G_MAXINT64 - 4, "four"),
            "beyond the end");
    refused(root, with_data(ENTRY(KIND(DIRECTORY), "/dir", NULL, 0755), 0, "x"),
            "content there that no file has");
    refused(root, g_byte_array_append(g_byte_array_new(), (const guint8 *)"\7\0\0\0", 4), "");

    varve_autofd victim = openat(outside, "victim", O_RDONLY);
    char content[16] = "";
    g_assert_cmpint(read(victim, content, sizeof content - 1), ==, 9);
    g_assert_cmpstr(content, ==, "untouched");
    g_autoptr(GPtrArray) names = tree_names(outside);
    g_assert_cmpuint(names->len, ==, 1);
    remove_tree(scratch->fd, "root");
    remove_tree(scratch->fd, "outside");
}

int
main(int argc, char **argv)
{
    scratch_init();
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/stream/everything", test_everything);
    g_test_add_func("/stream/links", test_links);
    g_test_add_func("/stream/random", test_random);
    g_test_add_func("/stream/hostile", test_hostile);
    return g_test_run();
}
