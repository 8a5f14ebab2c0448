/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mount.h"
#include "changes-model.h"
#include "driver-pool.h"
#include "driver/zfs/control.h"
#include "driver/zfs/diff.h"
#include "driver/zfs/zfs.h"
#include "tree-everything.h"
#include "tree-mutate.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * What ZFS tells of changes, against a model of them (changes-model.h), between snapshots that the
 * zfs command makes; and what the driver leaves behind. Row D7 of the specification. Each answer is
 * asked for twice: first all directories are read, then the kernel is asked.
 *
 * VARVE_TEST_SEED=N has other random changes made, VARVE_TEST_ROUNDS=N as many.
 */

#define DEFAULT_SEED 20261122
#define SIZE         (512 * 1024 * 1024)

/* --- two snapshots ---------------------------------------------------------------------------- */

/* A dataset of which a snapshot is taken, then a clone of that, of which one is taken, too. */
typedef struct {
    Scratch *scratch;
    char *before, *after; /* the snapshots */
    int control, before_fd, after_fd;
} Two;

static void G_GNUC_PRINTF(1, 2) run(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *command = g_strdup_vprintf(format, args);
    va_end(args);
    g_free(scratch_run(command));
}

static int
mount_open(const Two *two, const char *dataset, const char *const *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveMount) mount = varve_mount_new("zfs", dataset, options);
    int fd = varve_mount_open(mount, two->scratch->path, &error);
    g_assert_no_error(error);
    return fd;
}

/* What is done to the tree at root. */
typedef void (*Make)(int root, gpointer data);

static void
make_in(const Two *two, const char *dataset, Make make, gpointer data)
{
    g_autofree char *name = g_strdup_printf("%s/%s", two->scratch->zpool, dataset);
    varve_autofd root = mount_open(two, name, NULL);
    make(root, data);
}

static void
change(const Two *two, Make make, gpointer data)
{
    make_in(two, "child", make, data);
}

/* The tree of before; then changes are made. FALSE: there is no ZFS. */
static gboolean
two_begin(Two *two, const char *options, Make make, gpointer data)
{
    *two = (Two){.control = -1, .before_fd = -1, .after_fd = -1};
    two->scratch = scratch_new("zfs", SIZE);
    if (two->scratch == NULL)
        return FALSE;
    const char *zpool = two->scratch->zpool;
    two->before = g_strconcat(zpool, "/parent@before", NULL);
    two->after = g_strconcat(zpool, "/child@after", NULL);
    run("zfs create -o mountpoint=legacy -o acltype=posix %s %s/parent", options, zpool);
    make_in(two, "parent", make, data);
    run("zfs snapshot %s && zfs clone %s -o mountpoint=legacy -o acltype=posix %s %s/child",
        two->before, options, two->before, zpool);
    return TRUE;
}

static void
two_finish(Two *two)
{
    static const char *const read_only[] = {"ro", NULL};
    g_autoptr(GError) error = NULL;
    run("zfs snapshot %s", two->after);
    two->before_fd = mount_open(two, two->before, read_only);
    two->after_fd = mount_open(two, two->after, read_only);
    two->control = varve_zfs_control_open(&error);
    g_assert_no_error(error);
}

static void
two_clear(Two *two)
{
    varve_fd_clear(&two->before_fd);
    varve_fd_clear(&two->after_fd);
    varve_fd_clear(&two->control);
    scratch_free(two->scratch);
    g_free(two->before);
    g_free(two->after);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Two, two_clear)

/* --- what is told ----------------------------------------------------------------------------- */

typedef struct {
    GPtrArray *lines;
    GHashTable *renames; /* new path to old one */
} Told;

static gboolean
add_told(const VarveChange *change, gpointer data, GError **error)
{
    Told *told = data;
    g_ptr_array_add(told->lines, changes_line(change));
    if (change->kind == VARVE_CHANGE_RENAMED)
        g_hash_table_insert(told->renames, g_strdup(change->path), g_strdup(change->from));
    return TRUE;
}

