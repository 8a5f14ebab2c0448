/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "layer-scratch.h"
#include "tar-build.h"
#include "tree-compare.h"
#include "tree-everything.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Layers applied: rows L1, L5 and L7 of the specification. */

#define DIFFERENT_TIME "1234567890.987654321"

static GByteArray *
archive(const TarFile *files, gsize n)
{
    GByteArray *tar = g_byte_array_new();
    for (gsize i = 0; i < n; i++)
        tar_add(tar, files[i]);
    tar_end(tar);
    return tar;
}

/* An archive of these entries. */
#define ARCHIVE(...)                                                                               \
    archive((const TarFile[]){__VA_ARGS__},                                                        \
            sizeof((const TarFile[]){__VA_ARGS__}) / sizeof(TarFile))

/* --- the dialects, as GNU tar extracts them -------------------------------------------------- */

/* Runs a command in a directory; FALSE, and the test is skipped, where there is none such. */
static gboolean
run_in(const char *directory, const char *command)
{
    g_autoptr(GError) error = NULL;
    const char *const argv[] = {"sh", "-ec", command, NULL};
    g_autofree char *errors = NULL;
    int status;
    g_spawn_sync(directory, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL,
                 NULL, NULL, NULL, &errors, &status, &error);
    g_assert_no_error(error);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        g_test_skip(errors);
        return FALSE;
    }
    if (status != 0)
        g_error("%s: %s", command, errors);
    return TRUE;
}

/* Reading changes them, and not every archive has them. */
static void
forget_atimes(int dirfd)
{
    g_autoptr(GPtrArray) names = tree_names(dirfd);
    for (guint i = 0; i < names->len; i++) {
        struct stat st;
        g_assert_no_errno(fstatat(dirfd, names->pdata[i], &st, AT_SYMLINK_NOFOLLOW));
        if (S_ISDIR(st.st_mode)) {
            varve_autofd inner = varve_fd_open_dir(dirfd, names->pdata[i], NULL);
            forget_atimes(inner);
        }
        const struct timespec times[] = {{0}, {.tv_nsec = UTIME_OMIT}};
        g_assert_no_errno(utimensat(dirfd, names->pdata[i], times, AT_SYMLINK_NOFOLLOW));
    }
    const struct timespec times[] = {{0}, {.tv_nsec = UTIME_OMIT}};
    g_assert_no_errno(futimens(dirfd, times));
}

static GByteArray *
read_archive(const char *directory, const char *name)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    char *bytes;
    gsize size;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    return g_byte_array_new_take((guint8 *)bytes, size);
}

/* Makes an archive by a command that is run beside the directory "everything", unpacks it here and
 * by GNU tar, and compares. */
static void
test_dialect(gconstpointer command)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    const char *path = layers->scratch->path;
    int top = layers->scratch->fd;
    tree_make_everything(top, "everything");
    varve_autofd reference = tree_make_dir(top, "reference", 0755);
    gboolean made =
        run_in(path, command) &&
        run_in(path, "tar -C reference --numeric-owner --delay-directory-restore --xattrs "
                     "--xattrs-include='*' -xpf layer");
    if (made) {
        GByteArray *layer = read_archive(path, "layer");
        g_autofree char *digest = varve_digest_of(layer->data, layer->len);
        layers->target.digest = layers->target.diff_id = digest;
        layer_apply_ok(layers, layer);
        forget_atimes(reference);
        forget_atimes(layers->root);
        tree_compare(reference, layers->root);
        struct stat sparse;
        if (fstatat(layers->root, "sparse-middle", &sparse, 0) == 0)
            g_assert_cmpint(sparse.st_blocks * 512, <, TREE_SPARSE_SIZE / 2);
    }
    varve_fd_clear(&reference);
    varve_tree_remove(top, "reference", NULL, NULL);
    varve_tree_remove(top, "everything", NULL, NULL);
    varve_tree_remove(top, "layer", NULL, NULL);
}

#define GNU_TAR "tar -C everything --sparse -cf layer . --format="
#define GNU_PAX GNU_TAR "pax --xattrs --xattrs-include='*' "
#define PYTHON(format)                                                                             \
    "python3 -c 'import tarfile; "                                                                 \
    "t = tarfile.open(\"layer\", \"w\", format=tarfile." format "_FORMAT); "                       \
    "t.add(\"everything\", \".\", filter=lambda i: None if \"sparse\" in i.name else i); "         \
    "t.close()'"
