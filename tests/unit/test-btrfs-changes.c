/* SPDX-License-Identifier: Apache-2.0 */
#include "changes-model.h"
#include "driver-pool.h"
#include "driver/btrfs/send.h"
#include "driver/btrfs/subvolume.h"
#include "tree-compare.h"
#include "tree-everything.h"
#include "tree-mutate.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <varve/log.h>

/*
 * Changes and captures on btrfs: what a send stream makes hard. Each case is a tree, what is done
 * to it, and the lines that must come of it; every answer is checked against the model too
 * (changes-model.h). Rows D2 and D7 of the specification.
 *
 * VARVE_TEST_ROUNDS=N does N random rounds instead of some, VARVE_TEST_SEED=N other ones.
 */

#define DEFAULT_ROUNDS 40
#define DEFAULT_SEED   20261122
#define SCRATCH        60

static const PoolCase btrfs = {&varve_driver_btrfs, "btrfs"};

/* --- asking ----------------------------------------------------------------------------------- */

static guint walks; /* how often the driver had to compare file by file */

static void
count_walks(VarveLogLevel level, const char *message, const VarveLogField *fields, gsize n,
            gpointer data)
{
    if (strstr(message, "file by file") == NULL)
        return;
    walks++;
    g_test_message("%s: %s", message, fields[0].value);
}

typedef struct {
    GPtrArray *lines;
    GHashTable *renames;
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

static Told
ask(Pool *pool, const VarveDriverSnapshot *of)
{
    Told told = {changes_lines_new(),
                 g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free)};
    g_autoptr(GError) error = NULL;
    g_assert_true(pool->driver->changes(pool->self, of, SCRATCH, add_told, &told, &error));
    g_assert_no_error(error);
    return told;
}

/* A subvolume's root directory, where the driver keeps it. */
static int
open_snapshot(Pool *pool, guint64 id)
{
    g_autofree char *path = g_strdup_printf("pool/subvolumes/%u/%u", (guint)id % 64, (guint)id);
    int fd = openat(pool->scratch->fd, path, O_RDONLY | O_DIRECTORY | O_NOATIME);
    g_assert_no_errno(fd);
    return fd;
}

/* What is told of a snapshot is what the model makes of the two trees. */
static void
assert_model(Pool *pool, const Told *told, guint64 before, guint64 after)
{
    varve_autofd x = open_snapshot(pool, before), y = open_snapshot(pool, after);
    g_autoptr(GPtrArray) wanted = changes_expected(x, y, told->renames);
    g_autofree char *got_text = changes_join(told->lines), *wanted_text = changes_join(wanted);
    if (!g_str_equal(got_text, wanted_text))
        g_test_message("told:\n%s\nbut it is:\n%s", got_text, wanted_text);
    g_assert_cmpstr(got_text, ==, wanted_text);
}

/* --- cases ------------------------------------------------------------------------------------ */

typedef void (*Work)(int root);

typedef struct {
    const char *name;
    Work make, change;
    const char *lines; /* without those of directories whose time alone changed */
    gboolean nested;   /* subvolumes are made inside: not for the model */
} Case;

static void
make(int root, const char *path)
{
    pool_write_file(root, path, path);
}

static void
make_dir(int root, const char *path)
{
    g_assert_no_errno(mkdirat(root, path, 0755));
}

static void
move(int root, const char *from, const char *to)
{
    g_assert_no_errno(renameat(root, from, root, to));
}

static void
swap(int root, const char *a, const char *b)
{
    g_assert_no_errno(renameat2(root, a, root, b, RENAME_EXCHANGE));
}

static void
give_name(int root, const char *of, const char *path)
{
    g_assert_no_errno(linkat(root, of, root, path, 0));
}

static void
take(int root, const char *path)
{
    g_assert_no_errno(unlinkat(root, path, 0));
}

static void
take_dir(int root, const char *path)
{
    g_assert_no_errno(unlinkat(root, path, AT_REMOVEDIR));
}

