/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "driver/changes.h"
#include "layer-scratch.h"
#include "layer/package.h"
#include "layer/tar-writer.h"
#include "tree-compare.h"
#include "tree-everything.h"
#include "tree-mutate.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <varve/layer.h>

/* The writer of tars, and layers made of trees: SPEC row L4. */

static gboolean
append(gpointer data, const void *bytes, gsize size, GError **error)
{
    if (size > 0)
        g_byte_array_append(data, bytes, (guint)size);
    return TRUE;
}

/* --- the writer ------------------------------------------------------------------------------ */

typedef struct {
    const GByteArray *bytes;
    gboolean given;
} Whole;

static gboolean
give_whole(gpointer data, const guint8 **bytes, gsize *size, GError **error)
{
    Whole *whole = data;
    *bytes = whole->bytes->data;
    *size = whole->given ? 0 : whole->bytes->len;
    whole->given = TRUE;
    return TRUE;
}

static GByteArray *
write_one(const VarveTarEntry *entry, const char *content)
{
    GByteArray *tar = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveTarWriter) writer = varve_tar_writer_new((VarveSink){append, tar});
    g_assert_true(varve_tar_writer_add(writer, entry, &error));
    if (content != NULL) {
        g_assert_true(varve_tar_writer_write(writer, content, strlen(content), &error));
        g_assert_true(varve_tar_writer_finish(writer, &error));
        g_assert_cmpuint(tar->len % VARVE_TAR_BLOCK, ==, 0);
    }
    g_assert_no_error(error);
    return tar;
}

static void
assert_same_entry(const VarveTarEntry *read, const VarveTarEntry *written)
{
    g_assert_cmpint(read->type, ==, written->type);
    g_assert_cmpstr(read->name, ==, written->name);
    if (written->target != NULL)
        g_assert_cmpstr(read->target, ==, written->target);
    g_assert_cmpuint(read->mode, ==, written->mode);
    g_assert_cmpuint(read->uid, ==, written->uid);
    g_assert_cmpuint(read->gid, ==, written->gid);
    g_assert_cmpuint(read->size, ==, written->size);
    g_assert_cmpint(read->mtime.tv_sec, ==, written->mtime.tv_sec);
    g_assert_cmpint(read->mtime.tv_nsec, ==, written->mtime.tv_nsec);
    g_assert_cmpuint(read->major, ==, written->major);
    g_assert_cmpuint(read->minor, ==, written->minor);
    g_assert_cmpuint(read->n_xattrs, ==, written->n_xattrs);
    for (gsize i = 0; i < written->n_xattrs; i++) {
        g_assert_cmpstr(read->xattrs[i].name, ==, written->xattrs[i].name);
        g_assert_cmpmem(read->xattrs[i].value, read->xattrs[i].size, written->xattrs[i].value,
                        written->xattrs[i].size);
    }
}

/* What is written is what our reader, which other tests hold against GNU tar and Go, reads. */
static void
check_round(const VarveTarEntry *entry, const char *content)
{
    const VarveTarEntry *found;
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) tar = write_one(entry, content);
    Whole whole = {tar, FALSE};
    g_autoptr(VarveTar) reader = varve_tar_new((VarveTarInput){give_whole, &whole});
    g_assert_true(varve_tar_next(reader, &found, &error));
    g_assert_no_error(error);
    g_assert_nonnull(found);
    assert_same_entry(found, entry);
    if (content == NULL)
        return;
    g_assert_true(varve_tar_next(reader, &found, &error));
    g_assert_null(found);
}

static void
test_times(void)
{
    static const struct timespec times[] = {
        {0, 0},
        {1, 0},
        {1500000000, 1},
        {1500000000, 999999999},
        {-1, 0},
        {-1, 500000000},
        {-2, 1},
        {-1500000000, 123456789},
        {0, 1},
        {8589934591, 0},
        {8589934592, 0},
        {1500000000, 120000000},
        {1600000000, 100},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(times); i++)
        check_round(&(VarveTarEntry){.name = (char *)"x", .mode = 0644, .mtime = times[i]}, "");
}

