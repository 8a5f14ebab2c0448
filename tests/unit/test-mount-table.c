/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted where. Mounts need root, and are made in a namespace of their own. */
#include "base/mount-table.h"
#include "scratch.h"
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void
mount_tmpfs(const char *at)
{
    g_assert_cmpint(mkdir(at, 0755), ==, 0);
    g_assert_cmpint(mount("tmpfs", at, "tmpfs", 0, NULL), ==, 0);
}

static void
bind(const char *from, const char *to)
{
    g_assert_cmpint(mkdir(to, 0755), ==, 0);
    g_assert_cmpint(mount(from, to, NULL, MS_BIND, NULL), ==, 0);
}

static gboolean
is_point(const char *path)
{
    gboolean is;
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_mount_is_point(path, &is, &error));
    g_assert_no_error(error);
    return is;
}

static VarveMountEntry *
entry_at(const char *point)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) table = varve_mount_table_read("self", &error);
    g_assert_no_error(error);
    const VarveMountEntry *entry = varve_mount_table_find(table, point);
    return entry != NULL ? varve_mount_entry_copy(entry) : NULL;
}

static void
test_points(void)
{
    g_autoptr(Scratch) scratch = scratch_need_root() ? scratch_new("tmpfs", 1 << 20) : NULL;
    if (scratch == NULL)
        return;
    g_autofree char *odd = g_build_filename(scratch->path, "a \t\\b\nc", NULL);
    g_autofree char *link = g_build_filename(scratch->path, "link", NULL);
    g_autofree char *missing = g_build_filename(odd, "missing", NULL);
    g_assert_false(is_point(odd));
    g_assert_null(entry_at(odd));
    mount_tmpfs(odd);
    g_assert_cmpint(symlink(odd, link), ==, 0);
    g_assert_true(is_point(odd));
    g_assert_false(is_point(link)); /* it is not followed */
    g_assert_false(is_point(missing));
    g_assert_true(is_point(scratch->path));

    g_autoptr(VarveMountEntry) entry = entry_at(odd);
    g_assert_nonnull(entry);
    g_assert_cmpstr(entry->point, ==, odd);
    g_assert_cmpstr(entry->root, ==, "/");
    g_assert_false(entry->read_only);

    /* The one on top is the one that is there. */
    g_assert_cmpint(mount("tmpfs", odd, "tmpfs", MS_RDONLY, "size=64k"), ==, 0);
    g_autoptr(VarveMountEntry) upper = entry_at(odd);
    g_autofree char *size = varve_mount_entry_option(upper, "size");
    g_assert_true(upper->read_only);
    g_assert_cmpstr(size, ==, "64k");
    g_assert_null(varve_mount_entry_option(upper, "siz"));
    g_assert_cmpuint(upper->id, !=, entry->id);
    g_assert_cmpint(umount(odd), ==, 0);
    g_assert_true(is_point(odd));
    g_assert_cmpint(umount(odd), ==, 0);
    g_assert_false(is_point(odd));
}

static void
assert_other(const VarveMountEntry *entry, const char *except, const char *text)
{
    g_autofree char *other = varve_mount_table_find_other(entry, except);
    if (text == NULL)
        g_assert_null(other);
    else if (other == NULL || strstr(other, text) == NULL)
        g_error("'%s' is not in: %s", text, other != NULL ? other : "(nothing)");
}

static void
test_other_places(void)
{
    g_autoptr(Scratch) scratch = scratch_need_root() ? scratch_new("tmpfs", 1 << 20) : NULL;
    if (scratch == NULL)
        return;
    g_autofree char *here = g_build_filename(scratch->path, "here", NULL);
    g_autofree char *inner = g_build_filename(here, "inner", NULL);
    g_autofree char *alike = g_build_filename(here, "inner2", NULL);
    g_autofree char *there = g_build_filename(scratch->path, "there", NULL);
    mount_tmpfs(here);
    g_autoptr(VarveMountEntry) entry = entry_at(here);
    assert_other(entry, here, NULL);

    g_assert_cmpint(mkdir(inner, 0755), ==, 0);
    g_assert_cmpint(mkdir(alike, 0755), ==, 0);
    bind(inner, there); /* something in it counts */
    assert_other(entry, here, there);
    g_autoptr(VarveMountEntry) part = entry_at(there);
    g_assert_cmpstr(part->root, ==, "/inner");
    g_assert_cmpint(umount(there), ==, 0);
    assert_other(entry, here, NULL);

    /* What only begins with the same letters is something else. */
    g_assert_cmpint(mount(alike, there, NULL, MS_BIND, NULL), ==, 0);
    assert_other(part, there, NULL);
    g_assert_cmpint(umount(there), ==, 0);
    g_assert_cmpint(umount(here), ==, 0);
}

/* A child in a namespace of its own, with the directory bound where it is not in ours. Returns when
 * it is. */
static pid_t
bind_in_child(const char *from, const char *to, int *end)
{
    int ready[2], wait[2];
    char byte;
    g_assert_cmpint(pipe(ready), ==, 0);
    g_assert_cmpint(pipe(wait), ==, 0);
    pid_t child = fork();
    if (child == 0) {
        close(wait[1]);
        if (unshare(CLONE_NEWNS) < 0 || (to != NULL && mount(from, to, NULL, MS_BIND, NULL) < 0) ||
            write(ready[1], "r", 1) != 1 || read(wait[0], &byte, 1) < 0)
            _exit(1);
        _exit(0);
    }
    close(wait[0]);
    g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
    close(ready[0]);
    close(ready[1]);
    *end = wait[1];
    return child;
}

static void
end_child(pid_t child, int end)
{
    int status;
    close(end);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);
}

static void
test_other_namespaces(void)
{
    g_autoptr(Scratch) scratch = scratch_need_root() ? scratch_new("tmpfs", 1 << 20) : NULL;
    if (scratch == NULL)
        return;
    int end;
    g_autofree char *here = g_build_filename(scratch->path, "here", NULL);
    g_autofree char *there = g_build_filename(scratch->path, "there", NULL);
    g_assert_cmpint(mkdir(there, 0755), ==, 0);
    mount_tmpfs(here);
    g_autoptr(VarveMountEntry) entry = entry_at(here);

    pid_t child = bind_in_child(here, NULL, &end); /* it has but a copy of our mounts */
    assert_other(entry, here, NULL);
    end_child(child, end);

    child = bind_in_child(here, there, &end);
    g_autofree char *process = g_strdup_printf("of process %d (", (int)child);
    assert_other(entry, here, process);
    assert_other(entry, here, there);
    end_child(child, end);
    assert_other(entry, here, NULL);
    g_assert_cmpint(umount(here), ==, 0);
}

int
main(int argc, char **argv)
{
    scratch_init();
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mount-table/points", test_points);
    g_test_add_func("/mount-table/other-places", test_other_places);
    g_test_add_func("/mount-table/other-namespaces", test_other_namespaces);
    return g_test_run();
}
