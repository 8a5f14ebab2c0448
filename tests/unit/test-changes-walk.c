/* SPDX-License-Identifier: Apache-2.0 */
#include "changes-model.h"
#include "driver/changes.h"
#include "scratch.h"
#include "tree-everything.h"
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* What drivers share in telling changes, on plain directories. */

typedef struct {
    Scratch *scratch;
    int before, after;
} Pair;

static void
write_file(int dirfd, const char *name, const char *text)
{
    tree_write_file(dirfd, name, text, strlen(text), 0644);
}

static void
set_time(int dirfd, const char *name, time_t seconds, long nanoseconds)
{
    const struct timespec times[] = {{0, UTIME_OMIT}, {seconds, nanoseconds}};
    g_assert_no_errno(utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW));
}

static void
fill(int root)
{
    static const char *const names[] = {"content", "empty", "mode",  "owner", "same",
                                        "size",    "time",  "xattr", "type",  "gone"};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        write_file(root, names[i], i == 1 ? "" : names[i]);
    g_assert_no_errno(symlinkat("one", root, "link"));
    g_assert_no_errno(mknodat(root, "device", S_IFCHR | 0600, makedev(1, 3)));
    close(tree_make_dir(root, "dir", 0755));
    varve_autofd dir = tree_make_dir(root, "dir-gone", 0755);
    write_file(dir, "inner", "x");
    tree_set_xattr(root, "same", "user.kept", "x", 1);
    tree_set_xattr(root, "xattr", "user.note", "x", 1);
}

