/* SPDX-License-Identifier: Apache-2.0 */
#include "tree-mutate.h"
#include "base/fd.h"
#include "base/tree.h"
#include "tree-compare.h"
#include "tree-everything.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Paths are relative to the root, which is ".". */
typedef struct {
    int root;
    GRand *numbers;
    GPtrArray *all, *directories, *files; /* of char*; all: but the root; files: regular ones */
} Tree;

static guint
below(Tree *tree, guint limit)
{
    return (guint)g_rand_int_range(tree->numbers, 0, (gint32)limit);
}

/* --- choosing --------------------------------------------------------------------------------- */

static void
scan(Tree *tree, const char *path)
{
    varve_autofd dir = openat(tree->root, path, O_RDONLY | O_DIRECTORY | O_NOATIME);
    g_assert_no_errno(dir);
    g_ptr_array_add(tree->directories, g_strdup(path));
    g_autoptr(GPtrArray) names = tree_names(dir);
    for (guint i = 0; i < names->len; i++) {
        struct stat st;
        g_autofree char *name = g_strconcat(path, "/", names->pdata[i], NULL);
        g_assert_no_errno(fstatat(tree->root, name, &st, AT_SYMLINK_NOFOLLOW));
        if (S_ISDIR(st.st_mode))
            scan(tree, name);
        else if (S_ISREG(st.st_mode))
            g_ptr_array_add(tree->files, g_strdup(name));
        g_ptr_array_add(tree->all, g_steal_pointer(&name));
    }
}

static const char *
one_of(Tree *tree, GPtrArray *paths)
{
    return paths->len > 0 ? paths->pdata[below(tree, paths->len)] : NULL;
}

static char *
some_name(Tree *tree)
{
    static const char *const names[] = {"a",  "b",        "c",         "d",   "a b", "a-",
                                        "a.", "\xff\xfe", "new\nline", "-rf", "\\",  "\x01"};
    guint i = below(tree, G_N_ELEMENTS(names) + 1);
    return i < G_N_ELEMENTS(names) ? g_strdup(names[i]) : g_strnfill(255, 'n');
}

/* A path in some directory, where there may be something or not. */
static char *
some_path(Tree *tree)
{
    g_autofree char *name = some_name(tree);
    return g_strconcat(one_of(tree, tree->directories), "/", name, NULL);
}

/* --- changes ---------------------------------------------------------------------------------- */

/* Each may fail, because there is something already, or nothing. */
typedef void (*Change)(Tree *tree, const char *path);

static void
write_some(Tree *tree, int fd, off_t at, gsize size)
{
    g_autofree guint8 *bytes = g_malloc(size + 1);
    for (gsize i = 0; i < size; i++)
        bytes[i] = (guint8)below(tree, 256);
    g_assert_cmpint(pwrite(fd, bytes, size, at), ==, size);
}

static void
make_file(Tree *tree, const char *path)
{
    varve_autofd fd = openat(tree->root, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    if (fd >= 0)
        write_some(tree, fd, 0, below(tree, 9000));
}

static void
make_directory(Tree *tree, const char *path)
{
    (void)mkdirat(tree->root, path, 0755);
}

static void
make_full_directory(Tree *tree, const char *path)
{
    if (mkdirat(tree->root, path, 0755) == 0) {
        for (int i = 0; i < 3; i++) {
            g_autofree char *name = some_name(tree);
            g_autofree char *inner = g_strconcat(path, "/", name, NULL);
            (i == 1 ? make_directory : make_file)(tree, inner);
        }
    }
}

static void
make_link(Tree *tree, const char *path)
{
    g_autofree char *target = some_name(tree);
    (void)symlinkat(target, tree->root, path);
}

static void
make_node(Tree *tree, const char *path)
{
    static const struct {
        mode_t mode;
        guint minor;
    } nodes[] = {{S_IFIFO | 0600, 0},
                 {S_IFCHR | 0600, 3},
                 {S_IFCHR | 0600, 5},
                 {S_IFBLK | 0600, 3},
                 {S_IFSOCK | 0600, 0}};
    guint i = below(tree, G_N_ELEMENTS(nodes));
    dev_t device = nodes[i].minor > 0 ? makedev(1, nodes[i].minor) : 0;
    (void)mknodat(tree->root, path, nodes[i].mode, device);
}

static void
make_hard_link(Tree *tree, const char *path)
{
    const char *of = one_of(tree, tree->all);
    if (of != NULL)
        (void)linkat(tree->root, of, tree->root, path, 0);
}

static void
take_away(Tree *tree, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_tree_remove(tree->root, path, NULL, &error));
}