static void
make_some(int root)
{
    make(root, "a");
    make(root, "b");
    make(root, "c");
    make_dir(root, "d");
    make(root, "d/x");
    make(root, "d/y");
    make_dir(root, "d/e");
    make(root, "d/e/z");
    make_dir(root, "f");
    make(root, "f/x");
}

static void
do_nothing(int root)
{
}

static void
do_swap_files(int root)
{
    swap(root, "a", "b");
}

static void
do_swap_directories(int root)
{
    swap(root, "d", "f");
    make(root, "d/new");
}

static void
do_swap_file_and_directory(int root)
{
    swap(root, "a", "d");
}

static void
do_rename_over(int root)
{
    move(root, "a", "b");
}

static void
do_edit(int root)
{
    make(root, "a.tmp");
    move(root, "a.tmp", "a");
}

static void
do_rotate(int root)
{
    move(root, "a", "a.1");
    pool_write_file(root, "a", "new");
}

static void
do_rename_directory(int root)
{
    move(root, "d", "g");
    move(root, "g/x", "g/renamed");
    take(root, "g/y");
    make(root, "g/new");
    g_assert_no_errno(fchmodat(root, "g/e/z", 0600, 0));
}

static void
do_turn_around(int root)
{
    move(root, "d/e", "e");
    move(root, "d", "e/d");
}

static void
do_move_into_new(int root)
{
    make_dir(root, "new");
    make_dir(root, "new/deep");
    move(root, "d", "new/deep/d");
    make(root, "new/deep/d/e/more");
}

static void
do_make_again(int root)
{
    take(root, "d/x");
    take(root, "d/y");
    move(root, "d/e/z", "saved");
    take_dir(root, "d/e");
    take_dir(root, "d");
    make_dir(root, "d");
    make(root, "d/x");
    pool_write_file(root, "d/y", "other");
    make(root, "d/n");
}

static void
do_move_and_make_again(int root)
{
    move(root, "d", "d.old");
    make_dir(root, "d");
    make(root, "d/x");
}

static void
do_change_types(int root)
{
    take(root, "a");
    make_dir(root, "a");
    make(root, "a/in");
    take(root, "f/x");
    take_dir(root, "f");
    make(root, "f");
    take(root, "b");
    g_assert_no_errno(symlinkat("c", root, "b"));
}

static void
make_devices(int root)
{
    g_assert_no_errno(mknodat(root, "same", S_IFCHR | 0600, makedev(1, 3)));
    g_assert_no_errno(mknodat(root, "other", S_IFCHR | 0600, makedev(1, 3)));
    g_assert_no_errno(mknodat(root, "fifo", S_IFIFO | 0600, 0));
    g_assert_no_errno(symlinkat("here", root, "link"));
}

static void
do_change_devices(int root)
{
    take(root, "other");
    g_assert_no_errno(mknodat(root, "other", S_IFCHR | 0600, makedev(1, 5)));
    take(root, "link");
    g_assert_no_errno(symlinkat("there", root, "link"));
    move(root, "fifo", "pipe");
}

static void
make_linked(int root)
{
    make_dir(root, "d");
    make_dir(root, "e");
    make(root, "one");
    give_name(root, "one", "d/two");
    give_name(root, "one", "e/three");
}

static void
do_change_linked(int root)
{
    pool_write_file(root, "d/two", "other content");
}

static void
do_change_linked_in_moved(int root)
{
    move(root, "d", "moved");
    pool_write_file(root, "one", "other content");
}

static void
do_link_more(int root)
{
    give_name(root, "one", "e/four");
}

static void
do_link_and_change(int root)
{
    make_dir(root, "n");
    give_name(root, "one", "n/four");
    pool_write_file(root, "n/four", "other content");
}

static void
do_unlink(int root)
{
    take(root, "one");
}

static void
do_relink(int root)
{
    give_name(root, "one", "five");
    take(root, "e/three");
}