/* All times are one. */
static void
age(int root)
{
    static const char *const names[] = {
        "content", "empty", "mode", "owner", "same",   "size",           "time",     "xattr",
        "type",    "gone",  "link", "dir",   "device", "dir-gone/inner", "dir-gone", "."};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (faccessat(root, names[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            set_time(root, names[i], 1000, 5);
    }
}

static void
pair_init(Pair *pair)
{
    pair->scratch = scratch_new(NULL, 0);
    pair->before = tree_make_dir(pair->scratch->fd, "before", 0755);
    pair->after = tree_make_dir(pair->scratch->fd, "after", 0755);
}

static void
pair_clear(Pair *pair)
{
    varve_fd_clear(&pair->before);
    varve_fd_clear(&pair->after);
    g_assert_true(varve_tree_remove(pair->scratch->fd, "before", NULL, NULL));
    g_assert_true(varve_tree_remove(pair->scratch->fd, "after", NULL, NULL));
    scratch_free(pair->scratch);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pair, pair_clear)

static void
assert_walk(int before, int after, VarveCompareFlags flags, const char *wanted)
{
    g_autoptr(GPtrArray) lines = changes_lines_new();
    const VarveCompare how = {.flags = flags};
    VarveChangeSink sink = {.func = changes_collect, .data = lines};
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_changes_walk(before, after, &how, &sink, &error));
    g_assert_no_error(error);
    g_autofree char *text = changes_join(lines);
    g_assert_cmpstr(text, ==, wanted);
}

/* --- comparing -------------------------------------------------------------------------------- */

static void
rewrite(int dirfd, const char *name, const char *text)
{
    varve_autofd fd = openat(dirfd, name, O_WRONLY);
    g_assert_no_errno(fd);
    g_assert_cmpint(pwrite(fd, text, strlen(text), 0), ==, strlen(text));
}

static void
test_each_difference(void)
{
    if (!scratch_need_root()) /* for owners and devices */
        return;
    g_auto(Pair) pair;
    pair_init(&pair);
    fill(pair.before);
    fill(pair.after);
    rewrite(pair.after, "content", "CONTENT");
    rewrite(pair.after, "size", "larger than it was");
    g_assert_no_errno(fchmodat(pair.after, "mode", 0640, 0));
    g_assert_no_errno(fchownat(pair.after, "owner", 0, 12, 0));
    tree_set_xattr(pair.after, "xattr", "user.note", "y", 1);
    tree_set_xattr(pair.after, "dir", "trusted.note", "y", 1);
    g_assert_no_errno(unlinkat(pair.after, "link", 0));
    g_assert_no_errno(symlinkat("two", pair.after, "link"));
    g_assert_no_errno(unlinkat(pair.after, "device", 0));
    g_assert_no_errno(mknodat(pair.after, "device", S_IFCHR | 0600, makedev(1, 5)));
    g_assert_no_errno(unlinkat(pair.after, "type", 0));
    close(tree_make_dir(pair.after, "type", 0755));
    write_file(pair.after, "type/inner", "x");
    g_assert_no_errno(unlinkat(pair.after, "gone", 0));
    g_assert_true(varve_tree_remove(pair.after, "dir-gone", NULL, NULL));
    write_file(pair.after, "a new\n", "");
    age(pair.before);
    age(pair.after);
    set_time(pair.after, "time", 1000, 6);
    assert_walk(pair.before, pair.after, VARVE_COMPARE_CONTENT,
                "added /a new\\n\n"
                "modified /content content\n"
                "replaced /device\n"
                "modified /dir xattrs\n"
                "deleted /dir-gone\n"
                "deleted /gone\n"
                "modified /link content\n"
                "modified /mode mode\n"
                "modified /owner owner\n"
                "modified /size content\n"
                "modified /time time\n"
                "replaced /type\n"
                "added /type/inner\n"
                "modified /xattr xattrs\n");

    /* Nobody said that a file of the same size and time should be read. */
    g_autoptr(GPtrArray) lines = changes_lines_new();
    VarveChangeSink sink = {.func = changes_collect, .data = lines};
    g_assert_true(varve_changes_walk(pair.before, pair.after, NULL, &sink, NULL));
    g_assert_cmpstr(lines->pdata[1], ==, "replaced /device");
}

/* Where times differ, files are read although nobody asked for it: touched is not rewritten. */
static void
test_time_alone(void)
{
    g_auto(Pair) pair;
    pair_init(&pair);
    write_file(pair.before, "touched", "same");
    write_file(pair.after, "touched", "same");
    write_file(pair.before, "written", "same");
    write_file(pair.after, "written", "SAME");
    for (int i = 0; i < 2; i++) {
        int root = i == 0 ? pair.before : pair.after;
        set_time(root, "touched", 1000 + i, 0);
        set_time(root, "written", 1000 + i, 0);
        set_time(root, ".", 1000, 0);
    }
    assert_walk(pair.before, pair.after, 0,
                "modified /touched time\nmodified /written content,time\n");
}

static void
test_holes(void)
{
    g_auto(Pair) pair;
    pair_init(&pair);
    const off_t size = (off_t)1 << 40; /* reading the holes would never end */
    for (int i = 0; i < 2; i++) {
        int root = i == 0 ? pair.before : pair.after;
        const char *const names[] = {"equal", "late", "written-zeros"};
        for (gsize j = 0; j < G_N_ELEMENTS(names); j++) {
            varve_autofd fd = openat(root, names[j], O_WRONLY | O_CREAT | O_EXCL, 0600);
            g_assert_no_errno(ftruncate(fd, size));
            g_assert_cmpint(pwrite(fd, "x", 1, size / 2), ==, 1);
            if (j == 1)
                g_assert_cmpint(pwrite(fd, i == 0 ? "x" : "y", 1, size - 1), ==, 1);
            if (j == 2 && i == 1)
                g_assert_cmpint(pwrite(fd, "\0\0\0", 3, size / 4), ==, 3);
            g_assert_no_errno(fsync(fd));
            set_time(root, names[j], 1000, 0);
        }
        set_time(root, ".", 1000, 0);
    }
    assert_walk(pair.before, pair.after, VARVE_COMPARE_CONTENT, "modified /late content\n");
}

static void
test_touched(void)
{
    g_auto(Pair) pair;
    pair_init(&pair);
    write_file(pair.before, "file", "same");
    write_file(pair.after, "file", "SAME");
    for (int i = 0; i < 2; i++) {
        set_time(i == 0 ? pair.before : pair.after, "file", 1000, 0);
        set_time(i == 0 ? pair.before : pair.after, ".", 1000, 0);
    }
    struct stat st;
    g_assert_no_errno(fstatat(pair.after, "file", &st, 0));
    for (int later = 0; later < 2; later++) {
        g_autoptr(GPtrArray) lines = changes_lines_new();
        const VarveCompare how = {.flags = VARVE_COMPARE_TOUCHED,
                                  .since = {st.st_ctim.tv_sec, st.st_ctim.tv_nsec + later}};
        VarveChangeSink sink = {.func = changes_collect, .data = lines};
        g_assert_true(varve_changes_walk(pair.before, pair.after, &how, &sink, NULL));
        g_assert_cmpuint(lines->len, ==, later ? 0 : 1);
    }
}

/* What overlayfs keeps in a layer of its own is nothing that a mount shows; what it keeps for
 * another overlayfs is. */
static void
test_layers_xattrs(void)
{
    if (!scratch_need_root())
        return;
    g_auto(Pair) pair;
    pair_init(&pair);
    for (int i = 0; i < 2; i++) {
        int root = i == 0 ? pair.before : pair.after;
        write_file(root, "escaped", "");
        write_file(root, "own", "");
        tree_set_xattr(root, "escaped",
                       i == 0 ? "trusted.overlay.opaque" : "trusted.overlay.overlay.opaque", "y",
                       1);
        if (i == 1)
            tree_set_xattr(root, "own", "trusted.overlay.origin", "y", 1);
        set_time(root, "escaped", 1000, 0);
        set_time(root, "own", 1000, 0);
        set_time(root, ".", 1000, 0);
    }
    assert_walk(pair.before, pair.after, VARVE_COMPARE_AFTER_LAYER, "");
    assert_walk(pair.before, pair.after, 0, "modified /escaped xattrs\nmodified /own xattrs\n");
}

/* --- the walk --------------------------------------------------------------------------------- */

static void
test_everything(void)
{
    if (!scratch_need_root())
        return;
    g_auto(Pair) pair;
    pair_init(&pair);
    tree_make_everything(pair.after, "tree");
    tree_make_everything(pair.before, "tree");
    set_time(pair.before, ".", 1000, 0);
    set_time(pair.after, ".", 1000, 0);
    assert_walk(pair.before, pair.after, VARVE_COMPARE_CONTENT, "");

    g_autoptr(GHashTable) none = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) all = changes_expected(-1, pair.after, none);
    g_autofree char *text = changes_join(all);
    assert_walk(-1, pair.after, 0, text);

    g_autoptr(GPtrArray) lines = changes_lines_new();
    VarveChangeSink sink = {.func = changes_collect, .data = lines};
    g_assert_true(varve_changes_add_tree(pair.after, "tree", "/tree", &sink, NULL));
    g_ptr_array_remove_index(all, 0); /* the root */
    g_autofree char *below = changes_join(all), *told = changes_join(lines);
    g_assert_cmpstr(told, ==, below);
}

