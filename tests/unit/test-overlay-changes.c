/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mount.h"
#include "base/tree.h"
#include "changes-model.h"
#include "driver-pool.h"
#include "tree-everything.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* What the overlay driver tells of changes; test-changes.c has random ones. Rows D7 and D1 of the
 * specification. */

static const PoolCase ext4 = {&varve_driver_overlay, "ext4"};

/* --- what is told ----------------------------------------------------------------------------- */

static void
assert_told(Pool *pool, const VarveDriverSnapshot *of, const char *wanted)
{
    g_autoptr(GPtrArray) lines = changes_lines_new();
    g_autoptr(GError) error = NULL;
    g_assert_true(pool->driver->changes(pool->self, of, 60, changes_collect, lines, &error));
    g_assert_no_error(error);
    g_autofree char *text = changes_join(lines);
    g_assert_cmpstr(text, ==, wanted);
}

/* All below get one time, so that only what a test does shows. */
static void
settle(int root, const char *const *names)
{
    static const struct timespec times[] = {{0, UTIME_OMIT}, {1000, 5}};
    for (; *names != NULL; names++)
        g_assert_no_errno(utimensat(root, *names, times, AT_SYMLINK_NOFOLLOW));
}

static const char *const all[] = {"a/b/c/file", "a/b/c",     "a/b/file",    "a/b", "a/file", "a",
                                  "z/old",      "z/old-dir", "z/old-dir/x", "z",   ".",      NULL};

static void
fill(int root)
{
    g_assert_no_errno(mkdirat(root, "a", 0755));
    g_assert_no_errno(mkdirat(root, "a/b", 0755));
    g_assert_no_errno(mkdirat(root, "a/b/c", 0755));
    g_assert_no_errno(mkdirat(root, "z", 0755));
    g_assert_no_errno(mkdirat(root, "z/old-dir", 0755));
    pool_write_file(root, "a/file", "base");
    pool_write_file(root, "a/b/file", "base");
    pool_write_file(root, "a/b/c/file", "base");
    pool_write_file(root, "z/old", "base");
    pool_write_file(root, "z/old-dir/x", "base");
    settle(root, all);
}

/* A pool with a filled snapshot 1, an empty layer 2 on it when layers is 2, and an active snapshot
 * 3 on these. */
static Pool *
new_pool(guint layers)
{
    Pool *pool = pool_new(&ext4);
    if (pool == NULL)
        return NULL;
    pool_create(pool, snapshot(ACTIVE, 1));
    int root = pool_attach(pool, snapshot(ACTIVE, 1));
    fill(root);
    pool_detach(pool, root);
    pool_commit(pool, 1);
    if (layers == 2) {
        pool_create(pool, snapshot(ACTIVE, 2, 1));
        pool_commit(pool, 2);
    }
    pool_create(pool, layers == 2 ? snapshot(ACTIVE, 3, 2, 1) : snapshot(ACTIVE, 3, 1));
    return pool;
}

static const VarveDriverSnapshot *
top(guint layers)
{
    static const guint64 parents[] = {2, 1};
    static const VarveDriverSnapshot one = {3, ACTIVE, parents + 1, 1},
                                     two = {3, ACTIVE, parents, 2};
    return layers == 2 ? &two : &one;
}

typedef struct {
    const char *name;
    void (*change)(int root);
    const char *told;
} Case;

static void
do_nothing(int root)
{
}

/* Copied up, all of it, but the same. */
static void
touch_nothing(int root)
{
    varve_autofd fd = openat(root, "a/b/c/file", O_RDWR);
    g_assert_no_errno(fd);
    g_assert_no_errno(fchmodat(root, "z/old-dir", 0755, 0));
    g_assert_no_errno(renameat(root, "z/old-dir", root, "z/elsewhere"));
    g_assert_no_errno(renameat(root, "z/elsewhere", root, "z/old-dir"));
    pool_write_file(root, "z/temporary", "x");
    g_assert_no_errno(unlinkat(root, "z/temporary", 0));
    settle(root, (const char *const[]){"z", NULL});
}

static void
take_away(int root)
{
    g_assert_true(varve_tree_remove(root, "a/b", NULL, NULL));
    g_assert_no_errno(unlinkat(root, "z/old", 0));
    settle(root, (const char *const[]){"a", "z", NULL});
}