static void
told_clear(Told *told)
{
    g_ptr_array_unref(told->lines);
    g_hash_table_unref(told->renames);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Told, told_clear)

static VarveZfsPair
pair_of(const Two *two)
{
    return (VarveZfsPair){.before = two->before,
                          .after = two->after,
                          .before_fd = two->before_fd,
                          .after_fd = two->after_fd,
                          .taken = g_get_real_time() / G_USEC_PER_SEC,
                          .always_ask = TRUE};
}

static Told
ask(const Two *two, VarveZfsPair *pair)
{
    Told told = {changes_lines_new(),
                 g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free)};
    VarveChangeSink sink = {.func = add_told, .data = &told};
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_zfs_diff(two->control, pair, &sink, &error));
    g_assert_no_error(error);
    return told;
}

static void
assert_same(const GPtrArray *got, const GPtrArray *wanted)
{
    g_autofree char *x = changes_join(got), *y = changes_join(wanted);
    if (!g_str_equal(x, y))
        g_test_message("told:\n%s\nbut it is:\n%s", x, y);
    g_assert_cmpstr(x, ==, y);
}

static gboolean
measure_path(const VarveChange *change, gpointer longest, GError **error)
{
    *(gsize *)longest = MAX(*(gsize *)longest, strlen(change->path));
    return TRUE;
}

static gsize
longest_path(int root)
{
    gsize longest = 0;
    VarveChangeSink sink = {.func = measure_path, .data = &longest};
    g_assert_true(varve_changes_walk(-1, root, NULL, &sink, NULL));
    return longest;
}

/* way: in which the second answer must be found. Returns how many moved. */
static guint
assert_model(const Two *two, VarveZfsDiffWay way)
{
    VarveZfsPair pair = pair_of(two);
    g_auto(Told) first = ask(two, &pair);
    g_autoptr(GPtrArray) wanted = changes_expected(two->before_fd, two->after_fd, first.renames);
    assert_same(first.lines, wanted);
    g_assert_cmpint(pair.way, ==, VARVE_ZFS_DIFF_READ);
    g_assert_cmpuint(pair.before_longest, ==, longest_path(two->before_fd));
    g_assert_cmpuint(pair.after_longest, >=, longest_path(two->after_fd));

    g_auto(Told) second = ask(two, &pair);
    g_autoptr(GPtrArray) again = changes_expected(two->before_fd, two->after_fd, second.renames);
    assert_same(second.lines, again);
    g_assert_cmpuint(g_hash_table_size(second.renames), ==, g_hash_table_size(first.renames));
    g_assert_cmpint(pair.way, ==, way);
    return g_hash_table_size(first.renames);
}

/* The same where the answer is known: lines, but for those of directories whose time changed. */
static void
assert_told(const Two *two, VarveZfsDiffWay way, const char *wanted)
{
    assert_model(two, way);
    VarveZfsPair pair = pair_of(two);
    g_auto(Told) told = ask(two, &pair);
    for (guint i = told.lines->len; i > 0; i--) {
        g_autofree char *line = g_strdup(told.lines->pdata[i - 1]);
        g_auto(GStrv) words = g_strsplit(line, " ", -1);
        struct stat st;
        if (g_str_equal(words[0], "modified") &&
            g_str_equal(words[g_strv_length(words) - 1], "time") &&
            fstatat(two->after_fd, words[1][1] != '\0' ? words[1] + 1 : ".", &st, 0) == 0 &&
            S_ISDIR(st.st_mode))
            g_ptr_array_remove_index(told.lines, i - 1);
    }
    g_autofree char *text = changes_join(told.lines);
    g_assert_cmpstr(text, ==, wanted);
}

/* --- random changes --------------------------------------------------------------------------- */

static guint32
number_from(const char *variable, guint32 fallback)
{
    const char *text = g_getenv(variable);
    return text != NULL ? (guint32)strtoul(text, NULL, 10) : fallback;
}

