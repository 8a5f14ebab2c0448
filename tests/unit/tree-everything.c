/* SPDX-License-Identifier: Apache-2.0 */
#include "tree-everything.h"
#include "base/fd.h"
#include "tree-compare.h"
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

void
tree_write_file(int dirfd, const char *name, const void *content, gsize size, mode_t mode)
{
    varve_autofd fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    g_assert_no_errno(fd);
    g_assert_cmpint(write(fd, content, size), ==, size);
    g_assert_no_errno(fchmod(fd, mode));
}

int
tree_make_dir(int dirfd, const char *name, mode_t mode)
{
    int fd = varve_fd_make_dir(dirfd, name, mode, NULL);
    g_assert_no_errno(fd);
    return fd;
}

/* Data that does not compress to nothing, nor repeats within a block. */
static void
make_content(int dirfd)
{
    gsize size = 300001;
    g_autofree guint32 *content = g_malloc(size + 4);
    for (gsize i = 0; i < size / 4; i++)
        content[i] = (guint32)i * 2654435761u;
    tree_write_file(dirfd, "file", content, size, 0640);
    tree_write_file(dirfd, "one", content, 1, 0604);
    tree_write_file(dirfd, "empty", "", 0, 0444);
    tree_write_file(dirfd, "nobody", content, 4096, 0);
    g_assert_no_errno(fchownat(dirfd, "file", 1000, 1001, 0));
}

static void
make_sparse(int dirfd, const char *name, const off_t *data, gsize n, off_t size)
{
    varve_autofd fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    char block[4096];
    memset(block, 's', sizeof block);
    for (gsize i = 0; i < n; i++)
        g_assert_cmpint(pwrite(fd, block, sizeof block, data[i]), ==, sizeof block);
    g_assert_no_errno(ftruncate(fd, size));
}

static void
make_all_sparse(int dirfd)
{
    static const off_t middle[] = {1 << 20, 40 << 20}, ends[] = {0, TREE_SPARSE_SIZE - 4096};
    make_sparse(dirfd, "sparse-middle", middle, 2, TREE_SPARSE_SIZE);
    make_sparse(dirfd, "sparse-ends", ends, 2, TREE_SPARSE_SIZE);
    make_sparse(dirfd, "sparse-hole", NULL, 0, TREE_SPARSE_SIZE + 1);
}

static void
make_socket(int dirfd, const char *name)
{
    varve_autofd fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dirfd, name);
    g_assert_no_errno(bind(fd, (struct sockaddr *)&address, sizeof address));
}

static void
make_special(int dirfd)
{
    g_assert_no_errno(mkfifoat(dirfd, "fifo", 0620));
    g_assert_no_errno(mknodat(dirfd, "char", S_IFCHR | 0666, makedev(1, 3)));
    g_assert_no_errno(mknodat(dirfd, "block", S_IFBLK | 0660, makedev(259, 70000)));
    g_assert_no_errno(mknodat(dirfd, "whiteout", S_IFCHR, makedev(0, 0)));
    g_assert_no_errno(fchownat(dirfd, "char", 7, 8, 0));
    make_socket(dirfd, "socket");

    char target[1000];
    memset(target, 't', sizeof target);
    target[sizeof target - 1] = '\0';
    g_assert_no_errno(symlinkat(target, dirfd, "link-long"));
    g_assert_no_errno(symlinkat("dir", dirfd, "link-dir"));
    g_assert_no_errno(symlinkat("/etc/\xff\n", dirfd, "link-odd"));
    g_assert_no_errno(fchownat(dirfd, "link-dir", 12, 13, AT_SYMLINK_NOFOLLOW));
}

static void
make_names(int dirfd)
{
    char longest[256];
    memset(longest, 'n', sizeof longest);
    longest[255] = '\0';
    const char *const names[] = {"new\nline", "\xff\xfe\x80", " ", "-rf", "\\", longest};
    varve_autofd dir = tree_make_dir(dirfd, "names", 0755);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        tree_write_file(dir, names[i], names[i], strlen(names[i]), 0644);
    varve_autofd odd = tree_make_dir(dir, "\x01\x7f\xc3", 0711);
    tree_write_file(odd, "inner", "x", 1, 0600);
}

static void
make_modes(int dirfd)
{
    tree_write_file(dirfd, "setuid", "x", 1, 0755);
    g_assert_no_errno(fchownat(dirfd, "setuid", 1000, 0, 0));
    g_assert_no_errno(fchmodat(dirfd, "setuid", 06755, 0));
    tree_write_file(dirfd, "setuid-root", "x", 1, 04711);
    close(tree_make_dir(dirfd, "sticky", 01777));
    varve_autofd setgid = tree_make_dir(dirfd, "setgid", 02775);
    g_assert_no_errno(fchown(setgid, 5, 6));
    g_assert_no_errno(fchmod(setgid, 02775));
    tree_write_file(setgid, "inherits", "x", 1, 0644);
    g_assert_no_errno(fchownat(setgid, "inherits", 0, 0, 0));
    varve_autofd closed = tree_make_dir(dirfd, "closed", 0);
    tree_write_file(closed, "inner", "x", 1, 0600);
}