/* By another one, of the same type or not. */
static void
replace(Tree *tree, const char *path)
{
    static const Change makers[] = {make_file, make_directory, make_full_directory, make_link,
                                    make_node};
    take_away(tree, path);
    makers[below(tree, G_N_ELEMENTS(makers))](tree, path);
}

static void
move(Tree *tree, const char *path)
{
    g_autofree char *to = some_path(tree);
    (void)renameat(tree->root, path, tree->root, to);
}

static void
move_within(Tree *tree, const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path), *name = some_name(tree);
    g_autofree char *to = g_strconcat(dir, "/", name, NULL);
    (void)renameat(tree->root, path, tree->root, to);
}

static void
move_and_back(Tree *tree, const char *path)
{
    if (renameat2(tree->root, path, tree->root, "./elsewhere", RENAME_NOREPLACE) == 0)
        g_assert_no_errno(renameat(tree->root, "./elsewhere", tree->root, path));
}

static void
exchange(Tree *tree, const char *path)
{
    (void)renameat2(tree->root, path, tree->root, one_of(tree, tree->all), RENAME_EXCHANGE);
}

/* A directory's place is taken by another one, with some of the same names. */
static void
move_and_make_again(Tree *tree, const char *path)
{
    move(tree, path);
    make_full_directory(tree, path);
}