typedef struct {
    GRand *numbers;
    guint changes;
} Mutation;

static void
mutate(int root, gpointer data)
{
    const Mutation *mutation = data;
    tree_mutate(root, mutation->numbers, mutation->changes);
}

static void
test_random(void)
{
    guint32 seed = number_from("VARVE_TEST_SEED", DEFAULT_SEED), moved = 0;
    g_autoptr(GRand) numbers = g_rand_new_with_seed(seed);
    Mutation first = {numbers, 120}, second = {numbers, 40};
    g_test_message("VARVE_TEST_SEED=%u", seed);
    for (guint32 i = number_from("VARVE_TEST_ROUNDS", 3); i > 0; i--) {
        g_auto(Two) two;
        if (!two_begin(&two, i % 2 == 0 ? "-o xattr=sa" : "-o xattr=on", mutate, &first))
            return;
        change(&two, mutate, &second);
        two_finish(&two);
        VarveZfsPair pair = pair_of(&two);
        g_auto(Told) told = ask(&two, &pair);
        g_assert_cmpint(pair.way, ==, VARVE_ZFS_DIFF_READ);
        g_autoptr(GPtrArray) wanted = changes_expected(two.before_fd, two.after_fd, told.renames);
        assert_same(told.lines, wanted);
        moved += g_hash_table_size(told.renames);
        g_auto(Told) again = ask(&two, &pair);
        assert_same(again.lines, wanted);
    }
    g_assert_cmpuint(moved, >, 0);
}

/* --- trees ------------------------------------------------------------------------------------ */