#define DEPTH 3000

static void
make_deep(int root, const char *last)
{
    varve_autofd dir = dup(root);
    for (int i = 0; i < DEPTH; i++) {
        int next = tree_make_dir(dir, "d", 0755);
        close(dir);
        dir = next;
    }
    write_file(dir, last, "x");
}

static gboolean
count(const VarveChange *change, gpointer data, GError **error)
{
    GPtrArray *kinds = data;
    g_ptr_array_add(kinds, GINT_TO_POINTER(change->kind));
    return TRUE;
}

/* Any depth, with few descriptors. */
static void
test_deep(void)
{
    g_auto(Pair) pair;
    pair_init(&pair);
    make_deep(pair.before, "old");
    make_deep(pair.after, "new");
    struct rlimit old, few = {140, 140};
    g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &old));
    few.rlim_max = old.rlim_max;
    g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &few));
    g_autoptr(GPtrArray) kinds = g_ptr_array_new();
    VarveChangeSink sink = {.func = count, .data = kinds};
    g_autoptr(GError) error = NULL;
    gboolean ok = varve_changes_walk(pair.before, pair.after, NULL, &sink, &error);
    g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &old));
    g_assert_no_error(error);
    g_assert_true(ok);
    /* Every directory has another time. */
    g_assert_cmpuint(kinds->len, ==, DEPTH + 1 + 2);
    g_assert_cmpint(GPOINTER_TO_INT(kinds->pdata[DEPTH + 1]), ==, VARVE_CHANGE_ADDED);
    g_assert_cmpint(GPOINTER_TO_INT(kinds->pdata[DEPTH + 2]), ==, VARVE_CHANGE_DELETED);
}

static void
test_mount_point(void)
{
    if (!scratch_need_root())
        return;
    g_auto(Pair) pair;
    pair_init(&pair);
    for (int i = 0; i < 2; i++) {
        int root = i == 0 ? pair.before : pair.after;
        close(tree_make_dir(root, "mnt", 0755));
        set_time(root, "mnt", 1000, 0);
        set_time(root, ".", 1000, 0);
    }
    g_autofree char *target = g_strconcat(pair.scratch->path, "/after/mnt", NULL);
    g_assert_no_errno(mount("tmpfs", target, "tmpfs", 0, NULL));
    varve_autofd mounted = varve_fd_open_dir(AT_FDCWD, target, NULL);
    write_file(mounted, "file", "x");
    varve_fd_clear(&mounted);
    assert_walk(pair.before, pair.after, 0, "");
    g_assert_no_errno(umount2(target, 0));
}