static void
make_again(int root)
{
    g_assert_true(varve_tree_remove(root, "a", NULL, NULL));
    g_assert_no_errno(mkdirat(root, "a", 0700));
    g_assert_no_errno(mkdirat(root, "a/b", 0755));
    pool_write_file(root, "a/b/file", "base");
    pool_write_file(root, "a/b/new", "base");
    settle(root, (const char *const[]){"a/b/file", "a/b", "a", ".", NULL});
}

static void
change_types(int root)
{
    g_assert_true(varve_tree_remove(root, "z/old-dir", NULL, NULL));
    pool_write_file(root, "z/old-dir", "x");
    g_assert_no_errno(unlinkat(root, "a/file", 0));
    g_assert_no_errno(mkdirat(root, "a/file", 0755));
    pool_write_file(root, "a/file/x", "x");
    settle(root, (const char *const[]){"a", "z", NULL});
}

static void
move_within(int root)
{
    g_assert_no_errno(renameat(root, "a/b", root, "a/moved"));
    g_assert_no_errno(unlinkat(root, "a/moved/file", 0));
    pool_write_file(root, "a/moved/c/new", "x");
    settle(root, (const char *const[]){"a/moved/c", "a/moved", "a", NULL});
}

static void
move_away(int root)
{
    g_assert_no_errno(renameat(root, "a/b", root, "z/moved"));
    g_assert_no_errno(fchmodat(root, "z/moved", 0700, 0));
    settle(root, (const char *const[]){"a", "z", NULL});
}

/* A directory goes out of one that goes somewhere else, whose place is taken. */
static void
move_out(int root)
{
    g_assert_no_errno(renameat(root, "a", root, "m"));
    g_assert_no_errno(renameat(root, "m/b/c", root, "c"));
    g_assert_no_errno(renameat(root, "m/b", root, "m/B"));
    g_assert_no_errno(unlinkat(root, "m/file", 0));
    g_assert_no_errno(mkdirat(root, "a", 0755));
    pool_write_file(root, "a/file", "another one");
    settle(root, (const char *const[]){"m/B", "m", "a", ".", NULL});
}

static void
move_over(int root)
{
    g_assert_no_errno(unlinkat(root, "z/old-dir/x", 0));
    g_assert_no_errno(renameat(root, "a/b", root, "z/old-dir"));
    settle(root, (const char *const[]){"a", "z", NULL});
}

static void
exchange(int root)
{
    g_assert_no_errno(renameat2(root, "a/b", root, "z/old-dir", RENAME_EXCHANGE));
    settle(root, (const char *const[]){"a", "z", NULL});
}

static const Case cases[] = {
    {"nothing", do_nothing, ""},
    {"copied-up", touch_nothing, ""},
    {"take-away", take_away, "deleted /a/b\ndeleted /z/old\n"},
    {"make-again", make_again,
     "modified /a mode\ndeleted /a/b/c\nadded /a/b/new\ndeleted /a/file\n"},
    {"change-types", change_types, "replaced /a/file\nadded /a/file/x\nreplaced /z/old-dir\n"},
    {"move-within", move_within,
     "deleted /a/b/file\nrenamed /a/moved from /a/b\nadded /a/moved/c/new\n"},
    {"move-away", move_away, "renamed /z/moved from /a/b mode\n"},
    {"move-out", move_out,
     "added /a\ndeleted /a/file\nadded /a/file\nrenamed /c from /a/b/c\n"
     "renamed /m from /a\nrenamed /m/B from /a/b\n"},
    {"move-over", move_over, "renamed /z/old-dir from /a/b\n"},
    {"exchange", exchange, "renamed /a/b from /z/old-dir\nrenamed /z/old-dir from /a/b\n"},
};

static void
run_case(const Case *of, guint layers)
{
    Pool *pool = new_pool(layers);
    if (pool == NULL)
        return;
    int root = pool_attach(pool, top(layers));
    of->change(root);
    pool_detach(pool, root);
    assert_told(pool, top(layers), of->told);
    pool_free(pool);
}

static void
test_one_layer(gconstpointer data)
{
    run_case(data, 1);
}

static void
test_two_layers(gconstpointer data)
{
    run_case(data, 2);
}