static void
write_file(int root, const char *name, const char *text)
{
    varve_autofd fd = openat(root, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    g_assert_no_errno(fd);
    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
}

static void
make_dir(int root, const char *name)
{
    g_assert_no_errno(mkdirat(root, name, 0755));
}

static void
move(int root, const char *from, const char *to)
{
    g_assert_no_errno(renameat(root, from, root, to));
}

static void
link_file(int root, const char *from, const char *to)
{
    g_assert_no_errno(linkat(root, from, root, to, 0));
}

static void
take(int root, const char *name)
{
    g_assert_no_errno(unlinkat(root, name, 0));
}

/* Directories a and b, with a directory and two files each. */
static void
make_small(int root, gpointer data)
{
    for (const char *const *dir = (const char *const[]){"a", "b", NULL}; *dir != NULL; dir++) {
        g_autofree char *inner = g_strconcat(*dir, "/d", NULL);
        g_autofree char *one = g_strconcat(*dir, "/one", NULL);
        g_autofree char *two = g_strconcat(*dir, "/d/two", NULL);
        make_dir(root, *dir);
        make_dir(root, inner);
        write_file(root, one, one);
        write_file(root, two, two);
    }
}

/* --- moves ------------------------------------------------------------------------------------ */

/* A new directory in one that moved into a new one in one that moved. */
static void
move_deep(int root, gpointer data)
{
    move(root, "a", "z");
    make_dir(root, "z/new");
    move(root, "b", "z/new/b");
    make_dir(root, "z/new/b/d/inner");
    write_file(root, "z/new/b/d/inner/file", "new");
    move(root, "z/one", "z/new/b/d/inner/one");
    write_file(root, "z/new/b/one", "other");
    take(root, "z/d/two");
}

static void
test_moves(void)
{
    g_auto(Two) two;
    if (!two_begin(&two, "", make_small, NULL))
        return;
    change(&two, move_deep, NULL);
    two_finish(&two);
    assert_told(&two, VARVE_ZFS_DIFF_ASKED,
                "deleted /a/d/two\n"
                "renamed /z from /a time\n"
                "added /z/new\n"
                "renamed /z/new/b from /b\n"
                "added /z/new/b/d/inner\n"
                "added /z/new/b/d/inner/file\n"
                "renamed /z/new/b/d/inner/one from /a/one\n"
                "modified /z/new/b/one content,time\n");
}

/* Each takes the other's place, and their directories do. */
static void
exchange(int root, gpointer data)
{
    move(root, "a/one", "x");
    move(root, "b/one", "a/one");
    move(root, "x", "b/one");
    move(root, "b/d", "x");
    move(root, "a", "b/d");
    move(root, "x", "a");
}

static void
test_exchange(void)
{
    g_auto(Two) two;
    if (!two_begin(&two, "", make_small, NULL))
        return;
    change(&two, exchange, NULL);
    two_finish(&two);
    assert_told(&two, VARVE_ZFS_DIFF_ASKED,
                "renamed /a from /b/d\n"
                "renamed /b/d from /a time\n"
                "renamed /b/d/one from /b/one\n"
                "renamed /b/one from /a/one\n");
}

/* What is made in place of something is compared with it, and what was saved from it has moved. */
static void
make_again(int root, gpointer data)
{
    move(root, "a/d/two", "two");
    g_assert_no_errno(unlinkat(root, "a/d", AT_REMOVEDIR));
    write_file(root, "a/d", "a file now");
    take(root, "b/one");
    write_file(root, "b/one", "b/one");
    move(root, "b/d", "elsewhere");
    make_dir(root, "b/d");
    write_file(root, "b/d/two", "another");
}

static void
test_replaced(void)
{
    g_auto(Two) two;
    if (!two_begin(&two, "", make_small, NULL))
        return;
    change(&two, make_again, NULL);
    two_finish(&two);
    assert_told(&two, VARVE_ZFS_DIFF_ASKED,
                "replaced /a/d\n"
                "added /b/d\n"
                "added /b/d/two\n"
                "modified /b/one time\n"
                "renamed /elsewhere from /b/d\n"
                "renamed /two from /a/d/two\n");
}

/* --- numbers that are used again -------------------------------------------------------------- */

#define REUSED 40

static void
make_many(int root, gpointer data)
{
    for (int i = 0; i < REUSED; i++) {
        char name[16];
        g_snprintf(name, sizeof name, "f%02d", i);
        write_file(root, name, "old");
    }
}

static void
take_many(int root, gpointer data)
{
    for (int i = 0; i < REUSED; i++) {
        char name[16];
        g_snprintf(name, sizeof name, "f%02d", i);
        take(root, name);
    }
}

static void
make_others(int root, gpointer data)
{
    for (int i = 0; i < REUSED; i++) {
        char name[16];
        g_snprintf(name, sizeof name, "%c%02d", i % 2 == 0 ? 'g' : 'f', i);
        write_file(root, name, "new");
    }
}

static void
test_numbers_used_again(void)
{
    g_auto(Two) two;
    if (!two_begin(&two, "", make_many, NULL))
        return;
    change(&two, take_many, NULL);
    run("zpool sync %s", two.scratch->zpool);
    change(&two, make_others, NULL);
    two_finish(&two);
    guint reused = 0;
    for (int i = 0; i < REUSED; i++) {
        char was[16], is[16];
        struct stat old, new;
        g_snprintf(was, sizeof was, "f%02d", i);
        for (int j = 0; j < REUSED; j++) {
            g_snprintf(is, sizeof is, "%c%02d", j % 2 == 0 ? 'g' : 'f', j);
            g_assert_no_errno(fstatat(two.before_fd, was, &old, 0));
            g_assert_no_errno(fstatat(two.after_fd, is, &new, 0));
            reused += old.st_ino == new.st_ino;
        }
    }
    g_assert_cmpuint(reused, >, 0);
    g_assert_cmpuint(assert_model(&two, VARVE_ZFS_DIFF_ASKED), ==, 0); /* nothing moved */
}

/* --- hard links ------------------------------------------------------------------------------- */

static void
make_links(int root, gpointer data)
{
    make_small(root, data);
    make_dir(root, "c");
    link_file(root, "a/one", "c/alone");
    link_file(root, "a/one", "b/linked");
    link_file(root, "b/one", "a/other");
}

static void
change_linked(int root, gpointer data)
{
    g_assert_no_errno(fchmodat(root, "a/one", 0600, 0));
    move(root, "a/other", "other");
}

/* The kernel names one of the names; others are in directories that did not change. */
static void
test_hard_links(void)
{
    g_auto(Two) two;
    if (!two_begin(&two, "", make_links, NULL))
        return;
    change(&two, change_linked, NULL);
    two_finish(&two);
    assert_told(&two, VARVE_ZFS_DIFF_READ,
                "modified /a/one mode\n"
                "modified /b/linked mode\n"
                "modified /c/alone mode\n"
                "renamed /other from /a/other\n");
}

static void
link_more(int root, gpointer data)
{
    link_file(root, "a/one", "b/more");
    take(root, "b/linked");
    take(root, "a/other");
}

/* Their number changes, which is no change; so no search for other names. */
static void
test_fewer_links(void)
{
    g_auto(Two) two;
    if (!two_begin(&two, "", make_links, NULL))
        return;
    change(&two, link_more, NULL);
    two_finish(&two);
    assert_told(&two, VARVE_ZFS_DIFF_ASKED,
                "deleted /a/other\n"
                "renamed /b/more from /b/linked\n");
}

/* The name that the kernel remembers is not there any more. */
static void
make_forgotten(int root, gpointer data)
{
    make_small(root, data);
    make_dir(root, "c");
    write_file(root, "c/one", "c/one");
    link_file(root, "c/one", "b/linked");
    take(root, "b/linked");
}

static void
change_forgotten(int root, gpointer data)
{
    write_file(root, "c/one", "more");
}

static void
test_forgotten_name(void)
{
    g_auto(Two) two;
    if (!two_begin(&two, "", make_forgotten, NULL))
        return;
    change(&two, change_forgotten, NULL);
    two_finish(&two);
    assert_told(&two, VARVE_ZFS_DIFF_READ, "modified /c/one content,time\n");
}

/* --- attributes ------------------------------------------------------------------------------- */

static void
make_attributes(int root, gpointer data)
{
    static const char value[100] = "value";
    make_small(root, data);
    make_dir(root, "<xattrdir>");
    write_file(root, "<xattrdir>/one", "one");
    for (const char *const *name = (const char *const[]){"a/one", "b", "b/one", NULL};
         *name != NULL; name++) {
        tree_set_xattr(root, *name, "user.first", value, sizeof value);
        tree_set_xattr(root, *name, "user.second", value, sizeof value);
    }
}

static void
change_attributes(int root, gpointer data)
{
    g_autofree char *large = g_malloc0(60000);
    tree_set_xattr(root, "a/one", "user.first", "other", 5);
    tree_set_xattr(root, "b", "user.third", "new", 3);
    tree_set_xattr(root, "b/one", "user.second", large, 60000);
    tree_set_xattr(root, "<xattrdir>/one", "user.first", "new", 3);
}

static void
test_attributes(void)
{
    for (int i = 0; i < 2; i++) {
        g_auto(Two) two;
        if (!two_begin(&two, i == 0 ? "-o xattr=sa" : "-o xattr=on", make_attributes, NULL))
            return;
        change(&two, change_attributes, NULL);
        two_finish(&two);
        assert_told(&two, VARVE_ZFS_DIFF_ASKED,
                    "modified /<xattrdir>/one xattrs\n"
                    "modified /a/one xattrs\n"
                    "modified /b xattrs\n"
                    "modified /b/one xattrs\n");
    }
}

/* Touched, but the same; and the other way round: other bytes, and the time set back. */
static void
touch(int root, gpointer data)
{
    struct stat st;
    g_assert_no_errno(fstatat(root, "a/one", &st, 0));
    const struct timespec times[] = {st.st_atim, st.st_mtim};
    write_file(root, "a/one", "A/ONE");
    g_assert_no_errno(utimensat(root, "a/one", times, 0));
    g_assert_no_errno(fchmodat(root, "b/one", 0600, 0));
    g_assert_no_errno(fchmodat(root, "b/one", 0644, 0));
    move(root, "b/d/two", "b/d/three");
    move(root, "b/d/three", "b/d/two");
    int fd = openat(root, "forgotten", O_RDWR | O_CREAT, 0600);
    take(root, "forgotten");
    close(fd);
}

static void
test_touched(void)
{
    g_auto(Two) two;
    if (!two_begin(&two, "", make_small, NULL))
        return;
    change(&two, touch, NULL);
    two_finish(&two);
    assert_told(&two, VARVE_ZFS_DIFF_ASKED, "modified /a/one content\n");
}

/* --- long paths ------------------------------------------------------------------------------- */

/* Directories in each other, with names of 250 bytes and a file in each. */
static void
make_chain(int root, gpointer depth)
{
    g_autofree char *name = g_strnfill(250, 'd');
    varve_autofd dir = dup(root);
    for (guint i = GPOINTER_TO_UINT(depth); i > 0; i--) {
        write_file(dir, "file", "old");
        make_dir(dir, name);
        int inner = openat(dir, name, O_RDONLY | O_DIRECTORY);
        g_assert_no_errno(inner);
        varve_fd_clear(&dir);
        dir = inner;
    }
    write_file(dir, "file", "old");
}

static void
change_chain(int root, gpointer depth)
{
    g_autofree char *name = g_strnfill(250, 'd');
    varve_autofd dir = dup(root);
    for (guint i = GPOINTER_TO_UINT(depth); i > 0; i--) {
        int inner = openat(dir, name, O_RDONLY | O_DIRECTORY);
        g_assert_no_errno(inner);
        varve_fd_clear(&dir);
        dir = inner;
    }
    write_file(dir, "file", "new");
    write_file(dir, "another", "new");
}

static gboolean
measure_change(const VarveChange *change, gpointer total, GError **error)
{
    *(gsize *)total += strlen(change->path);
    return TRUE;
}

/* Where the kernel could be asked it is (30: longer than PATH_MAX), and where it could not it is
 * not: it would write where it must not. */
static void
test_long_paths(void)
{
    static const struct {
        guint depth;
        VarveZfsDiffWay way;
    } cases[] = {{30, VARVE_ZFS_DIFF_ASKED}, {60, VARVE_ZFS_DIFF_READ}};
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Two) two;
        gsize depth = cases[i].depth, dir = depth * 251, total = 0;
        if (!two_begin(&two, "", make_chain, GUINT_TO_POINTER(cases[i].depth)))
            return;
        change(&two, change_chain, GUINT_TO_POINTER(cases[i].depth));
        two_finish(&two);
        VarveZfsPair pair = pair_of(&two);
        for (int j = 0; j < 2; j++) {
            VarveChangeSink sink = {.func = measure_change, .data = &total};
            g_autoptr(GError) error = NULL;
            g_assert_true(varve_zfs_diff(two.control, &pair, &sink, &error));
            g_assert_no_error(error);
        }
        g_assert_cmpuint(total, ==, 2 * (3 * dir + strlen("/file/another")));
        g_assert_cmpuint(pair.before_longest, ==, dir + strlen("/file"));
        g_assert_cmpuint(pair.after_longest, ==, dir + strlen("/another"));
        g_assert_cmpint(pair.way, ==, cases[i].way);
    }
}

