/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tree.h"
#include "scratch.h"
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE (64 * 1024 * 1024)

static void
make_file(int dirfd, const char *name, gsize size)
{
    varve_autofd fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0644);
    g_assert_no_errno(fd);
    g_autofree char *content = g_malloc(size + 1);
    memset(content, 'x', size);
    g_assert_cmpint(write(fd, content, size), ==, size);
}

static int
make_dir(int dirfd, const char *name)
{
    int fd = varve_fd_make_dir(dirfd, name, 0755, NULL);
    g_assert_no_errno(fd);
    return fd;
}

static gboolean
exists(int dirfd, const char *name)
{
    struct stat st;
    return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
remove_tree(int dirfd, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_tree_remove(dirfd, name, NULL, &error));
    g_assert_no_error(error);
    g_assert_false(exists(dirfd, name));
}

/* A chain of directories, longer than a path can be, with a file and a symbolic link in each. */
static void
make_deep(int dirfd, const char *name, guint depth)
{
    varve_autofd at = make_dir(dirfd, name);
    for (guint i = 1; i < depth; i++) {
        make_file(at, "file", 1);
        g_assert_no_errno(symlinkat("/etc", at, "link"));
        int next = make_dir(at, "a-name-of-some-length");
        varve_fd_clear(&at);
        at = next;
    }
}

/* --- remove ---------------------------------------------------------------------------------- */

static void
test_remove_kinds(gconstpointer type)
{
    g_autoptr(Scratch) scratch = scratch_new(type, SIZE);
    if (scratch == NULL)
        return;
    remove_tree(scratch->fd, "nothing");
    varve_autofd dir = make_dir(scratch->fd, "dir");
    make_file(scratch->fd, "file", 10);
    g_assert_no_errno(symlinkat("dir", scratch->fd, "link"));
    g_assert_no_errno(mkfifoat(scratch->fd, "fifo", 0600));
    remove_tree(scratch->fd, "file");
    remove_tree(scratch->fd, "fifo");
    remove_tree(scratch->fd, "link");
    g_assert_true(exists(scratch->fd, "dir"));

    static const char *const names[] = {"new\nline", "\xff\xfe", "-rf", " ", "...", "*"};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        make_file(dir, names[i], 1);
        g_autofree char *name = g_strconcat("d", names[i], NULL);
        varve_autofd inner = make_dir(dir, name);
        make_file(inner, names[i], 1);
        g_assert_no_errno(fchmod(inner, geteuid() == 0 ? 0 : 0700));
    }
    remove_tree(scratch->fd, "dir");
}

static void
test_remove_follows_no_link(void)
{
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    varve_autofd outside = make_dir(scratch->fd, "outside");
    make_file(outside, "precious", 1);
    varve_autofd dir = make_dir(scratch->fd, "dir");
    g_assert_no_errno(symlinkat("../outside", dir, "link"));
    g_assert_no_errno(symlinkat("..", dir, "up"));
    remove_tree(scratch->fd, "dir");
    g_assert_true(exists(outside, "precious"));
    remove_tree(scratch->fd, "outside");
}

static void
test_remove_many(void)
{
    /* More names than one read of the directory yields. */
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    varve_autofd dir = make_dir(scratch->fd, "dir");
    for (int i = 0; i < 3000; i++) {
        g_autofree char *name = g_strdup_printf("a-rather-long-name-%d", i);
        make_file(dir, name, 0);
    }
    remove_tree(scratch->fd, "dir");
}

static void
test_deep(gconstpointer type)
{
    g_autoptr(Scratch) scratch = scratch_new(type, SIZE);
    if (scratch == NULL)
        return;
    struct rlimit before, few;
    g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &before));
    few = (struct rlimit){160, before.rlim_max};
    g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &few));

    make_deep(scratch->fd, "deep", 1500);
    g_autoptr(GError) error = NULL;
    gint64 bytes, inodes;
    g_assert_true(varve_tree_usage(scratch->fd, "deep", &bytes, &inodes, &error));
    g_assert_no_error(error);
    g_assert_cmpint(inodes, ==, 1500 + 2 * 1499);

    g_assert_true(varve_tree_copy(scratch->fd, "deep", scratch->fd, "copy", NULL, &error));
    g_assert_no_error(error);
    varve_autofd base = varve_fd_open_dir(scratch->fd, "deep", NULL);
    g_assert_true(varve_tree_usage_beyond(scratch->fd, "copy", base, &bytes, &inodes, &error));
    g_assert_no_error(error);
    g_assert_cmpint(inodes, ==, 0);
    varve_fd_clear(&base);

    remove_tree(scratch->fd, "copy");
    remove_tree(scratch->fd, "deep");
    g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &before));
}