static void
do_touch(int root)
{
    struct stat st;
    g_assert_no_errno(fstatat(root, "a", &st, 0));
    g_assert_no_errno(utimensat(root, "a", NULL, 0));
    make(root, "b");
    const struct timespec same[] = {st.st_atim, st.st_mtim};
    g_assert_no_errno(utimensat(root, "a", same, 0));
    g_assert_no_errno(utimensat(root, "c", NULL, 0));
}

static void
do_overwrite_secretly(int root)
{
    struct stat st;
    g_assert_no_errno(fstatat(root, "a", &st, 0));
    pool_write_file(root, "a", "A");
    const struct timespec same[] = {st.st_atim, st.st_mtim};
    g_assert_no_errno(utimensat(root, "a", same, 0));
}

static void
do_attributes(int root)
{
    static const guint8 capability[20] = {1, 0, 0, 2, 0, 4}; /* CAP_NET_BIND_SERVICE, effective */
    g_assert_no_errno(fchmodat(root, "a", 04755, 0));
    g_assert_no_errno(fchownat(root, "b", 1, 2, 0));
    tree_set_xattr(root, "c", "security.capability", capability, sizeof capability);
    tree_set_xattr(root, "d", "system.posix_acl_default", tree_acl, sizeof tree_acl);
    tree_set_xattr(root, "f/x", "user.big", "value", 5);
    g_assert_no_errno(fchmod(root, 0700));
}

static void
do_sparse(int root)
{
    varve_autofd fd = openat(root, "a", O_WRONLY);
    g_assert_no_errno(ftruncate(fd, 1 << 20));
    varve_autofd other = openat(root, "b", O_WRONLY);
    g_assert_no_errno(fallocate(other, FALLOC_FL_KEEP_SIZE, 0, 1 << 20));
}

/* --- subvolumes inside: directories that count as empty ones */

static void
make_subvolume(int root, const char *dir, const char *name)
{
    g_autoptr(GError) error = NULL;
    varve_autofd fd = openat(root, dir, O_RDONLY | O_DIRECTORY);
    varve_subvolume_create(fd, name, &error);
    g_assert_no_error(error);
    varve_autofd made = openat(fd, name, O_RDONLY | O_DIRECTORY);
    make(made, "inside");
}

static void
make_nested(int root)
{
    make_some(root);
    make_subvolume(root, ".", "s");
    make_subvolume(root, "d", "s");
    make_subvolume(root, "d/e", "t");
}

/* Names of one length come and go: sizes of directories stay as they are. In the new snapshot all
 * that is left of the old subvolumes is an empty directory. */
static void
do_nested(int root)
{
    make_subvolume(root, ".", "n");
    take_dir(root, "s");
    take_dir(root, "d/s");
    make(root, "d/s");
    make_dir(root, "new");
    make_subvolume(root, "new", "n");
    move(root, "d/e", "f/e");
}

static void
do_nested_again(int root)
{
    take_dir(root, "d/s");
    take(root, "d/x");
    take(root, "d/y");
    take(root, "d/e/z");
    take_dir(root, "d/e/t");
    take_dir(root, "d/e");
    take_dir(root, "d");
    make_dir(root, "d");
    make_subvolume(root, "d", "x");
}