static void
move_chain(int root, gpointer data)
{
    g_autofree char *name = g_strnfill(250, 'd');
    make_dir(root, "m");
    move(root, name, "m/moved");
}

/* A directory that moved takes long paths along. */
static void
test_long_paths_move(void)
{
    g_auto(Two) two;
    if (!two_begin(&two, "", make_chain, GUINT_TO_POINTER(3)))
        return;
    change(&two, move_chain, NULL);
    two_finish(&two);
    assert_model(&two, VARVE_ZFS_DIFF_ASKED);
    VarveZfsPair pair = pair_of(&two);
    g_auto(Told) told = ask(&two, &pair);
    g_assert_cmpuint(pair.before_longest, ==, 3 * 251 + strlen("/file"));
    g_assert_cmpuint(pair.after_longest, ==, 3 * 251 + strlen("/file")); /* no path got longer */
    g_assert_cmpuint(told.lines->len, ==, 3);
}

/* --- snapshots that do not belong together ---------------------------------------------------- */

static void
test_unrelated(void)
{
    g_auto(Two) two;
    if (!two_begin(&two, "", make_small, NULL))
        return;
    two_finish(&two);
    g_autofree char *other = g_strconcat(two.scratch->zpool, "/other@after", NULL);
    run("zfs create -o mountpoint=legacy %s/other && zfs snapshot %s", two.scratch->zpool, other);
    VarveZfsPair pair = pair_of(&two);
    pair.after = other;
    pair.after_fd = mount_open(&two, other, (const char *const[]){"ro", NULL});
    g_auto(Told) told = ask(&two, &pair);
    g_autofree char *text = changes_join(told.lines);
    g_assert_cmpint(pair.way, ==, VARVE_ZFS_DIFF_COMPARED);
    g_assert_cmpstr(text, ==, "modified / time\ndeleted /a\ndeleted /b\n");
    varve_fd_clear(&pair.after_fd);
}

