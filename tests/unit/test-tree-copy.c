/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tree.h"
#include "scratch.h"
#include "tree-compare.h"
#include "tree-everything.h"
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SIZE (400 * 1024 * 1024) /* mkfs.xfs wants that much at least */

static ino_t
inode_of(int dirfd, const char *name)
{
    struct stat st;
    g_assert_no_errno(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW));
    return st.st_ino;
}

static void
copy_tree(int srcfd, const char *src, int dstfd, const char *dst)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_tree_copy(srcfd, src, dstfd, dst, NULL, &error));
    g_assert_no_error(error);
}

static void
assert_all_sparse(int dirfd)
{
    static const char *const names[] = {"sparse-middle", "sparse-ends", "sparse-hole"};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        struct stat st;
        g_assert_no_errno(fstatat(dirfd, names[i], &st, 0));
        g_assert_cmpint(st.st_size, >=, TREE_SPARSE_SIZE);
        g_assert_cmpint(st.st_blocks * 512, <=, 512 * 1024); /* XFS rounds extents up */
    }
}

static void
assert_links(int dirfd)
{
    varve_autofd subdir = varve_fd_open_dir(dirfd, "dir", NULL);
    g_assert_cmpuint(inode_of(dirfd, "file"), ==, inode_of(dirfd, "hard-1"));
    g_assert_cmpuint(inode_of(dirfd, "file"), ==, inode_of(subdir, "hard-2"));
    g_assert_cmpuint(inode_of(dirfd, "fifo"), ==, inode_of(subdir, "hard-fifo"));
    g_assert_cmpuint(inode_of(dirfd, "link-long"), ==, inode_of(subdir, "hard-link"));
}

/* Whether all blocks of the file belong to another one as well. */
static gboolean
is_shared(int dirfd, const char *name)
{
    varve_autofd fd = openat(dirfd, name, O_RDONLY);
    g_assert_no_errno(fsync(fd));
    g_autofree struct fiemap *map =
        g_malloc0(sizeof(struct fiemap) + 32 * sizeof(struct fiemap_extent));
    map->fm_length = FIEMAP_MAX_OFFSET;
    map->fm_extent_count = 32;
    g_assert_no_errno(ioctl(fd, FS_IOC_FIEMAP, map));
    gboolean shared = map->fm_mapped_extents > 0;
    for (guint i = 0; i < map->fm_mapped_extents; i++)
        shared &= (map->fm_extents[i].fe_flags & FIEMAP_EXTENT_SHARED) != 0;
    return shared;
}

static void
remove_all(Scratch *scratch, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_tree_remove(scratch->fd, name, NULL, &error));
    g_assert_no_error(error);
}

static void
test_everything(gconstpointer type)
{
    g_autoptr(Scratch) scratch = scratch_new(type, SIZE);
    if (scratch == NULL)
        return;
    tree_make_everything(scratch->fd, "tree");
    sync();
    mode_t umask_before = umask(077);
    copy_tree(scratch->fd, "tree", scratch->fd, "copy");
    umask(umask_before);

    varve_autofd tree = varve_fd_open_dir(scratch->fd, "tree", NULL);
    varve_autofd copy = varve_fd_open_dir(scratch->fd, "copy", NULL);
    assert_all_sparse(copy); /* first: mapping a hole of a tmpfs fills it */
    tree_compare(tree, copy);
    assert_links(copy);
    if (g_str_equal(type, "xfs")) {
        g_assert_true(is_shared(copy, "file"));
        g_assert_true(is_shared(copy, "sparse-middle"));
    }
    varve_fd_clear(&tree);
    varve_fd_clear(&copy);
    remove_all(scratch, "copy");
    remove_all(scratch, "tree");
}

/* From one file system to another: no reflinks, and whatever copy_file_range does between them. */
static void
test_across(gconstpointer types)
{
    const char *const *pair = types;
    g_autoptr(Scratch) from = scratch_new(pair[0], SIZE);
    g_autoptr(Scratch) to = from != NULL ? scratch_new(pair[1], SIZE) : NULL;
    if (to == NULL)
        return;
    tree_make_everything(from->fd, "tree");
    copy_tree(from->fd, "tree", to->fd, "copy");

    varve_autofd tree = varve_fd_open_dir(from->fd, "tree", NULL);
    varve_autofd copy = varve_fd_open_dir(to->fd, "copy", NULL);
    assert_all_sparse(copy);
    tree_compare(tree, copy);
    assert_links(copy);
    varve_fd_clear(&tree);
    varve_fd_clear(&copy);
    remove_all(from, "tree");
    remove_all(to, "copy");
}

/* Directories within directories, 12000 bytes of path; returns the last one. */
static int
make_chain(int dirfd, const char *first)
{
    char name[201];
    memset(name, 'd', sizeof name - 1);
    name[200] = '\0';
    int at = tree_make_dir(dirfd, first, 0755);
    for (int i = 0; i < 60; i++) {
        int next = tree_make_dir(at, name, 0755);
        close(at);
        at = next;
    }
    return at;
}

static void
test_deep_links(void)
{
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    varve_autofd top = tree_make_dir(scratch->fd, "tree", 0755);
    varve_autofd left = make_chain(top, "left"), right = make_chain(top, "right");
    tree_write_file(left, "file", "x", 1, 0644);
    g_assert_no_errno(linkat(left, "file", right, "other-name", 0));
    copy_tree(scratch->fd, "tree", scratch->fd, "copy");

    varve_autofd copy = varve_fd_open_dir(scratch->fd, "copy", NULL);
    tree_compare(top, copy); /* the number of links among all the rest */
    gint64 bytes, inodes;
    g_assert_true(varve_tree_usage(scratch->fd, "copy", &bytes, &inodes, NULL));
    g_assert_cmpint(inodes, ==, 1 + 2 * 61 + 1);
    remove_all(scratch, "copy");
    remove_all(scratch, "tree");
}

