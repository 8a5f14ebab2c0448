/* SPDX-License-Identifier: Apache-2.0 */
#include "tree-compare.h"
#include "base/fd.h"
#include <dirent.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

/* Everything but the content, as text. Reading a symbolic link changes when it was read, which no
 * flag forbids. */
static char *
describe(int dirfd, const char *name)
{
    struct stat st;
    g_assert_no_errno(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
    if (S_ISLNK(st.st_mode))
        st.st_atim = (struct timespec){0, 0};
    return g_strdup_printf("mode %o owner %u:%u device %u:%u size %ld links %lu "
                           "atime %ld.%09ld mtime %ld.%09ld",
                           st.st_mode, st.st_uid, st.st_gid, major(st.st_rdev), minor(st.st_rdev),
                           S_ISDIR(st.st_mode) ? 0 : (long)st.st_size, (gulong)st.st_nlink,
                           st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec,
                           st.st_mtim.tv_nsec);
}

static char *
xattr_path(int dirfd, const char *name)
{
    return g_strdup_printf("/proc/self/fd/%d/%s", dirfd, *name != '\0' ? name : ".");
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "name=base64" lines, sorted. */
static char *
describe_xattrs(int dirfd, const char *name)
{
    g_autofree char *path = xattr_path(dirfd, name), *list = g_malloc0(65536);
    ssize_t length = llistxattr(path, list, 65536);
    g_assert_no_errno(length);
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    for (char *at = list; at < list + length; at += strlen(at) + 1) {
        if (g_str_has_prefix(at, "trusted.SGI_ACL_"))
            continue; /* the ACL again, as only XFS shows it */
        g_autofree guchar *value = g_malloc(65536);
        ssize_t size = lgetxattr(path, at, value, 65536);
        g_assert_no_errno(size);
        g_autofree char *base64 = g_base64_encode(value, (gsize)size);
        g_ptr_array_add(lines, g_strdup_printf("%s=%s", at, base64));
    }
    g_ptr_array_sort(lines, compare_names);
    g_ptr_array_add(lines, NULL);
    return g_strjoinv("\n", (char **)lines->pdata);
}

static void
compare_content(int a, int b, const char *name)
{
    varve_autofd first = openat(a, name, O_RDONLY | O_NOATIME | O_NOFOLLOW);
    varve_autofd second = openat(b, name, O_RDONLY | O_NOATIME | O_NOFOLLOW);
    struct stat st;
    g_assert_no_errno(fstat(first, &st));
    if (st.st_size == 0)
        return;
    void *x = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, first, 0);
    void *y = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, second, 0);
    g_assert_true(x != MAP_FAILED && y != MAP_FAILED);
    g_assert_cmpint(memcmp(x, y, (size_t)st.st_size), ==, 0);
    munmap(x, (size_t)st.st_size);
    munmap(y, (size_t)st.st_size);
}

static void
compare_links(int a, int b, const char *name)
{
    char x[4097] = {0}, y[4097] = {0};
    g_assert_no_errno(readlinkat(a, name, x, sizeof x - 1));
    g_assert_no_errno(readlinkat(b, name, y, sizeof y - 1));
    g_assert_cmpstr(x, ==, y);
}

GPtrArray *
tree_names(int dirfd)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_NOATIME);
    g_assert_no_errno(fd);
    DIR *dir = fdopendir(fd);
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (!g_str_equal(entry->d_name, ".") && !g_str_equal(entry->d_name, ".."))
            g_ptr_array_add(names, g_strdup(entry->d_name));
    }
    closedir(dir);
    g_ptr_array_sort(names, compare_names);
    return names;
}

static void
compare(int a, int b, const char *name)
{
    g_test_message("comparing '%s'", name);
    g_autofree char *x = describe(a, name), *y = describe(b, name);
    g_assert_cmpstr(x, ==, y);
    g_autofree char *p = describe_xattrs(a, name), *q = describe_xattrs(b, name);
    g_assert_cmpstr(p, ==, q);

    struct stat st;
    g_assert_no_errno(fstatat(a, name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
    if (S_ISREG(st.st_mode)) {
        compare_content(a, b, name);
    } else if (S_ISLNK(st.st_mode)) {
        compare_links(a, b, name);
    } else if (S_ISDIR(st.st_mode) && *name != '\0') {
        varve_autofd first = openat(a, name, O_RDONLY | O_DIRECTORY | O_NOATIME);
        varve_autofd second = openat(b, name, O_RDONLY | O_DIRECTORY | O_NOATIME);
        tree_compare(first, second);
    }
}

void
tree_compare(int a, int b)
{
    compare(a, b, "");
    g_autoptr(GPtrArray) first = tree_names(a), second = tree_names(b);
    g_assert_cmpuint(first->len, ==, second->len);
    for (guint i = 0; i < first->len; i++) {
        g_assert_cmpstr(first->pdata[i], ==, second->pdata[i]);
        compare(a, b, first->pdata[i]);
    }
}