static void
test_numbers(void)
{
    static const guint32 ids[] = {0, 2097151, 2097152, G_MAXUINT32 - 1};
    static const guint64 sizes[] = {8589934591, 8589934592, (guint64)1 << 50};
    for (gsize i = 0; i < G_N_ELEMENTS(ids); i++)
        check_round(&(VarveTarEntry){.name = (char *)"x",
                                     .mode = 07777,
                                     .uid = ids[i],
                                     .gid = ids[G_N_ELEMENTS(ids) - 1 - i]},
                    "");
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++)
        check_round(&(VarveTarEntry){.name = (char *)"x", .size = sizes[i]}, NULL);
    check_round(
        &(VarveTarEntry){
            .name = (char *)"x", .type = VARVE_TAR_CHAR, .major = 0xfff, .minor = 0xfffff},
        "");
}

/* Names of every length around the one that a header takes, of every kind of byte. */
static void
test_names(void)
{
    for (gsize length = 95; length < 105; length++) {
        g_autofree char *ascii = g_strnfill(length, 'n'), *bytes = g_strnfill(length, '\xfe');
        check_round(&(VarveTarEntry){.name = ascii}, "");
        check_round(&(VarveTarEntry){.name = bytes}, "");
        check_round(&(VarveTarEntry){.type = VARVE_TAR_SYMLINK, .name = bytes, .target = ascii},
                    "");
        check_round(&(VarveTarEntry){.type = VARVE_TAR_LINK, .name = ascii, .target = bytes}, "");
    }
    for (gsize length = 960; length < 1000; length++) { /* where the length gets a digit more */
        g_autofree char *name = g_strnfill(length, 'n');
        check_round(&(VarveTarEntry){.name = name}, "");
    }
    check_round(&(VarveTarEntry){.name = (char *)"new\nline=\xff", .size = 5}, "12345");
}

static void
test_xattrs(void)
{
    guint8 value[2000];
    for (gsize i = 0; i < sizeof value; i++)
        value[i] = (guint8)i;
    VarveTarXattr xattrs[] = {{(char *)"user.all", value, sizeof value},
                              {(char *)"user.empty", value, 0},
                              {(char *)"user.nul", value, 1}};
    check_round(&(VarveTarEntry){.name = (char *)"x", .xattrs = xattrs, .n_xattrs = 3}, "");

    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_autoptr(VarveTarWriter) writer = varve_tar_writer_new((VarveSink){append, tar});
    xattrs[0].name = (char *)"user.a=b";
    const VarveTarEntry wrong = {.name = (char *)"x", .xattrs = xattrs, .n_xattrs = 1};
    g_assert_false(varve_tar_writer_add(writer, &wrong, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NOT_IMPLEMENTED);
    g_assert_nonnull(strstr(error->message, "user.a=b"));
}

/* --- trees ----------------------------------------------------------------------------------- */

typedef struct {
    int before, after;
} Pair;

static gboolean
compare_pair(gpointer data, VarveChangeFunc func, gpointer func_data, GError **error)
{
    const Pair *pair = data;
    const VarveCompare how = {.flags = VARVE_COMPARE_CONTENT};
    const VarveDriverTrees trees = {pair->before, pair->after, NULL};
    g_autoptr(VarvePlainChanges) plain = varve_plain_changes_new();
    VarveChangeSink sink = {varve_plain_changes_add, plain, NULL, FALSE};
    return varve_changes_walk(pair->before, pair->after, &how, &sink, error) &&
           varve_plain_changes_tell(plain, &trees, func, func_data, error);
}

static GByteArray *
package(Pair *pair, VarveCompression compression, guint threads)
{
    GByteArray *layer = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    g_auto(VarvePackageInfo) info = {0};
    const VarvePackage what = {.root = pair->after,
                               .changes = {compare_pair, pair},
                               .compression = compression,
                               .threads = threads};
    varve_layer_package(&what, (VarveSink){append, layer}, &info, &error);
    g_assert_no_error(error);
    g_autofree char *digest = varve_digest_of(layer->data, layer->len);
    g_assert_cmpstr(info.digest, ==, digest);
    g_assert_cmpuint(info.compressed, ==, layer->len);
    if (compression == VARVE_COMPRESSION_NONE)
        g_assert_cmpstr(info.diff_id, ==, digest);
    return layer;
}

/* Layers have no access times. */
static void
forget_access(int dirfd)
{
    g_autoptr(GPtrArray) names = tree_names(dirfd);
    struct stat st;
    for (guint i = 0; i < names->len; i++) {
        const char *name = names->pdata[i];
        g_assert_no_errno(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW));
        const struct timespec times[] = {st.st_mtim, st.st_mtim};
        if (S_ISDIR(st.st_mode)) {
            varve_autofd dir = openat(dirfd, name, O_RDONLY | O_DIRECTORY);
            forget_access(dir);
        }
        g_assert_no_errno(utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW));
    }
    g_assert_no_errno(fstat(dirfd, &st));
    const struct timespec times[] = {st.st_mtim, st.st_mtim};
    g_assert_no_errno(futimens(dirfd, times));
}