static gboolean
set_flag(int fd, int flag)
{
    int flags;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
        return FALSE;
    flags |= flag;
    return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

static void
test_remove_flagged(gconstpointer type)
{
    g_autoptr(Scratch) scratch = scratch_new(type, SIZE);
    if (scratch == NULL)
        return;
    varve_autofd dir = make_dir(scratch->fd, "dir");
    varve_autofd immutable = make_dir(dir, "immutable"), append = make_dir(dir, "append");
    make_file(immutable, "file", 1);
    make_file(immutable, "immutable", 1);
    make_file(append, "append", 1);
    varve_autofd first = openat(immutable, "immutable", O_RDONLY);
    varve_autofd second = openat(append, "append", O_RDONLY);
    if (!set_flag(first, FS_IMMUTABLE_FL)) {
        g_test_skip("no immutable files here");
    } else {
        g_assert_true(set_flag(second, FS_APPEND_FL));
        g_assert_true(set_flag(immutable, FS_IMMUTABLE_FL));
        g_assert_true(set_flag(append, FS_APPEND_FL));
        g_assert_true(set_flag(dir, FS_IMMUTABLE_FL));
        g_assert_cmpint(unlinkat(immutable, "file", 0), <, 0);
        g_assert_cmpint(errno, ==, EPERM);
    }
    remove_tree(scratch->fd, "dir");

    make_file(scratch->fd, "single", 1);
    varve_autofd single = openat(scratch->fd, "single", O_RDONLY);
    (void)set_flag(single, FS_IMMUTABLE_FL);
    remove_tree(scratch->fd, "single");
}

/* --- mount points ---------------------------------------------------------------------------- */

static void
assert_busy(gboolean ok, GError *error, const char *place)
{
    g_assert_false(ok);
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_BUSY);
    g_assert_nonnull(strstr(error->message, place));
    g_error_free(error);
}

static void
test_mounts(gconstpointer type)
{
    g_autoptr(Scratch) scratch = scratch_new("tmpfs", SIZE);
    if (scratch == NULL)
        return;
    varve_autofd dir = make_dir(scratch->fd, "dir");
    varve_autofd other = make_dir(scratch->fd, "other"), inner = make_dir(dir, "inner");
    make_file(other, "precious", 4096);
    varve_autofd target = make_dir(inner, "target");
    varve_fd_clear(&target);

    /* A directory of the same file system, so that comparing devices would not tell. */
    g_autofree char *to = g_strconcat(scratch->path, "/dir/inner/target", NULL);
    g_autofree char *from = g_strconcat(scratch->path, "/other", NULL);
    if (g_str_equal(type, "bind"))
        g_assert_no_errno(mount(from, to, NULL, MS_BIND, NULL));
    else
        g_assert_no_errno(mount("tmpfs", to, "tmpfs", 0, NULL));

    GError *error = NULL;
    gboolean ok = varve_tree_remove(scratch->fd, "dir", NULL, &error);
    assert_busy(ok, error, "dir/inner/target");
    g_assert_true(exists(other, "precious"));

    error = NULL;
    ok = varve_tree_copy(scratch->fd, "dir", scratch->fd, "copy", NULL, &error);
    assert_busy(ok, error, "dir/inner/target");
    g_assert_false(exists(scratch->fd, "copy"));

    gint64 bytes, inodes;
    g_assert_true(varve_tree_usage(scratch->fd, "dir", &bytes, &inodes, NULL));
    g_assert_cmpint(inodes, ==, 2);

    g_assert_no_errno(umount2(to, 0));
    remove_tree(scratch->fd, "dir");
    remove_tree(scratch->fd, "other");
}

/* --- usage ----------------------------------------------------------------------------------- */

static gint64
allocated(int dirfd, const char *name)
{
    struct stat st;
    g_assert_no_errno(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
    return (gint64)st.st_blocks * 512;
}

static void
assert_usage(int dirfd, const char *name, gint64 want_bytes, gint64 want_inodes)
{
    gint64 bytes = -1, inodes = -1;
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_tree_usage(dirfd, name, &bytes, &inodes, &error));
    g_assert_no_error(error);
    g_assert_cmpint(bytes, ==, want_bytes);
    g_assert_cmpint(inodes, ==, want_inodes);
}

static void
test_usage(gconstpointer type)
{
    g_autoptr(Scratch) scratch = scratch_new(type, SIZE);
    if (scratch == NULL)
        return;
    varve_autofd dir = make_dir(scratch->fd, "dir"), sub = make_dir(dir, "sub");
    assert_usage(scratch->fd, "dir", allocated(dir, "") + allocated(sub, ""), 2);

    make_file(dir, "file", 100000);
    g_assert_no_errno(symlinkat("../..", sub, "link"));
    g_assert_no_errno(fsync(dir));
    sync(); /* delayed allocation: the blocks are counted when they are there */
    gint64 file = allocated(dir, "file"), directories = allocated(dir, "") + allocated(sub, "");
    g_assert_cmpint(file, >=, 100000);
    assert_usage(scratch->fd, "dir", directories + file + allocated(sub, "link"), 4);

    g_assert_no_errno(linkat(dir, "file", dir, "again", 0));
    g_assert_no_errno(linkat(dir, "file", sub, "too", 0));
    assert_usage(scratch->fd, "dir", directories + file + allocated(sub, "link"), 4);

    varve_autofd sparse = openat(sub, "sparse", O_WRONLY | O_CREAT, 0644);
    g_assert_no_errno(ftruncate(sparse, (off_t)1 << 30));
    assert_usage(scratch->fd, "dir", directories + file + allocated(sub, "link"), 5);
    varve_fd_clear(&sparse);

    gint64 bytes, inodes;
    g_assert_false(varve_tree_usage(scratch->fd, "missing", &bytes, &inodes, NULL));
    varve_fd_clear(&dir);
    varve_fd_clear(&sub);
    remove_tree(scratch->fd, "dir");
}