#define BSDTAR "command -v bsdtar >&2 || exit 127; bsdtar -C everything -cf layer --format "

static const struct {
    const char *name, *command;
} dialects[] = {
    {"gnu", GNU_TAR "gnu"},
    {"pax", GNU_PAX},
    {"pax-sparse-0.0", GNU_PAX "--sparse-version=0.0"},
    {"pax-sparse-0.1", GNU_PAX "--sparse-version=0.1"},
    {"ustar", "tar -C everything --exclude='sparse*' --format=ustar -cf layer . || "
              "[ $? = 2 ]"}, /* some of it does not fit */
    {"v7", "tar -C everything --exclude='sparse*' --format=v7 -cf layer . || [ $? = 2 ]"},
    {"bsdtar-pax", BSDTAR "pax ."},
    {"bsdtar-gnu", BSDTAR "gnutar --exclude 'sparse*' ."},
    {"python-pax", PYTHON("PAX")},
    {"python-gnu", PYTHON("GNU")},
};

/* --- numbers and names ----------------------------------------------------------------------- */

static void
test_pax(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    GString *pax = tar_pax("mtime", DIFFERENT_TIME);
    tar_record(pax, "uid", "4000000000", -1);
    tar_record(pax, "gid", "3000000000", -1);
    tar_record(pax, "path", "d\xc3\xa9j\xc3\xa0 \xff\n", -1); /* any bytes */
    tar_record(pax, "path", "", 0); /* says nothing: it is the name before that counts */
    tar_record(pax, "comment", "ignored\0too", 11);
    tar_record(pax, "SCHILY.xattr.user.schily", "a\0b=\n", 5);
    tar_record(pax, "LIBARCHIVE.xattr.user.lib%25%61rchive", "aGVsbG8", -1);
    layer_apply_ok(layers,
                   ARCHIVE({.name = "file", .content = "x", .mode = 04751, .pax = pax},
                           {.name = "before", .content = "", .pax = tar_pax("mtime", "-1.25")},
                           {.name = "gnu", .gnu = TRUE, .raw_uid = "\200\0\0\0\356\153\050\0"}));
    const char *name = "d\xc3\xa9j\xc3\xa0 \xff\n";
    layer_assert_attributes(layers, name, "4751 4000000000 3000000000 " DIFFERENT_TIME);
    layer_assert_attributes(layers, "before", "644 0 0 -2.750000000");
    layer_assert_attributes(layers, "gnu", "644 4000000000 0 0.000000000");

    char value[8] = {0};
    varve_autofd fd = openat(layers->root, name, O_RDONLY);
    g_assert_cmpint(fgetxattr(fd, "user.schily", value, sizeof value), ==, 5);
    g_assert_cmpint(memcmp(value, "a\0b=\n", 5), ==, 0);
    g_assert_cmpint(fgetxattr(fd, "user.lib%archive", value, sizeof value), ==, 5);
    g_assert_cmpint(memcmp(value, "hello", 5), ==, 0);
}

/* Go before 1.8 wrote a prefix into GNU headers, which have none. */
static void
test_name_in_gnu_header(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    GByteArray *tar = g_byte_array_new();
    tar_add(tar, (TarFile){.name = "name", .content = "x", .gnu = TRUE});
    memcpy(tar->data + 345, "prefix", 6);
    guint sum = 0;
    memset(tar->data + 148, ' ', 8);
    for (gsize i = 0; i < 512; i++)
        sum += tar->data[i];
    g_snprintf((char *)tar->data + 148, 8, "%06o", sum);
    tar_end(tar);
    layer_apply_ok(layers, tar);
    layer_assert_file(layers, "prefix/name", "x");
}