/* A tree with every kind of file, packaged whole and applied: but for its socket, it is the same,
 * however it was compressed. */
static void
test_everything(void)
{
    if (!scratch_need_root())
        return;
    for (VarveCompression kind = VARVE_COMPRESSION_NONE; kind <= VARVE_COMPRESSION_ZSTD; kind++) {
        g_autoptr(LayerScratch) layers = layer_scratch_new();
        g_autoptr(Scratch) source = scratch_new(NULL, 0);
        tree_make_everything(source->fd, "all");
        {
            varve_autofd all = varve_fd_open_dir(source->fd, "all", NULL);
            g_assert_no_errno(unlinkat(all, "socket", 0));
            layer_apply_ok(layers, package(&(Pair){-1, all}, kind, 2));
            forget_access(all);
            forget_access(layers->root);
            tree_compare(layers->root, all);
        }
        g_assert_true(varve_tree_remove(source->fd, "all", NULL, NULL));
    }
}

static void
copy_tree(int dirfd, const char *from, const char *to)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_tree_copy(dirfd, from, dirfd, to, NULL, &error));
    g_assert_no_error(error);
}

/* Takes sockets away, which no layer has. */
static void
prepare_tree(int dirfd)
{
    g_autoptr(GPtrArray) names = tree_names(dirfd);
    for (guint i = 0; i < names->len; i++) {
        struct stat st;
        g_assert_no_errno(fstatat(dirfd, names->pdata[i], &st, AT_SYMLINK_NOFOLLOW));
        if (S_ISSOCK(st.st_mode))
            g_assert_no_errno(unlinkat(dirfd, names->pdata[i], 0));
        if (!S_ISDIR(st.st_mode))
            continue;
        varve_autofd dir = openat(dirfd, names->pdata[i], O_RDONLY | O_DIRECTORY);
        prepare_tree(dir);
    }
}

/* before and after, whose difference is applied to a copy of before. */
static void
check_difference(LayerScratch *layers, int top)
{
    varve_autofd before = varve_fd_open_dir(top, "before", NULL);
    varve_autofd after = varve_fd_open_dir(top, "after", NULL);
    varve_autofd copy = varve_fd_open_dir(top, "copy", NULL);
    int root = layers->target.root;
    layers->target.root = copy;
    layers->target.fresh = FALSE;
    layer_apply_ok(layers, package(&(Pair){before, after}, VARVE_COMPRESSION_NONE, 1));
    layers->target.root = root;

    forget_access(after);
    forget_access(copy);
    tree_compare(after, copy);
}

static void
test_random(void)
{
    static const char *const names[] = {"before", "after", "copy"};
    if (!scratch_need_root())
        return;
    for (guint seed = 0; seed < 40; seed++) {
        g_autoptr(LayerScratch) layers = layer_scratch_new();
        g_autoptr(Scratch) trees = scratch_new(NULL, 0);
        GRand *numbers = g_rand_new_with_seed(seed);
        g_test_message("seed %u", seed);
        varve_autofd before = tree_make_dir(trees->fd, "before", 0755);
        tree_mutate(before, numbers, 60);
        prepare_tree(before);
        varve_fd_clear(&before);
        copy_tree(trees->fd, "before", "after");
        copy_tree(trees->fd, "before", "copy");
        varve_autofd after = varve_fd_open_dir(trees->fd, "after", NULL);
        tree_mutate(after, numbers, 30);
        prepare_tree(after);
        varve_fd_clear(&after);
        check_difference(layers, trees->fd);
        for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
            g_assert_true(varve_tree_remove(trees->fd, names[i], NULL, NULL));
        g_rand_free(numbers);
    }
}