/* --- what the driver leaves behind ------------------------------------------------------------ */

static const PoolCase zfs_case = {&varve_driver_zfs, "zfs"};

/* A committed snapshot, and an active one with another file. */
static Pool *
pool_with_change(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return NULL;
    pool_create(pool, snapshot(ACTIVE, 1));
    int root = pool_attach(pool, snapshot(ACTIVE, 1));
    make_small(root, NULL);
    pool_detach(pool, root);
    pool_commit(pool, 1);
    pool_create(pool, snapshot(ACTIVE, 2, 1));
    root = pool_attach(pool, snapshot(ACTIVE, 2, 1));
    write_file(root, "new", "new");
    pool_detach(pool, root);
    return pool;
}

/* Nothing is left that would be in the way of removing it. */
static void
assert_nothing_left(Pool *pool)
{
    g_autofree char *command =
        g_strdup_printf("zfs list -H -r -t snapshot -o name %s/pool/runtime", pool->scratch->zpool);
    g_autofree char *snapshots = scratch_run(command);
    g_assert_cmpstr(snapshots, ==, "");
}

static gboolean
end_here(const VarveChange *change, gpointer data, GError **error)
{
    ++*(guint *)data;
    return FALSE;
}

static gboolean
fail_here(const VarveChange *change, gpointer data, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_BUSY, "no more");
}