static void
change_mode(Tree *tree, const char *path)
{
    struct stat st;
    if (fstatat(tree->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISLNK(st.st_mode))
        (void)fchmodat(tree->root, path, 0400 | below(tree, 010000), 0);
}

static void
change_owner(Tree *tree, const char *path)
{
    (void)fchownat(tree->root, path, below(tree, 3), below(tree, 3), AT_SYMLINK_NOFOLLOW);
}

static void
change_times(Tree *tree, const char *path)
{
    const struct timespec times[] = {{0, UTIME_OMIT}, {1000 + below(tree, 3), below(tree, 3)}};
    (void)utimensat(tree->root, path, times, AT_SYMLINK_NOFOLLOW);
}

static void
change_xattr(Tree *tree, const char *path)
{
    static const char *const names[] = {"user.one", "user.two", "trusted.three"};
    g_autofree char *full = g_strdup_printf("/proc/self/fd/%d/%s", tree->root, path);
    const char *name = names[below(tree, G_N_ELEMENTS(names))];
    guint8 value = (guint8)below(tree, 4);
    if (value == 0)
        (void)lremovexattr(full, name);
    else
        (void)lsetxattr(full, name, &value, below(tree, 2), 0);
}

static void
change_acl(Tree *tree, const char *path)
{
    g_autofree char *full = g_strdup_printf("/proc/self/fd/%d/%s", tree->root, path);
    if (below(tree, 3) == 0)
        (void)lremovexattr(full, "system.posix_acl_access");
    else
        (void)lsetxattr(full, "system.posix_acl_access", tree_acl, sizeof tree_acl, 0);
}

/* --- changes of files ------------------------------------------------------------------------- */

static void
open_and_close(Tree *tree, const char *path)
{
    varve_autofd fd = openat(tree->root, path, O_WRONLY);
    g_assert_no_errno(fd);
}

static void
overwrite(Tree *tree, const char *path)
{
    varve_autofd fd = openat(tree->root, path, O_WRONLY);
    g_assert_no_errno(fd);
    write_some(tree, fd, below(tree, 9000), 1 + below(tree, 100));
}

static void
write_far(Tree *tree, const char *path)
{
    varve_autofd fd = openat(tree->root, path, O_WRONLY);
    g_assert_no_errno(fd);
    write_some(tree, fd, 100000 * (off_t)below(tree, 8), below(tree, 50));
}

static void
resize(Tree *tree, const char *path)
{
    varve_autofd fd = openat(tree->root, path, O_WRONLY);
    g_assert_no_errno(fd);
    g_assert_no_errno(ftruncate(fd, below(tree, 12000)));
}

/* Something else of the same size, as if it had not been written to since. */
static void
overwrite_secretly(Tree *tree, const char *path)
{
    struct stat st;
    varve_autofd fd = openat(tree->root, path, O_WRONLY);
    g_assert_no_errno(fd);
    g_assert_no_errno(fstat(fd, &st));
    if (st.st_size > 0)
        write_some(tree, fd, below(tree, (guint)st.st_size), 1);
    const struct timespec times[] = {st.st_atim, st.st_mtim};
    g_assert_no_errno(ftruncate(fd, st.st_size));
    g_assert_no_errno(futimens(fd, times));
}

/* The same with a new file, as archivers do it. */
static void
replace_secretly(Tree *tree, const char *path)
{
    struct stat st;
    g_assert_no_errno(fstatat(tree->root, path, &st, 0));
    g_assert_no_errno(unlinkat(tree->root, path, 0));
    varve_autofd fd = openat(tree->root, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    g_assert_no_errno(fd);
    write_some(tree, fd, 0, (gsize)st.st_size);
    g_assert_no_errno(fchown(fd, st.st_uid, st.st_gid));
    g_assert_no_errno(fchmod(fd, st.st_mode & 07777));
    const struct timespec times[] = {st.st_atim, st.st_mtim};
    g_assert_no_errno(futimens(fd, times));
}

/* --- the dice --------------------------------------------------------------------------------- */

typedef enum {
    NEW,  /* done to a name that may be free */
    ANY,  /* to something that is there */
    FILE_ /* to a regular file */
} Object;

static const struct {
    const char *name;
    Object object;
    Change change;
} changes[] = {
    {"make-file", NEW, make_file},
    {"make-directory", NEW, make_directory},
    {"make-full-directory", NEW, make_full_directory},
    {"make-link", NEW, make_link},
    {"make-node", NEW, make_node},
    {"make-hard-link", NEW, make_hard_link},
    {"take-away", ANY, take_away},
    {"replace", ANY, replace},
    {"move", ANY, move},
    {"move-2", ANY, move},
    {"move-within", ANY, move_within},
    {"move-and-back", ANY, move_and_back},
    {"move-and-make-again", ANY, move_and_make_again},
    {"exchange", ANY, exchange},
    {"change-mode", ANY, change_mode},
    {"change-owner", ANY, change_owner},
    {"change-times", ANY, change_times},
    {"change-xattr", ANY, change_xattr},
    {"change-acl", ANY, change_acl},
    {"open-and-close", FILE_, open_and_close},
    {"overwrite", FILE_, overwrite},
    {"write-far", FILE_, write_far},
    {"resize", FILE_, resize},
    {"overwrite-secretly", FILE_, overwrite_secretly},
    {"replace-secretly", FILE_, replace_secretly},
};

static void
change_once(Tree *tree)
{
    guint i = below(tree, G_N_ELEMENTS(changes));
    tree->all = g_ptr_array_new_with_free_func(g_free);
    tree->directories = g_ptr_array_new_with_free_func(g_free);
    tree->files = g_ptr_array_new_with_free_func(g_free);
    scan(tree, ".");
    g_autofree char *new_path = some_path(tree);
    const char *path = changes[i].object == NEW   ? new_path
                       : changes[i].object == ANY ? one_of(tree, tree->all)
                                                  : one_of(tree, tree->files);
    if (path != NULL) {
        g_autofree char *shown = g_strescape(path, NULL);
        g_test_message("%s %s", changes[i].name, shown);
        changes[i].change(tree, path);
    }
    g_ptr_array_unref(tree->all);
    g_ptr_array_unref(tree->directories);
    g_ptr_array_unref(tree->files);
}

void
tree_mutate(int root, GRand *numbers, guint n)
{
    Tree tree = {.root = root, .numbers = numbers};
    for (guint i = 0; i < n; i++)
        change_once(&tree);
}