/* --- what a layer cannot say ----------------------------------------------------------------- */

/* The same through the public function, which compares the trees itself. */
static void
test_directories(void)
{
    g_autoptr(Scratch) source = scratch_new(NULL, 0);
    g_autoptr(GError) error = NULL;
    g_auto(VarveLayer) layer = {0};
    g_autofree char *path = g_build_filename(source->path, "layer", NULL), *content = NULL;
    gsize size;
    {
        varve_autofd before = tree_make_dir(source->fd, "before", 0755);
        varve_autofd after = tree_make_dir(source->fd, "after", 0755);
        varve_autofd file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
        tree_write_file(before, "gone", "x", 1, 0644);
        tree_write_file(after, "came", "y", 1, 0644);
        Pair pair = {before, after};
        g_autoptr(GByteArray) wanted = package(&pair, VARVE_COMPRESSION_GZIP, 1);
        varve_directories_package(NULL, before, after, NULL, file, &layer, &error);
        g_assert_no_error(error);
        g_assert_true(g_file_get_contents(path, &content, &size, &error));
        g_assert_cmpmem(content, size, wanted->data, wanted->len);
        g_assert_cmpuint(layer.whiteouts, ==, 1);
        g_assert_cmpuint(layer.size, ==, size);
    }
    static const char *const names[] = {"before", "after", "layer"};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        g_assert_true(varve_tree_remove(source->fd, names[i], NULL, NULL));
}

static void
test_reserved_names(void)
{
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) layer = g_byte_array_new();
    g_auto(VarvePackageInfo) info = {0};
    tree_write_file(scratch->fd, ".wh.x", "", 0, 0644);
    Pair pair = {-1, scratch->fd};
    const VarvePackage what = {.root = scratch->fd, .changes = {compare_pair, &pair}};
    g_assert_false(varve_layer_package(&what, (VarveSink){append, layer}, &info, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
    g_assert_nonnull(strstr(error->message, "/.wh.x"));
    g_assert_no_errno(unlinkat(scratch->fd, ".wh.x", 0));
}

static gboolean
refuse(gpointer data, const void *bytes, gsize size, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_NO_SPACE, "no room here");
}

/* The error of whoever takes the layer is what is told, whichever thread it meets. */
static void
test_full_sink(void)
{
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    g_autofree char *content = g_malloc0(40 << 20);
    tree_write_file(scratch->fd, "large", content, 40 << 20, 0644);
    Pair pair = {-1, scratch->fd};
    for (VarveCompression kind = VARVE_COMPRESSION_NONE; kind <= VARVE_COMPRESSION_ZSTD; kind++) {
        g_autoptr(GError) error = NULL;
        g_auto(VarvePackageInfo) info = {0};
        const VarvePackage what = {
            .root = scratch->fd, .changes = {compare_pair, &pair}, .compression = kind};
        g_assert_false(varve_layer_package(&what, (VarveSink){refuse, NULL}, &info, &error));
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
    }
    g_assert_no_errno(unlinkat(scratch->fd, "large", 0));
}

int
main(int argc, char **argv)
{
    scratch_init();
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tar-writer/times", test_times);
    g_test_add_func("/tar-writer/numbers", test_numbers);
    g_test_add_func("/tar-writer/names", test_names);
    g_test_add_func("/tar-writer/xattrs", test_xattrs);
    g_test_add_func("/package/everything", test_everything);
    g_test_add_func("/package/random", test_random);
    g_test_add_func("/package/directories", test_directories);
    g_test_add_func("/package/reserved-names", test_reserved_names);
    g_test_add_func("/package/full-sink", test_full_sink);
    return g_test_run();
}