static const Case cases[] = {
    {"nothing", make_some, do_nothing, ""},
    {"swap-files", make_some, do_swap_files, "renamed /a from /b\nrenamed /b from /a\n"},
    {"swap-directories", make_some, do_swap_directories,
     "renamed /d from /f time\nadded /d/new\nrenamed /f from /d\n"},
    {"swap-file-and-directory", make_some, do_swap_file_and_directory,
     "renamed /a from /d\nrenamed /d from /a\n"},
    {"rename-over", make_some, do_rename_over, "renamed /b from /a\n"},
    {"edit", make_some, do_edit, "modified /a content,time\n"},
    {"rotate", make_some, do_rotate, "added /a\nrenamed /a.1 from /a\n"},
    {"rename-directory", make_some, do_rename_directory,
     "deleted /d/y\nrenamed /g from /d time\nmodified /g/e/z mode\nadded /g/new\n"
     "renamed /g/renamed from /d/x\n"},
    {"turn-around", make_some, do_turn_around,
     "renamed /e from /d/e time\nrenamed /e/d from /d time\n"},
    {"move-into-new", make_some, do_move_into_new,
     "added /new\nadded /new/deep\nrenamed /new/deep/d from /d\nadded /new/deep/d/e/more\n"},
    {"make-again", make_some, do_make_again,
     "deleted /d/e\nadded /d/n\nmodified /d/x time\nmodified /d/y content,time\n"
     "renamed /saved from /d/e/z\n"},
    {"move-and-make-again", make_some, do_move_and_make_again,
     "added /d\nadded /d/x\nrenamed /d.old from /d\n"},
    {"change-types", make_some, do_change_types,
     "replaced /a\nadded /a/in\nreplaced /b\nreplaced /f\n"},
    {"change-devices", make_devices, do_change_devices,
     "modified /link content,time\nreplaced /other\nrenamed /pipe from /fifo\n"},
    {"change-linked", make_linked, do_change_linked,
     "modified /d/two content,time\nmodified /e/three content,time\nmodified /one content,time\n"},
    {"change-linked-in-moved", make_linked, do_change_linked_in_moved,
     "modified /e/three content,time\nrenamed /moved from /d\nmodified /moved/two content,time\n"
     "modified /one content,time\n"},
    {"link-more", make_linked, do_link_more, "added /e/four\n"},
    {"link-and-change", make_linked, do_link_and_change,
     "modified /d/two content,time\nmodified /e/three content,time\nadded /n\nadded /n/four\n"
     "modified /one content,time\n"},
    {"unlink", make_linked, do_unlink, "deleted /one\n"},
    {"relink", make_linked, do_relink, "renamed /five from /e/three\n"},
    {"touch", make_some, do_touch, "modified /b time\nmodified /c time\n"},
    {"overwrite-secretly", make_some, do_overwrite_secretly, "modified /a content\n"},
    {"attributes", make_some, do_attributes,
     "modified / mode\nmodified /a mode\nmodified /b owner\nmodified /c xattrs\nmodified /d "
     "xattrs\nmodified /f/x xattrs\n"},
    {"sparse", make_some, do_sparse, "modified /a content,time\nmodified /b time\n"},
    {"nested", make_nested, do_nested,
     "replaced /d/s\nrenamed /f/e from /d/e\nadded /n\nadded /new\nadded /new/n\ndeleted /s\n",
     TRUE},
    {"nested-again", make_nested, do_nested_again,
     "deleted /d/e\ndeleted /d/s\nreplaced /d/x\ndeleted /d/y\n", TRUE},
};

/* A directory's time is part of most of them: "modified /d time" says nothing here. */
static char *
without_directory_times(const GPtrArray *lines, int root)
{
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < lines->len; i++) {
        struct stat st;
        const char *line = lines->pdata[i];
        g_auto(GStrv) words = g_strsplit(line, " ", -1);
        const char *path = g_str_equal(words[1], "/") ? "." : words[1] + 1;
        if (g_str_equal(words[0], "modified") && g_str_equal(words[2], "time") &&
            fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
            continue;
        g_string_append_printf(text, "%s\n", line);
    }
    return g_string_free(text, FALSE);
}