/* A device node of each kind, a fifo; the umask counts for nothing. */
static void
test_special(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    mode_t before = umask(077);
    layer_apply_ok(
        layers, ARCHIVE({.name = "char", .type = '3', .mode = 0666, .major = 1, .minor = 3},
                        {.name = "block", .type = '4', .mode = 0660, .major = 259, .minor = 70000},
                        {.name = "fifo", .type = '6', .mode = 0622, .uid = 5, .mtime = 77},
                        {.name = "sticky/", .type = '5', .mode = 01777, .mtime = 9},
                        {.name = "group/", .type = '5', .mode = 02775, .gid = 50},
                        {.name = "group/file", .content = "x", .mode = 0666, .mtime = 3},
                        {.name = "group/dir/", .type = '5', .mode = 0755},
                        {.name = "closed/", .type = '5', .mode = 0111, .mtime = 4},
                        {.name = "closed/setuid", .content = "x", .mode = 06755, .uid = 8}));
    g_assert_cmpint(umask(before), ==, 077); /* of this thread and process, that is */
    struct stat st;
    g_assert_no_errno(fstatat(layers->root, "block", &st, 0));
    g_assert_true(S_ISBLK(st.st_mode) && st.st_rdev == makedev(259, 70000));
    g_assert_no_errno(fstatat(layers->root, "char", &st, 0));
    g_assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
    layer_assert_attributes(layers, "char", "666 0 0 0.000000000");
    layer_assert_attributes(layers, "fifo", "622 5 0 77.000000000");
    layer_assert_attributes(layers, "sticky", "1777 0 0 9.000000000");
    layer_assert_attributes(layers, "group", "2775 0 50 0.000000000");
    layer_assert_attributes(layers, "group/file", "666 0 0 3.000000000");
    layer_assert_attributes(layers, "group/dir", "755 0 0 0.000000000");
    layer_assert_attributes(layers, "closed", "111 0 0 4.000000000");
    layer_assert_attributes(layers, "closed/setuid", "6755 8 0 0.000000000");
}

/* --- hard links, what is in the way ---------------------------------------------------------- */

static void
test_links(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    layer_apply_ok(layers, ARCHIVE({.name = "usr/bin/", .type = '5'},
                                   {.name = "bin", .type = '2', .target = "/usr/bin"},
                                   {.name = "bin/tool", .content = "tool"},
                                   {.name = "hard", .type = '1', .target = "bin/tool"},
                                   {.name = "hard", .type = '1', .target = "/usr/bin/tool"},
                                   {.name = "tool", .type = '2', .target = "hard"},
                                   {.name = "tool-2", .type = '1', .target = "./tool"}));
    layer_assert_file(layers, "usr/bin/tool", "tool");
    g_assert_true(layer_same(layers, "hard", "usr/bin/tool"));
    g_assert_true(layer_same(layers, "tool", "tool-2"));
}

static void
test_replacing(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    layers->target.fresh = FALSE;
    layer_apply_ok(layers, ARCHIVE({.name = "dir/deep/file", .content = "old"},
                                   {.name = "merged/old", .content = "old"},
                                   {.name = "file", .content = "old, and longer"},
                                   {.name = "other", .type = '1', .target = "file"},
                                   {.name = "link", .type = '2', .target = "merged"},
                                   {.name = "lower-link", .type = '2', .target = "merged"}));
    layer_apply_ok(layers,
                   ARCHIVE({.name = "dir", .content = "now a file"},
                           {.name = "merged/", .type = '5', .mode = 0700, .uid = 3, .mtime = 5},
                           {.name = "file", .content = "new"}, {.name = "link/", .type = '5'},
                           {.name = "lower-link/new", .content = "new"}));
    layer_assert_file(layers, "dir", "now a file");
    layer_assert_file(layers, "merged/old", "old");
    layer_assert_file(layers, "merged/new", "new");
    layer_assert_attributes(layers, "merged", "700 3 0 5.000000000");
    layer_assert_file(layers, "file", "new");
    layer_assert_file(layers, "other", "old, and longer"); /* it was replaced, not written to */
    layer_assert_file(layers, "link/old", NULL);
    struct stat st;
    g_assert_no_errno(fstatat(layers->root, "link", &st, AT_SYMLINK_NOFOLLOW));
    g_assert_true(S_ISDIR(st.st_mode));
}

/* A directory that the layer has not is as it was, its times too. */
static void
test_times_of_others(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    layers->target.fresh = FALSE;
    layer_apply_ok(layers, ARCHIVE({.name = "dir/", .type = '5', .mode = 0751, .mtime = 12345},
                                   {.name = "dir/old", .content = "x"}));
    layer_apply_ok(layers, ARCHIVE({.name = "dir/new", .content = "x"}, {.name = "dir/.wh.old"}));
    layer_assert_file(layers, "dir/old", NULL);
    layer_assert_file(layers, "dir/new", "x");
    layer_assert_attributes(layers, "dir", "751 0 0 12345.000000000");
}