static void
assert_fails(int dirfd, const char *src, const char *dst, VarveErrorCode code)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(varve_tree_copy(dirfd, src, dirfd, dst, NULL, &error));
    g_assert_error(error, VARVE_ERROR, (int)code);
    g_test_message("%s", error->message);
}

static void
test_refusals(void)
{
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    close(tree_make_dir(scratch->fd, "src", 0755));
    varve_autofd taken = tree_make_dir(scratch->fd, "taken", 0755);
    tree_write_file(taken, "precious", "x", 1, 0644);
    g_assert_no_errno(symlinkat("src", scratch->fd, "link"));

    assert_fails(scratch->fd, "src", "taken", VARVE_ERROR_ALREADY_EXISTS);
    g_assert_no_errno(faccessat(taken, "precious", F_OK, 0));
    assert_fails(scratch->fd, "missing", "copy", VARVE_ERROR_NOT_FOUND);
    g_assert_cmpint(faccessat(scratch->fd, "copy", F_OK, 0), <, 0);
    assert_fails(scratch->fd, "link", "copy", VARVE_ERROR_INVALID_ARGUMENT);
    g_assert_cmpint(faccessat(scratch->fd, "copy", F_OK, 0), <, 0);

    static const char *const names[] = {"link", "taken", "src"};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        remove_all(scratch, names[i]);
}

static void
test_no_space(void)
{
    g_autoptr(Scratch) scratch = scratch_new("tmpfs", 1024 * 1024);
    if (scratch == NULL)
        return;
    varve_autofd src = tree_make_dir(scratch->fd, "src", 0755),
                 sub = tree_make_dir(src, "sub", 0755);
    g_autofree char *content = g_malloc0(600 * 1024);
    tree_write_file(sub, "file", content, 600 * 1024, 0644);
    assert_fails(scratch->fd, "src", "copy", VARVE_ERROR_NO_SPACE);
    g_assert_cmpint(faccessat(scratch->fd, "copy", F_OK, 0), <, 0);
    remove_all(scratch, "src");
}

/* --- attributes alone ------------------------------------------------------------------------- */

static gboolean
has_xattr(int dirfd, const char *name)
{
    return fgetxattr(dirfd, name, NULL, 0) >= 0;
}

static void
test_attributes(gconstpointer type)
{
    g_autoptr(Scratch) scratch = scratch_new(type, SIZE);
    if (scratch == NULL)
        return;
    varve_autofd src = tree_make_dir(scratch->fd, "src", 0755);
    varve_autofd dst = tree_make_dir(scratch->fd, "dst", 0755);
    tree_set_xattr(src, "", "trusted.overlay.opaque", "y", 1);
    tree_set_xattr(src, "", "trusted.overlay.overlay.opaque", "y", 1);
    tree_set_xattr(src, "", "user.overlay.origin", "o", 1);
    tree_set_xattr(src, "", "user.overlays", "o", 1);
    tree_set_xattr(src, "", "system.posix_acl_access", tree_acl, sizeof tree_acl);
    tree_set_xattr(src, "", "system.posix_acl_default", tree_acl, sizeof tree_acl);
    g_assert_no_errno(fchown(src, 30, 31));
    g_assert_no_errno(fchmod(src, 03771));
    static const struct timespec times[] = {{5, 55}, {6, 66}};
    g_assert_no_errno(futimens(src, times));

    g_autoptr(GError) error = NULL;
    g_assert_true(varve_tree_copy_attributes(src, dst, &error));
    g_assert_no_error(error);
    g_assert_false(has_xattr(dst, "trusted.overlay.opaque"));
    g_assert_false(has_xattr(dst, "user.overlay.origin"));
    g_assert_no_errno(fremovexattr(src, "trusted.overlay.opaque"));
    g_assert_no_errno(fremovexattr(src, "user.overlay.origin"));
    tree_compare(src, dst);

    varve_fd_clear(&src);
    varve_fd_clear(&dst);
    remove_all(scratch, "src");
    remove_all(scratch, "dst");
}

int
main(int argc, char **argv)
{
    static const char *const to_tmpfs[] = {"ext4", "tmpfs"}, *const to_xfs[] = {"tmpfs", "xfs"};
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    g_test_add_data_func("/tree-copy/everything/ext4", "ext4", test_everything);
    g_test_add_data_func("/tree-copy/everything/xfs", "xfs", test_everything);
    g_test_add_data_func("/tree-copy/everything/tmpfs", "tmpfs", test_everything);
    g_test_add_data_func("/tree-copy/across/ext4-tmpfs", to_tmpfs, test_across);
    g_test_add_data_func("/tree-copy/across/tmpfs-xfs", to_xfs, test_across);
    g_test_add_func("/tree-copy/deep-links", test_deep_links);
    g_test_add_func("/tree-copy/refusals", test_refusals);
    g_test_add_func("/tree-copy/no-space", test_no_space);
    g_test_add_data_func("/tree-copy/attributes/ext4", "ext4", test_attributes);
    g_test_add_data_func("/tree-copy/attributes/tmpfs", "tmpfs", test_attributes);
    return g_test_run();
}