/* Makes everything old, so that whatever is done next changes times, however soon it comes. */
static void
age(int dirfd)
{
    static const struct timespec times[] = {{1000, 0}, {1000, 0}};
    g_autoptr(GPtrArray) names = tree_names(dirfd);
    for (guint i = 0; i < names->len; i++) {
        varve_autofd inner = openat(dirfd, names->pdata[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (inner >= 0)
            age(inner);
        else
            g_assert_no_errno(utimensat(dirfd, names->pdata[i], times, AT_SYMLINK_NOFOLLOW));
    }
    g_assert_no_errno(futimens(dirfd, times));
}

static void
work(Pool *pool, const VarveDriverSnapshot *of, Work func)
{
    pool_create(pool, of);
    int root = pool_attach(pool, of);
    func(root);
    if (of->n_parents == 0)
        age(root);
    pool_detach(pool, root);
}

static void
assert_lines(Pool *pool, const VarveDriverSnapshot *of, const char *lines)
{
    varve_autofd root = open_snapshot(pool, of->id);
    g_auto(Told) told = ask(pool, of);
    g_autofree char *text = without_directory_times(told.lines, root);
    g_assert_cmpstr(text, ==, lines);
}

static void
test_case(gconstpointer data)
{
    const Case *test = data;
    Pool *pool = pool_new(&btrfs);
    if (pool == NULL)
        return;
    walks = 0;
    work(pool, snapshot(ACTIVE, 1), test->make);
    pool_commit(pool, 1);
    work(pool, snapshot(ACTIVE, 2, 1), test->change);
    assert_lines(pool, snapshot(ACTIVE, 2, 1), test->lines);
    pool_assert_listed(pool, POOL_ID(1) | POOL_ID(2)); /* and no scratch */
    pool_commit(pool, 2);
    assert_lines(pool, snapshot(VARVE_KIND_COMMITTED, 2, 1), test->lines);
    if (!test->nested) {
        g_auto(Told) told = ask(pool, snapshot(VARVE_KIND_COMMITTED, 2, 1));
        assert_model(pool, &told, 1, 2);
    }
    g_assert_cmpuint(walks, ==, 0);
    pool_discard(pool, 2);
    pool_discard(pool, 1);
    pool_free(pool);
}

/* --- larger ones ------------------------------------------------------------------------------ */

enum { LINKS = 3000, NAME_LENGTH = 200 }; /* many times what BTRFS_IOC_INO_PATHS can tell */

static void
make_many_links(int root)
{
    make(root, "file");
    make_dir(root, "d");
    for (int i = 0; i < LINKS; i++) {
        g_autofree char *path = g_strdup_printf("d/%0*d", NAME_LENGTH, i);
        give_name(root, "file", path);
    }
}

static void
change_first(int root)
{
    pool_write_file(root, "file", "other");
}

static void
test_many_links(void)
{
    Pool *pool = pool_new(&btrfs);
    if (pool == NULL)
        return;
    work(pool, snapshot(ACTIVE, 1), make_many_links);
    pool_commit(pool, 1);
    work(pool, snapshot(ACTIVE, 2, 1), change_first);
    g_auto(Told) told = ask(pool, snapshot(ACTIVE, 2, 1));
    g_assert_cmpuint(told.lines->len, ==, LINKS + 1);
    g_assert_true(g_str_has_prefix(told.lines->pdata[0], "modified /d/000"));
    g_assert_cmpstr(told.lines->pdata[LINKS], ==, "modified /file content,time");
    pool_discard(pool, 2);
    pool_discard(pool, 1);
    pool_free(pool);
}

enum { DEPTH = 30 }; /* of names of 255 bytes: longer than any path that the kernel takes */

static int
open_deep(int root, gboolean fresh)
{
    g_autofree char *name = g_strnfill(255, 'n');
    int fd = dup(root);
    for (int i = 0; i < DEPTH; i++) {
        if (fresh)
            make_dir(fd, name);
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY);
        g_assert_no_errno(next);
        close(fd);
        fd = next;
    }
    return fd;
}

static void
make_deep(int root)
{
    varve_autofd fd = open_deep(root, TRUE);
    make(fd, "file");
    make(root, "a");
}

static void
change_deep(int root)
{
    varve_autofd fd = open_deep(root, FALSE);
    pool_write_file(fd, "file", "other");
}

static void
change_above_deep(int root)
{
    g_autofree char *name = g_strnfill(255, 'n');
    pool_write_file(root, "a", "other");
    move(root, name, "renamed");
}

/* The kernel cannot send paths longer than 4096 bytes; the answer is the same. */
static void
test_deep(void)
{
    Pool *pool = pool_new(&btrfs);
    if (pool == NULL)
        return;
    walks = 0;
    work(pool, snapshot(ACTIVE, 1), make_deep);
    pool_commit(pool, 1);
    work(pool, snapshot(ACTIVE, 2, 1), change_deep);
    g_auto(Told) deep = ask(pool, snapshot(ACTIVE, 2, 1));
    g_assert_cmpuint(deep.lines->len, ==, 1);
    g_assert_cmpuint(strlen(deep.lines->pdata[0]), ==,
                     strlen("modified /file content,time") + DEPTH * 256);
    g_assert_cmpuint(walks, ==, 1);

    work(pool, snapshot(ACTIVE, 3, 1), change_above_deep);
    assert_lines(pool, snapshot(ACTIVE, 3, 1),
                 "modified /a content,time\nrenamed /renamed from "
                 "/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
                 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
                 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
                 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
                 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
                 "n\n");
    g_assert_cmpuint(walks, ==, 1);
    pool_assert_listed(pool, POOL_ID(1) | POOL_ID(2) | POOL_ID(3));
    for (guint64 id = 3; id > 0; id--)
        pool_discard(pool, id);
    pool_free(pool);
}

static void
make_one(int root)
{
    make(root, "old");
}

static void
take_old(int root)
{
    take(root, "old");
}

static void
make_new(int root)
{
    make(root, "new");
    give_name(root, "new", "again");
}

/* A snapshot that has lost its youngest inode gives the number to the next one. */
static void
test_number_reused(void)
{
    Pool *pool = pool_new(&btrfs);
    if (pool == NULL)
        return;
    struct stat old, new;
    work(pool, snapshot(ACTIVE, 1), make_one);
    pool_commit(pool, 1);
    work(pool, snapshot(ACTIVE, 2, 1), take_old);
    pool_commit(pool, 2);
    work(pool, snapshot(ACTIVE, 3, 2, 1), make_new);
    varve_autofd x = open_snapshot(pool, 1), y = open_snapshot(pool, 3);
    g_assert_no_errno(fstatat(x, "old", &old, 0));
    g_assert_no_errno(fstatat(y, "new", &new, 0));
    g_assert_cmpuint(old.st_ino, ==, new.st_ino);
    assert_lines(pool, snapshot(ACTIVE, 3, 1), "added /again\nadded /new\ndeleted /old\n");
    varve_fd_clear(&x);
    varve_fd_clear(&y);
    for (guint64 id = 3; id > 0; id--)
        pool_discard(pool, id);
    pool_free(pool);
}

static void
test_no_parent(void)
{
    Pool *pool = pool_new(&btrfs);
    if (pool == NULL)
        return;
    work(pool, snapshot(ACTIVE, 1), make_some);
    assert_lines(pool, snapshot(ACTIVE, 1),
                 "added /\nadded /a\nadded /b\nadded /c\nadded /d\nadded /d/e\nadded /d/e/z\n"
                 "added /d/x\nadded /d/y\nadded /f\nadded /f/x\n");
    pool_assert_listed(pool, POOL_ID(1));
    pool_discard(pool, 1);
    pool_free(pool);
}

/* --- ending early ----------------------------------------------------------------------------- */

static gboolean
stop(const VarveChange *change, gpointer data, GError **error)
{
    guint *calls = data;
    ++*calls;
    return FALSE;
}

static gboolean
fail(const VarveChange *change, gpointer data, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_NO_SPACE, "mine");
}