/* --- many layers ------------------------------------------------------------------------------ */

/* Of the pool's: others may mount and unmount meanwhile. */
static gsize
count_mounts(const Pool *pool)
{
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL));
    g_auto(GStrv) parts = g_strsplit(text, pool->host.path, -1);
    return g_strv_length(parts);
}

/* Each layer renames a directory, deletes one file and makes another one. */
static void
change_layer(int root, guint n)
{
    char names[4][32];
    g_snprintf(names[0], sizeof names[0], "dir-%u", n - 1);
    g_snprintf(names[1], sizeof names[1], "dir-%u", n);
    g_snprintf(names[2], sizeof names[2], "dir-%u/file-%u", n, n - 1);
    g_snprintf(names[3], sizeof names[3], "dir-%u/file-%u", n, n);
    if (n == 0)
        g_assert_no_errno(mkdirat(root, names[1], 0755));
    else
        g_assert_no_errno(renameat(root, names[0], root, names[1]));
    if (n > 0)
        g_assert_no_errno(unlinkat(root, names[2], 0));
    pool_write_file(root, names[3], "x");
    settle(root, (const char *const[]){names[3], names[1], ".", NULL});
}

/* legacy: as on a kernel that knows mount(2) only. */
static void
test_many_layers(gconstpointer legacy)
{
    Pool *pool = pool_new(&ext4);
    if (pool == NULL)
        return;
    varve_mount_use_legacy(legacy != NULL);
    guint64 parents[130];
    const gsize depth = G_N_ELEMENTS(parents);
    gsize mounts = count_mounts(pool);
    for (guint n = 0; n < depth; n++) {
        VarveDriverSnapshot layer = {n + 1, ACTIVE, parents + depth - n, n};
        pool_create(pool, &layer);
        int root = pool_attach(pool, &layer);
        change_layer(root, n);
        pool_detach(pool, root);
        parents[depth - n - 1] = n + 1;
        if (n == 0 || (n % 16 != 0 && n != depth - 1))
            continue;
        g_autofree char *wanted = g_strdup_printf("deleted /dir-%u/file-%u\n"
                                                  "renamed /dir-%u from /dir-%u\n"
                                                  "added /dir-%u/file-%u\n",
                                                  n - 1, n - 1, n, n - 1, n, n);
        g_autofree char *other = g_strdup_printf("renamed /dir-%u from /dir-%u\n"
                                                 "added /dir-%u/file-%u\n"
                                                 "deleted /dir-%u/file-%u\n",
                                                 n, n - 1, n, n, n - 1, n - 1);
        g_autofree char *first = g_strdup_printf("dir-%u", n - 1);
        g_autofree char *second = g_strdup_printf("dir-%u", n);
        assert_told(pool, &layer, strcmp(first, second) < 0 ? wanted : other);
    }
    g_assert_cmpuint(count_mounts(pool), ==, mounts);
    varve_mount_use_legacy(FALSE);
    pool_free(pool);
}

/* --- notes that Varve's own mounts do not leave ----------------------------------------------- */

static int
open_upper(Pool *pool)
{
    int upper = varve_fd_open_dir(pool->host.dirfd, "fs/3/3", NULL);
    g_assert_no_errno(upper);
    return upper;
}

static void
test_whiteouts(void)
{
    Pool *pool = new_pool(1);
    if (pool == NULL)
        return;
    varve_autofd upper = open_upper(pool);
    g_assert_no_errno(mkdirat(upper, "z", 0755));
    tree_set_xattr(upper, "z", "trusted.overlay.opaque", "x", 1);
    tree_write_file(upper, "z/old", "", 0, 0);
    tree_write_file(upper, "z/never-was", "", 0, 0);
    g_assert_no_errno(mknodat(upper, "never-was", S_IFCHR, makedev(0, 0)));
    for (int i = 0; i < 2; i++) {
        varve_autofd z = varve_fd_open_dir(upper, "z", NULL);
        tree_set_xattr(z, i == 0 ? "old" : "never-was", "trusted.overlay.whiteout", "y", 1);
    }
    settle(upper, (const char *const[]){"z", ".", NULL});
    assert_told(pool, top(1), "deleted /z/old\n");
    varve_fd_clear(&upper);
    pool_free(pool);
}