static void
assert_beyond(Scratch *scratch, gint64 want_inodes, gint64 least_bytes)
{
    varve_autofd base = varve_fd_open_dir(scratch->fd, "base", NULL);
    gint64 bytes = -1, inodes = -1;
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_tree_usage_beyond(scratch->fd, "copy", base, &bytes, &inodes, &error));
    g_assert_no_error(error);
    g_assert_cmpint(inodes, ==, want_inodes);
    g_assert_cmpint(bytes, >=, least_bytes);
    g_assert_cmpint(bytes, <=, least_bytes + 16384 * want_inodes);
}

static void
test_usage_beyond(gconstpointer type)
{
    g_autoptr(Scratch) scratch = scratch_new(type, SIZE);
    if (scratch == NULL)
        return;
    varve_autofd dir = make_dir(scratch->fd, "base"), sub = make_dir(dir, "sub");
    make_file(dir, "file", 100000);
    make_file(sub, "inner", 100000);
    g_assert_true(varve_tree_copy(scratch->fd, "base", scratch->fd, "copy", NULL, NULL));
    assert_beyond(scratch, 0, 0);

    varve_autofd copy = varve_fd_open_dir(scratch->fd, "copy", NULL);
    static const struct timespec times[] = {{1, 0}, {1, 1}};
    varve_autofd more = make_dir(copy, "more");
    g_assert_no_errno(futimens(copy, times)); /* the clock is too coarse to tell it from base */
    varve_autofd deeper = make_dir(more, "sub");
    make_file(deeper, "inner", 50000);
    sync();
    assert_beyond(scratch, 4, 50000);

    g_assert_no_errno(fchmodat(copy, "file", 0600, 0));
    assert_beyond(scratch, 5, 150000);
    g_assert_no_errno(utimensat(copy, "sub/inner", times, 0));
    assert_beyond(scratch, 6, 250000);

    /* What base has as another type is not the same, nor is what is below it. */
    g_assert_no_errno(unlinkat(sub, "inner", 0));
    g_assert_no_errno(unlinkat(dir, "sub", AT_REMOVEDIR));
    g_assert_no_errno(symlinkat("../copy/sub", dir, "sub"));
    assert_beyond(scratch, 7, 250000);
    remove_tree(scratch->fd, "base");
    remove_tree(scratch->fd, "copy");
}

/* --- being watched --------------------------------------------------------------------------- */

static void
test_cancelled(void)
{
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    make_deep(scratch->fd, "tree", 5);
    const gint cancelled = 1;
    const VarveTreeWatch watch = {.cancelled = &cancelled};

    g_autoptr(GError) copying = NULL, removing = NULL;
    g_assert_false(varve_tree_copy(scratch->fd, "tree", scratch->fd, "copy", &watch, &copying));
    g_assert_error(copying, VARVE_ERROR, VARVE_ERROR_CANCELLED);
    g_assert_false(exists(scratch->fd, "copy"));
    g_assert_false(varve_tree_remove(scratch->fd, "tree", &watch, &removing));
    g_assert_error(removing, VARVE_ERROR, VARVE_ERROR_CANCELLED);
    g_assert_true(exists(scratch->fd, "tree/file"));
    remove_tree(scratch->fd, "tree");
}

/* Other file systems need root; the test runs on that of temporary files otherwise. */
static void
add_for_each_type(const char *name, GTestDataFunc func)
{
    static const char *const types[] = {"ext4", "tmpfs"};
    for (gsize i = 0; geteuid() == 0 && i < G_N_ELEMENTS(types); i++) {
        g_autofree char *path = g_strdup_printf("/tree/%s/%s", name, types[i]);
        g_test_add_data_func(path, types[i], func);
    }
    if (geteuid() != 0) {
        g_autofree char *path = g_strdup_printf("/tree/%s", name);
        g_test_add_data_func(path, NULL, func);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    add_for_each_type("remove/kinds", test_remove_kinds);
    g_test_add_func("/tree/remove/follows-no-link", test_remove_follows_no_link);
    g_test_add_func("/tree/remove/many", test_remove_many);
    add_for_each_type("remove/flagged", test_remove_flagged);
    add_for_each_type("deep", test_deep);
    g_test_add_data_func("/tree/mounts/bind", "bind", test_mounts);
    g_test_add_data_func("/tree/mounts/tmpfs", "tmpfs", test_mounts);
    add_for_each_type("usage/alone", test_usage);
    add_for_each_type("usage/beyond", test_usage_beyond);
    g_test_add_func("/tree/cancelled", test_cancelled);
    return g_test_run();
}