/* More directories than are remembered, with entries that come back to them. */
static void
test_many_directories(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    const int n = 1500;
    GByteArray *tar = g_byte_array_new();
    for (int i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("top/%d/sub/", i);
        tar_add(tar, (TarFile){.name = name, .type = '5', .mode = 0710, .mtime = 100 + i});
    }
    for (int i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("top/%d/sub/file", i);
        tar_add(tar, (TarFile){.name = name, .content = name, .mtime = i});
    }
    tar_end(tar);
    layer_apply_ok(layers, tar);
    for (int i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("top/%d/sub", i);
        g_autofree char *file = g_strconcat(name, "/file", NULL);
        g_autofree char *attributes = g_strdup_printf("710 0 0 %d.000000000", 100 + i);
        layer_assert_attributes(layers, name, attributes);
        layer_assert_file(layers, file, file);
    }
}

/* --- whiteouts ------------------------------------------------------------------------------- */

static void
test_whiteouts(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    layers->target.fresh = FALSE;
    layer_apply_ok(layers,
                   ARCHIVE({.name = "a/old", .content = "x"}, {.name = "a/sub/old", .content = "x"},
                           {.name = "b/old", .content = "x"}, {.name = "c/old", .content = "x"},
                           {.name = "c/sub/old", .content = "x"},
                           {.name = "gone/deep/old", .content = "x"}));
    layer_apply_ok(layers,
                   ARCHIVE({.name = "a/sub/new", .content = "new"},
                           {.name = "a/.wh..wh..opq"}, /* may come late */
                           {.name = "a/late", .content = "late"}, {.name = "b/.wh.old"},
                           {.name = "b/.wh.never-there"}, {.name = "c/sub/.wh.nothing"},
                           {.name = "c/.wh..wh..opq"}, {.name = "c/sub/again", .content = "again"},
                           {.name = ".wh.gone"}, {.name = "nowhere/.wh.file"},
                           {.name = ".wh..wh.plnk/1", .content = "of aufs"}));
    layer_assert_file(layers, "a/old", NULL);
    layer_assert_file(layers, "a/sub/old", NULL);
    layer_assert_file(layers, "a/sub/new", "new");
    layer_assert_file(layers, "a/late", "late");
    layer_assert_file(layers, "b/old", NULL);
    layer_assert_file(layers, "c/old", NULL);
    layer_assert_file(layers, "c/sub/old", NULL);
    layer_assert_file(layers, "c/sub/again", "again");
    layer_assert_file(layers, "gone", NULL);
    layer_assert_file(layers, "nowhere", NULL);
    layer_assert_file(layers, ".wh..wh.plnk", NULL);
    varve_autofd b = varve_fd_open_dir(layers->root, "b", NULL);
    g_autoptr(GPtrArray) names = tree_names(b);
    g_assert_cmpuint(names->len, ==, 0); /* no mark is left */
}

/* What the layer made before is kept also where it is the root that becomes opaque. */
static void
test_opaque_root(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    layers->target.fresh = FALSE;
    layer_apply_ok(layers,
                   ARCHIVE({.name = "a/b/old", .content = "x"}, {.name = "c/old", .content = "x"}));
    layer_apply_ok(layers,
                   ARCHIVE({.name = "a/b/new", .content = "new"}, {.name = ".wh..wh..opq"}));
    layer_assert_file(layers, "a/b/new", "new");
    layer_assert_file(layers, "a/b/old", NULL);
    layer_assert_file(layers, "c", NULL);
}

static void
assert_whiteout(LayerScratch *layers, const char *path)
{
    struct stat st;
    g_assert_no_errno(fstatat(layers->root, path, &st, AT_SYMLINK_NOFOLLOW));
    g_assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
}

static void
assert_opaque(LayerScratch *layers, const char *path, gboolean opaque)
{
    char value = 0;
    varve_autofd fd = varve_fd_open_dir(layers->root, path, NULL);
    g_assert_cmpint(fgetxattr(fd, "trusted.overlay.opaque", &value, 1), ==, opaque ? 1 : -1);
    g_assert_true(!opaque || value == 'y');
}

/* What was applied so far is below from now on. */
static int
begin_upper(LayerScratch *layers)
{
    layers->target.parent = openat(layers->root, ".", O_RDONLY | O_DIRECTORY);
    varve_fd_clear(&layers->root);
    g_assert_no_errno(renameat(layers->scratch->fd, "root", layers->scratch->fd, "parent"));
    layers->root = layers->target.root = tree_make_dir(layers->scratch->fd, "root", 0755);
    layers->target.whiteouts = VARVE_WHITEOUTS_OVERLAY;
    return layers->target.parent;
}