static void
make_links(int dirfd, int subdir)
{
    g_assert_no_errno(linkat(dirfd, "file", dirfd, "hard-1", 0));
    g_assert_no_errno(linkat(dirfd, "file", subdir, "hard-2", 0));
    g_assert_no_errno(linkat(dirfd, "fifo", subdir, "hard-fifo", 0));
    g_assert_no_errno(linkat(dirfd, "link-long", subdir, "hard-link", 0));
}

/* linux/posix_acl_xattr.h: a version, and entries of tag, permissions and id, little-endian. Here:
 * the owner, user 1000, the group, the mask, others. */
const guint8 tree_acl[44] = {
    2, 0,   0,   0,   1,   0,   7,  0, 255, 255, 255, 255, 2,   0,   6,
    0, 232, 3,   0,   0,   4,   0,  5, 0,   255, 255, 255, 255, 16,  0,
    7, 0,   255, 255, 255, 255, 32, 0, 1,   0,   255, 255, 255, 255,
};

/* linux/capability.h, struct vfs_cap_data: revision 2, effective, CAP_NET_RAW. */
static const guint8 capability[] = {1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

static char *
xattr_path(int dirfd, const char *name)
{
    return g_strdup_printf("/proc/self/fd/%d/%s", dirfd, *name != '\0' ? name : ".");
}

void
tree_set_xattr(int dirfd, const char *file, const char *name, const void *value, gsize size)
{
    g_autofree char *path = xattr_path(dirfd, file);
    g_assert_no_errno(lsetxattr(path, name, value, size, 0));
}

static void
make_xattrs(int dirfd, int subdir)
{
    char large[2000];
    memset(large, 'v', sizeof large);
    tree_set_xattr(dirfd, "file", "user.text", "value", 5);
    tree_set_xattr(dirfd, "file", "user.empty", "", 0);
    tree_set_xattr(dirfd, "one", "user.large", large, sizeof large);
    tree_set_xattr(dirfd, "setuid", "security.capability", capability, sizeof capability);
    tree_set_xattr(dirfd, "link-dir", "trusted.link", "l", 1);
    tree_set_xattr(dirfd, "fifo", "trusted.fifo", "f", 1);
    tree_set_xattr(dirfd, "one", "system.posix_acl_access", tree_acl, sizeof tree_acl);
    tree_set_xattr(dirfd, "char", "system.posix_acl_access", tree_acl, sizeof tree_acl);
    tree_set_xattr(subdir, "", "system.posix_acl_access", tree_acl, sizeof tree_acl);
    tree_set_xattr(subdir, "", "system.posix_acl_default", tree_acl, sizeof tree_acl);
    tree_set_xattr(subdir, "", "trusted.overlay.opaque", "y", 1);
    tree_set_xattr(dirfd, "", "user.top", "t", 1);
    for (int i = 0; i < 60; i++) { /* a list longer than what fits at first */
        g_autofree char *name = g_strdup_printf("user.one-of-many-names-%03d", i);
        tree_set_xattr(dirfd, "empty", name, "", 0);
    }
}

/* Gives every file other times, with nanoseconds; directories last, from the bottom up. */
static void
set_times(int dirfd, guint *seed)
{
    g_autoptr(GPtrArray) names = tree_names(dirfd);
    for (guint i = 0; i < names->len; i++) {
        struct stat st;
        const char *name = names->pdata[i];
        g_assert_no_errno(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW));
        if (S_ISDIR(st.st_mode)) {
            varve_autofd dir = openat(dirfd, name, O_RDONLY | O_DIRECTORY);
            set_times(dir, seed);
        }
        guint n = (*seed)++;
        const struct timespec times[] = {{1000000 + n, 123456789 + n},
                                         {2000000 * n, 999999999 - n}};
        g_assert_no_errno(utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW));
    }
}

void
tree_make_everything(int dirfd, const char *name)
{
    varve_autofd dir = tree_make_dir(dirfd, name, 0751), subdir = tree_make_dir(dir, "dir", 0775);
    make_content(dir);
    make_all_sparse(dir);
    make_special(dir);
    make_names(dir);
    make_modes(dir);
    make_links(dir, subdir);
    make_xattrs(dir, subdir);
    tree_write_file(subdir, "inherits-acl", "x", 1, 0664);
    g_assert_no_errno(fchown(dir, 20, 21));
    guint seed = 1;
    set_times(dir, &seed);
    static const struct timespec times[] = {{3, 14}, {15, 926}};
    g_assert_no_errno(futimens(dir, times));
}