/* A file's attributes without its content, as a kernel may do by default. */
static void
test_metacopy(void)
{
    Pool *pool = new_pool(1);
    if (pool == NULL)
        return;
    g_autoptr(VarveMount) plain = pool->driver->mounts(pool->self, top(1), NULL);
    g_autofree char *joined = g_strjoinv(",", plain->options);
    g_autofree char *with = g_strconcat(joined, ",metacopy=on", NULL);
    g_auto(GStrv) options = g_strsplit(with, ",", -1);
    g_autoptr(VarveMount) mount = varve_mount_new("overlay", "overlay", (const char **)options);
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_mount_attach(mount, pool->target, &error));
    g_assert_no_error(error);
    int root = varve_fd_open_dir(AT_FDCWD, pool->target, NULL);
    g_assert_no_errno(fchmodat(root, "a/file", 0600, 0));
    pool_detach(pool, root);

    varve_autofd upper = open_upper(pool);
    varve_autofd file = openat(upper, "a/file", O_RDONLY);
    g_assert_cmpint(fgetxattr(file, "trusted.overlay.metacopy", NULL, 0), >=, 0);
    assert_told(pool, top(1), "modified /a/file mode\n");
    varve_fd_clear(&file);
    varve_fd_clear(&upper);
    pool_free(pool);
}

static void
test_redirects(void)
{
    static const char *const bad[] = {"", "/", "..", "/a/../b", "/a//b", "a/b", "./a", "/a/"};
    Pool *pool = new_pool(1);
    if (pool == NULL)
        return;
    varve_autofd upper = open_upper(pool);
    g_assert_no_errno(mkdirat(upper, "new", 0755));
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        tree_set_xattr(upper, "new", "trusted.overlay.redirect", bad[i], strlen(bad[i]));
        g_autoptr(GPtrArray) lines = changes_lines_new();
        g_autoptr(GError) error = NULL;
        g_assert_false(
            pool->driver->changes(pool->self, top(1), 60, changes_collect, lines, &error));
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
        g_assert_nonnull(strstr(error->message, "/new"));
    }
    settle(upper, (const char *const[]){".", NULL});
    tree_set_xattr(upper, "new", "trusted.overlay.redirect", "/nowhere/at/all", 15);
    assert_told(pool, top(1), "added /new\n");
    tree_set_xattr(upper, "new", "trusted.overlay.redirect", "/a/file", 7);
    assert_told(pool, top(1), "added /new\n");
    varve_fd_clear(&upper);
    pool_free(pool);
}

static gboolean
take_one(const VarveChange *change, gpointer calls, GError **error)
{
    ++*(guint *)calls;
    return FALSE;
}

static void
test_ends(void)
{
    Pool *pool = new_pool(2);
    if (pool == NULL)
        return;
    int root = pool_attach(pool, top(2));
    move_out(root);
    pool_detach(pool, root);
    guint calls = 0;
    g_autoptr(GError) none = NULL, error = NULL;
    g_assert_true(pool->driver->changes(pool->self, top(2), 60, take_one, &calls, &none));
    g_assert_no_error(none);
    g_assert_cmpuint(calls, ==, 1);

    const gint cancelled = 1;
    pool->host.cancelled = &cancelled;
    g_assert_false(pool->driver->changes(pool->self, top(2), 60, take_one, &calls, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CANCELLED);
    g_assert_cmpuint(calls, ==, 1);
    pool->host.cancelled = NULL;
    pool_free(pool);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *one = g_strconcat("/overlay-changes/one-layer/", cases[i].name, NULL);
        g_autofree char *two = g_strconcat("/overlay-changes/two-layers/", cases[i].name, NULL);
        g_test_add_data_func(one, &cases[i], test_one_layer);
        g_test_add_data_func(two, &cases[i], test_two_layers);
    }
    g_test_add_data_func("/overlay-changes/many-layers", NULL, test_many_layers);
    g_test_add_data_func("/overlay-changes/many-layers-legacy", "", test_many_layers);
    g_test_add_func("/overlay-changes/whiteouts", test_whiteouts);
    g_test_add_func("/overlay-changes/metacopy", test_metacopy);
    g_test_add_func("/overlay-changes/redirects", test_redirects);
    g_test_add_func("/overlay-changes/ends", test_ends);
    return g_test_run();
}