static void
test_overlay_whiteouts(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    layer_apply_ok(layers,
                   ARCHIVE({.name = "a/old", .content = "x"}, {.name = "b/old", .content = "x"},
                           {.name = "c/old", .content = "x"}, {.name = "again", .content = "x"},
                           {.name = "dir/", .type = '5'}, {.name = "dir-2/", .type = '5'}));
    varve_autofd parent G_GNUC_UNUSED = begin_upper(layers);
    layer_apply_ok(
        layers,
        ARCHIVE({.name = "a/new", .content = "new"}, {.name = "a/.wh..wh..opq"},
                {.name = "b/.wh.old"}, {.name = "b/.wh.never-there"}, {.name = "c/.wh.old"},
                {.name = "c/.wh..wh..opq"}, {.name = "again", .content = "x"},
                {.name = ".wh.again"}, {.name = ".wh.dir"}, {.name = "dir/new", .content = "x"},
                {.name = ".wh.dir-2"}, {.name = "dir-2/", .type = '5'},
                {.name = "marked", .pax = tar_pax("SCHILY.xattr.trusted.overlay.opaque", "y")}));
    layer_assert_file(layers, "a/new", "new");
    assert_opaque(layers, "a", TRUE);
    assert_opaque(layers, "b", FALSE);
    assert_whiteout(layers, "b/old");
    layer_assert_file(layers, "b/never-there", NULL); /* it would be listed */
    layer_assert_file(layers, "c/old", NULL);         /* here too */
    assert_opaque(layers, "c", TRUE);
    assert_whiteout(layers, "again");
    layer_assert_file(layers, "dir/new", "x");
    assert_opaque(layers, "dir", TRUE); /* it hides what was removed */
    assert_opaque(layers, "dir-2", TRUE);
    char value = 0;
    varve_autofd fd = openat(layers->root, "marked", O_RDONLY);
    g_assert_cmpint(fgetxattr(fd, "trusted.overlay.opaque", &value, 1), ==, -1);
    g_assert_cmpint(fgetxattr(fd, "trusted.overlay.overlay.opaque", &value, 1), ==, 1);
    g_assert_true(varve_tree_remove(layers->scratch->fd, "parent", NULL, NULL));
}

/* What the layer does not say is as in the layers below. */
static void
test_overlay_parent(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    layer_apply_ok(layers, ARCHIVE({.name = "usr/bin/", .type = '5', .mode = 0751, .mtime = 42},
                                   {.name = "usr/bin/tool", .content = "tool", .mtime = 7},
                                   {.name = "bin", .type = '2', .target = "usr/bin"},
                                   {.name = "file", .content = "x"},
                                   {.name = "hidden/", .type = '5', .mode = 0700}));
    varve_autofd parent G_GNUC_UNUSED = begin_upper(layers);
    layer_apply_ok(layers, ARCHIVE({.name = "bin/new", .content = "new"},
                                   {.name = "link", .type = '1', .target = "bin/tool"},
                                   {.name = ".wh.hidden"}, {.name = "hidden/x", .content = "x"}));
    layer_assert_file(layers, "bin", NULL);
    layer_assert_file(layers, "usr/bin/new", "new");
    layer_assert_attributes(layers, "usr/bin", "751 0 0 42.000000000");
    layer_assert_attributes(layers, "hidden", "755 0 0 0.000000000");
    layer_assert_file(layers, "link", "tool");
    layer_assert_attributes(layers, "link", "644 0 0 7.000000000");
    g_assert_true(layer_same(layers, "link", "usr/bin/tool"));
    layer_apply_fails(layers, ARCHIVE({.name = "file/x", .content = "x"}), "no directory");
    g_assert_true(varve_tree_remove(layers->scratch->fd, "parent", NULL, NULL));
}

/* --- digests, ends, limits ------------------------------------------------------------------- */

static GByteArray *
small_layer(void)
{
    return ARCHIVE({.name = "dir/", .type = '5'}, {.name = "dir/file", .content = "content"},
                   {.name = "long", .pax = tar_pax("path", "dir/longer")},
                   {.name = "././@LongLink", .type = 'L', .content = "dir/gnu", .gnu = TRUE},
                   {.name = "short", .content = "content"},
                   {.name = "link", .type = '1', .target = "dir/file"});
}