/* --- the sink --------------------------------------------------------------------------------- */

typedef struct {
    guint calls, limit;
    gboolean fail;
} Limit;

static gboolean
take_some(const VarveChange *change, gpointer data, GError **error)
{
    Limit *limit = data;
    if (++limit->calls < limit->limit)
        return TRUE;
    if (limit->fail)
        varve_error_set(error, VARVE_ERROR_UNAVAILABLE, "no more");
    return FALSE;
}

static void
test_sink(void)
{
    g_auto(Pair) pair;
    pair_init(&pair);
    for (char name[] = "a"; *name <= 'z'; ++*name)
        write_file(pair.after, name, "x");

    Limit limit = {.limit = 5};
    VarveChangeSink sink = {.func = take_some, .data = &limit};
    g_autoptr(GError) none = NULL;
    g_assert_true(
        varve_changes_ended(&sink, varve_changes_walk(-1, pair.after, NULL, &sink, &none)));
    g_assert_no_error(none);
    g_assert_cmpuint(limit.calls, ==, 5);

    limit = (Limit){.limit = 5, .fail = TRUE};
    sink.enough = FALSE;
    g_autoptr(GError) failure = NULL;
    g_assert_false(
        varve_changes_ended(&sink, varve_changes_walk(-1, pair.after, NULL, &sink, &failure)));
    g_assert_error(failure, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE);

    const gint cancelled = 1;
    sink.cancelled = &cancelled;
    g_autoptr(GError) end = NULL;
    g_assert_false(varve_changes_walk(pair.before, pair.after, NULL, &sink, &end));
    g_assert_error(end, VARVE_ERROR, VARVE_ERROR_CANCELLED);
}

static void
test_order(void)
{
    static const char *const paths[] = {"/",      "/a",     "/a/a",  "/a/b",   "/a/b/c", "/a/b\x01",
                                        "/a\x01", "/a\n",   "/a-",   "/a-/b",  "/a.",    "/aa",
                                        "/b",     "/b\x7f", "/\x80", "/\xff/a"};
    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        for (gsize j = 0; j < G_N_ELEMENTS(paths); j++) {
            int order = varve_changes_order(paths[i], paths[j]);
            g_assert_cmpint((order > 0) - (order < 0), ==, (i > j) - (i < j));
        }
    }
}

static void
test_list(void)
{
    static const VarveChange changes[] = {
        {.kind = VARVE_CHANGE_ADDED, .path = "/b"},
        {.kind = VARVE_CHANGE_RENAMED, .path = "/a", .from = "/x"},
        {.kind = VARVE_CHANGE_DELETED, .path = "/b"},
        {.kind = VARVE_CHANGE_MODIFIED, .path = "/a/b", .what = VARVE_CHANGE_MODE},
    };
    g_autoptr(VarveChangeList) list = varve_change_list_new();
    for (gsize i = 0; i < G_N_ELEMENTS(changes); i++)
        g_assert_true(varve_change_list_add(&changes[i], list, NULL));
    g_autoptr(GPtrArray) lines = changes_lines_new();
    VarveChangeSink sink = {.func = changes_collect, .data = lines};
    g_assert_true(varve_change_list_tell(list, &sink, NULL));
    g_autofree char *text = changes_join(lines);
    g_assert_cmpstr(text, ==, "renamed /a from /x\nmodified /a/b mode\ndeleted /b\nadded /b\n");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    g_test_add_func("/changes-walk/each-difference", test_each_difference);
    g_test_add_func("/changes-walk/time-alone", test_time_alone);
    g_test_add_func("/changes-walk/holes", test_holes);
    g_test_add_func("/changes-walk/touched", test_touched);
    g_test_add_func("/changes-walk/layers-xattrs", test_layers_xattrs);
    g_test_add_func("/changes-walk/everything", test_everything);
    g_test_add_func("/changes-walk/deep", test_deep);
    g_test_add_func("/changes-walk/mount-point", test_mount_point);
    g_test_add_func("/changes-walk/sink", test_sink);
    g_test_add_func("/changes-walk/order", test_order);
    g_test_add_func("/changes-walk/list", test_list);
    return g_test_run();
}