static void
test_ends(void)
{
    Pool *pool = pool_new(&btrfs);
    if (pool == NULL)
        return;
    g_autoptr(GError) failed = NULL, cancelled_error = NULL, taken = NULL, error = NULL;
    guint calls = 0;
    gint cancelled = TRUE;
    work(pool, snapshot(ACTIVE, 1), make_some);
    pool_commit(pool, 1);
    work(pool, snapshot(ACTIVE, 2, 1), do_edit);
    const VarveDriverSnapshot *of = snapshot(ACTIVE, 2, 1);

    g_assert_true(pool->driver->changes(pool->self, of, SCRATCH, stop, &calls, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(calls, ==, 1);
    g_assert_false(pool->driver->changes(pool->self, of, SCRATCH, fail, NULL, &failed));
    g_assert_error(failed, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
    pool->host.cancelled = &cancelled;
    g_assert_false(pool->driver->changes(pool->self, of, SCRATCH, stop, &calls, &cancelled_error));
    g_assert_error(cancelled_error, VARVE_ERROR, VARVE_ERROR_CANCELLED);
    pool->host.cancelled = NULL;
    g_assert_cmpuint(calls, ==, 1);
    pool_assert_listed(pool, POOL_ID(1) | POOL_ID(2));

    g_assert_false(pool->driver->changes(pool->self, of, 1, stop, &calls, &taken));
    g_assert_error(taken, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS);
    pool_assert_listed(pool, POOL_ID(1) | POOL_ID(2)); /* it has not taken what is not its own */
    pool_discard(pool, 2);
    pool_discard(pool, 1);
    pool_free(pool);
}

static void
make_thousands(int root)
{
    for (int i = 0; i < 5000; i++) {
        g_autofree char *name = g_strdup_printf("%0200d", i);
        make(root, name);
    }
}

/* More is to be read than a pipe holds: the kernel finds that nobody reads it any more, and raises
 * SIGPIPE where it does, which must not end the program. */
static void
test_broken_off(void)
{
    Pool *pool = pool_new(&btrfs);
    if (pool == NULL)
        return;
    g_autoptr(GError) error = NULL;
    guint64 number;
    guint8 buffer[100];
    work(pool, snapshot(ACTIVE, 1), do_nothing);
    pool_commit(pool, 1);
    work(pool, snapshot(ACTIVE, 2, 1), make_thousands);
    pool_commit(pool, 2);
    varve_autofd before = open_snapshot(pool, 1), after = open_snapshot(pool, 2);
    g_assert_true(varve_subvolume_get_id(before, &number, &error));
    g_assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    VarveSend *send = varve_send_begin(&(VarveSendWhat){after, number, FALSE}, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(varve_send_read(send, buffer, sizeof buffer, &error), >, 0);
    g_assert_cmpint(varve_send_end(send), ==, 0);

    /* What the kernel refuses is told. */
    send = varve_send_begin(&(VarveSendWhat){after, G_MAXUINT64 / 2, FALSE}, NULL, &error);
    g_assert_cmpint(varve_send_read(send, buffer, sizeof buffer, &error), ==, 0);
    g_assert_cmpint(varve_send_end(send), ==, ENOENT);
    varve_fd_clear(&before);
    varve_fd_clear(&after);
    pool_discard(pool, 2);
    pool_discard(pool, 1);
    pool_free(pool);
}

/* --- captures --------------------------------------------------------------------------------- */

static void
capture(Pool *pool, guint64 of, guint64 id)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(pool->driver->capture(pool->self, of, id, &error));
    g_assert_no_error(error);
    g_assert_true(pool->driver->sync(pool->self, id, &error));
    g_assert_no_error(error);
}

static gint64
inodes_of(Pool *pool, const VarveDriverSnapshot *of)
{
    VarveUsage usage;
    g_autoptr(GError) error = NULL;
    g_assert_true(pool->driver->usage(pool->self, of, &usage, &error));
    g_assert_no_error(error);
    return usage.inodes;
}

static void
test_capture(void)
{
    Pool *pool = pool_new(&btrfs);
    if (pool == NULL)
        return;
    work(pool, snapshot(ACTIVE, 1), make_some);
    pool_commit(pool, 1);
    pool_create(pool, snapshot(ACTIVE, 2, 1));
    int root = pool_attach(pool, snapshot(ACTIVE, 2, 1));
    make(root, "first");
    make(root, "second");
    capture(pool, 2, 3);
    make(root, "third"); /* the mount goes on */
    take(root, "first");
    pool_detach(pool, root);

    assert_lines(pool, snapshot(VARVE_KIND_COMMITTED, 3, 1), "added /first\nadded /second\n");
    assert_lines(pool, snapshot(ACTIVE, 2, 3, 1), "deleted /first\nadded /third\n");
    g_assert_cmpint(inodes_of(pool, snapshot(VARVE_KIND_COMMITTED, 3, 1)), ==, 2);
    g_assert_cmpint(inodes_of(pool, snapshot(ACTIVE, 2, 3, 1)), ==, 1);

    root = pool_attach(pool, snapshot(VIEW, 4, 3, 1));
    pool_assert_file(root, "first", "first");
    pool_assert_file(root, "third", NULL);
    pool_assert_read_only(root);
    pool_detach(pool, root);

    /* Undone: it stands on its old parent again. */
    pool_discard(pool, 3);
    assert_lines(pool, snapshot(ACTIVE, 2, 1), "added /second\nadded /third\n");
    g_assert_cmpint(inodes_of(pool, snapshot(ACTIVE, 2, 1)), ==, 2);

    g_autoptr(GError) taken = NULL, missing = NULL;
    g_assert_false(pool->driver->capture(pool->self, 2, 1, &taken));
    g_assert_error(taken, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS);
    g_assert_false(pool->driver->capture(pool->self, 9, 10, &missing));
    g_assert_error(missing, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    pool_assert_listed(pool, POOL_ID(1) | POOL_ID(2));
    pool_discard(pool, 2);
    pool_discard(pool, 1);
    pool_free(pool);
}

/* --- random rounds ---------------------------------------------------------------------------- */

static guint
number_from(const char *variable, guint fallback)
{
    const char *text = g_getenv(variable);
    return text != NULL ? (guint)strtoul(text, NULL, 10) : fallback;
}

/* Changes id (on id - 1), compares, commits. */
static void
do_round(Pool *pool, guint64 id, GRand *numbers)
{
    const VarveDriverSnapshot *of = snapshot(ACTIVE, id, id - 1);
    pool_create(pool, of);
    varve_autofd root = open_snapshot(pool, id);
    tree_mutate(root, numbers, id == 1 ? 150 : (guint)g_rand_int_range(numbers, 1, 60));
    varve_fd_clear(&root);
    pool_commit(pool, id);
    if (id > 1) {
        g_auto(Told) told = ask(pool, snapshot(VARVE_KIND_COMMITTED, id, id - 1));
        assert_model(pool, &told, id - 1, id);
    }
}

/* Each snapshot stands on the one before; now and then all begins anew, with a tree that is small
 * again. */
static void
test_random(void)
{
    enum { LENGTH = 8 };
    guint rounds = number_from("VARVE_TEST_ROUNDS", DEFAULT_ROUNDS), done = 0;
    guint32 seed = number_from("VARVE_TEST_SEED", DEFAULT_SEED);
    Pool *pool = pool_new(&btrfs);
    if (pool == NULL)
        return;
    walks = 0;
    for (; done < rounds; done += LENGTH - 1, seed++) {
        g_test_message("VARVE_TEST_SEED=%u", seed);
        GRand *numbers = g_rand_new_with_seed(seed);
        for (guint64 id = 1; id <= LENGTH; id++)
            do_round(pool, id, numbers);
        for (guint64 id = LENGTH; id > 0; id--)
            pool_discard(pool, id);
        g_rand_free(numbers);
    }
    g_test_message("%u rounds, %u of them file by file", done, walks);
    g_assert_cmpuint(walks, ==, 0);
    pool_free(pool);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    varve_log_set_handler(count_walks, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/btrfs-changes/%s", cases[i].name);
        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_func("/btrfs-changes/many-links", test_many_links);
    g_test_add_func("/btrfs-changes/deep", test_deep);
    g_test_add_func("/btrfs-changes/number-reused", test_number_reused);
    g_test_add_func("/btrfs-changes/no-parent", test_no_parent);
    g_test_add_func("/btrfs-changes/ends", test_ends);
    g_test_add_func("/btrfs-changes/broken-off", test_broken_off);
    g_test_add_func("/btrfs-changes/capture", test_capture);
    g_test_add_func("/btrfs-changes/random", test_random);
    return g_test_run();
}