static gboolean
cancel_here(const VarveChange *change, gpointer cancelled, GError **error)
{
    g_atomic_int_set((gint *)cancelled, 1);
    return TRUE;
}

static gboolean
die_here(const VarveChange *change, gpointer data, GError **error)
{
    kill(getpid(), SIGKILL);
    return TRUE;
}

static void
test_early_end(void)
{
    Pool *pool = pool_with_change();
    g_autoptr(GError) error = NULL, busy = NULL;
    guint told = 0;
    if (pool == NULL)
        return;
    g_assert_true(
        pool->driver->changes(pool->self, snapshot(ACTIVE, 2, 1), 60, end_here, &told, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(told, ==, 1);
    assert_nothing_left(pool);
    g_assert_false(
        pool->driver->changes(pool->self, snapshot(ACTIVE, 2, 1), 60, fail_here, NULL, &busy));
    g_assert_error(busy, VARVE_ERROR, VARVE_ERROR_BUSY);
    assert_nothing_left(pool);
    pool_free(pool);
}

static void
test_cancelled(void)
{
    Pool *pool = pool_with_change();
    g_autoptr(GError) error = NULL;
    gint cancelled = 1;
    if (pool == NULL)
        return;
    pool->host.cancelled = &cancelled;
    g_assert_false(pool->driver->changes(pool->self, snapshot(ACTIVE, 2, 1), 60, cancel_here,
                                         &cancelled, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CANCELLED);
    pool->host.cancelled = NULL;
    assert_nothing_left(pool);
    pool_free(pool);
}

/* The kernel takes the snapshot away that the process had mounted. */
static void
test_killed(void)
{
    Pool *pool = pool_with_change();
    if (pool == NULL)
        return;
    for (int i = 0; i < 5; i++) {
        int status;
        pid_t child = fork();
        g_assert_no_errno(child);
        if (child == 0) {
            pool->driver->changes(pool->self, snapshot(ACTIVE, 2, 1), 60, die_here, NULL, NULL);
            _exit(1);
        }
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_nothing_left(pool);
    }
    pool_free(pool);
}

/* What was written through a mapping counts. */
static void
test_active(void)
{
    Pool *pool = pool_with_change();
    if (pool == NULL)
        return;
    int root = pool_attach(pool, snapshot(ACTIVE, 2, 1));
    varve_autofd file = openat(root, "a/one", O_RDWR);
    g_assert_no_errno(file);
    char *map = mmap(NULL, 5, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    g_assert_true(map != MAP_FAILED);
    map[0] = 'X';
    g_auto(Told) told = {changes_lines_new(),
                         g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free)};
    g_autoptr(GError) error = NULL;
    g_assert_true(
        pool->driver->changes(pool->self, snapshot(ACTIVE, 2, 1), 60, add_told, &told, &error));
    g_assert_no_error(error);
    g_autofree char *text = changes_join(told.lines);
    g_assert_cmpstr(text, ==, "modified / time\nmodified /a/one content,time\nadded /new\n");
    munmap(map, 5);
    varve_fd_clear(&file);
    pool_detach(pool, root);
    assert_nothing_left(pool);
    pool_free(pool);
}

static gboolean
remove_meanwhile(const VarveChange *change, gpointer data, GError **error)
{
    Pool *pool = data;
    return pool->driver->remove(pool->self, 2, error);
}

static void
test_removed_meanwhile(void)
{
    Pool *pool = pool_with_change();
    g_autoptr(GError) busy = NULL, error = NULL;
    if (pool == NULL)
        return;
    g_assert_false(pool->driver->changes(pool->self, snapshot(ACTIVE, 2, 1), 60, remove_meanwhile,
                                         pool, &busy));
    g_assert_error(busy, VARVE_ERROR, VARVE_ERROR_BUSY);
    g_assert_nonnull(strstr(busy->message, "is being told its changes"));
    g_assert_true(pool->driver->remove(pool->self, 2, &error));
    g_assert_no_error(error);
    pool_free(pool);
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        GTestFunc func;
    } tests[] = {
        {"random", test_random},
        {"moves", test_moves},
        {"exchange", test_exchange},
        {"replaced", test_replaced},
        {"numbers-used-again", test_numbers_used_again},
        {"hard-links", test_hard_links},
        {"fewer-links", test_fewer_links},
        {"forgotten-name", test_forgotten_name},
        {"attributes", test_attributes},
        {"touched", test_touched},
        {"long-paths", test_long_paths},
        {"long-paths-move", test_long_paths_move},
        {"unrelated", test_unrelated},
        {"early-end", test_early_end},
        {"cancelled", test_cancelled},
        {"killed", test_killed},
        {"active", test_active},
        {"removed-meanwhile", test_removed_meanwhile},
    };
    scratch_init();
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat("/zfs-changes/", tests[i].name, NULL);
        g_test_add_func(path, tests[i].func);
    }
    return g_test_run();
}