static void
test_info(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    g_autoptr(GByteArray) layer = small_layer();
    g_autofree char *digest = varve_digest_of(layer->data, layer->len);
    g_autoptr(GError) error = NULL;
    g_auto(VarveLayerInfo) info = {0};
    layers->piece = 1; /* a source may give single bytes */
    layer_apply(layers, layer, &info, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(info.digest, ==, digest);
    g_assert_cmpstr(info.diff_id, ==, digest);
    g_assert_cmpuint(info.plain, ==, layer->len);
    g_assert_cmpuint(info.entries, ==, 5);
}

static void
test_wrong_digest(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    g_autofree char *other = varve_digest_of("", 0);
    layers->target.digest = other;
    layer_apply_fails(layers, small_layer(), "digest of the layer is sha256:");
    layers->target.digest = NULL;
    layers->target.diff_id = other;
    layers->target.fresh = FALSE;
    layer_apply_fails(layers, small_layer(), "digest of the decompressed layer is sha256:");
}

static void
test_truncated(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    layers->target.fresh = FALSE;
    g_autoptr(GByteArray) whole = small_layer();
    g_autofree char *digest = varve_digest_of(whole->data, whole->len);
    for (guint size = 0; size < whole->len; size += 512) {
        GByteArray *part = g_byte_array_new();
        g_byte_array_append(part, whole->data, size);
        layers->target.diff_id = digest; /* tells of a cut between entries */
        layer_apply_fails(layers, part, "");
        layers->target.diff_id = NULL;
        if (size > 0) {
            part = g_byte_array_new();
            g_byte_array_append(part, whole->data, size - 1);
            layer_apply_fails(layers, part, "truncated");
        }
    }
    layer_apply_ok(layers, g_steal_pointer(&whole));
}

/* As some write archives, which other readers take. */
static void
test_without_end(void)
{
    if (!scratch_need_root())
        return;
    for (guint blocks = 1; blocks <= 2; blocks++) {
        g_autoptr(LayerScratch) layers = layer_scratch_new();
        GByteArray *layer = small_layer();
        g_byte_array_set_size(layer, layer->len - blocks * 512);
        layer_apply_ok(layers, layer);
    }
}

static void
test_limits(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    layers->target.fresh = FALSE;
    layers->target.limits.entries = 4;
    layer_apply_fails(layers, small_layer(), "more than 4 entries");
    layers->target.limits.entries = 5;
    layers->target.limits.bytes = 4096;
    layer_apply_fails(layers, small_layer(), "more than 4096 bytes");
    layers->target.limits.bytes = 0;
    layer_apply_ok(layers, small_layer());
}

static void
test_cancelled(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    gint cancelled = 1;
    layers->target.watch.cancelled = &cancelled;
    layer_apply_fails(layers, small_layer(), "interrupted");
}

static gssize
fail_to_read(gpointer data, void *buffer, gsize size, GError **error)
{
    varve_error_set(error, VARVE_ERROR_UNAVAILABLE, "the network is gone");
    return -1;
}

static void
test_source_fails(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    g_autoptr(GError) error = NULL;
    VarveLayerInfo info;
    g_assert_false(
        varve_layer_apply((VarveSource){fail_to_read, NULL}, &layers->target, &info, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE);
    g_assert_cmpstr(error->message, ==, "the network is gone");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    for (gsize i = 0; i < G_N_ELEMENTS(dialects); i++) {
        g_autofree char *path = g_strconcat("/apply/dialect/", dialects[i].name, NULL);
        g_test_add_data_func(path, dialects[i].command, test_dialect);
    }
    g_test_add_func("/apply/pax", test_pax);
    g_test_add_func("/apply/name-in-gnu-header", test_name_in_gnu_header);
    g_test_add_func("/apply/special", test_special);
    g_test_add_func("/apply/links", test_links);
    g_test_add_func("/apply/replacing", test_replacing);
    g_test_add_func("/apply/times-of-others", test_times_of_others);
    g_test_add_func("/apply/many-directories", test_many_directories);
    g_test_add_func("/apply/whiteouts", test_whiteouts);
    g_test_add_func("/apply/opaque-root", test_opaque_root);
    g_test_add_func("/apply/overlay/whiteouts", test_overlay_whiteouts);
    g_test_add_func("/apply/overlay/parent", test_overlay_parent);
    g_test_add_func("/apply/info", test_info);
    g_test_add_func("/apply/wrong-digest", test_wrong_digest);
    g_test_add_func("/apply/truncated", test_truncated);
    g_test_add_func("/apply/without-end", test_without_end);
    g_test_add_func("/apply/limits", test_limits);
    g_test_add_func("/apply/cancelled", test_cancelled);
    g_test_add_func("/apply/source-fails", test_source_fails);
    return g_test_run();
}
