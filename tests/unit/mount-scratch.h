/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_MOUNT_SCRATCH_H
#define VARVE_TESTS_MOUNT_SCRATCH_H

/* A place for tests that mount: a tmpfs in a mount namespace of the test's own, so that whatever
 * happens, mounts, files and loop devices are gone when the process is. */

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static char *scratch;

/* Why there is no scratch, or NULL when there is. */
static inline const char *
scratch_init(void)
{
    if (geteuid() != 0)
        return "needs root";
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return "needs a mount namespace of its own";
    scratch = g_dir_make_tmp("varve-test-XXXXXX", NULL);
    if (scratch == NULL || mount("tmpfs", scratch, "tmpfs", 0, "size=1g") < 0)
        return "needs a tmpfs";
    return NULL;
}

/* Call it last; a test that failed leaves an empty directory in the temporary folder. */
static inline void
scratch_clear(void)
{
    if (scratch != NULL && (umount2(scratch, MNT_DETACH) < 0 || rmdir(scratch) < 0))
        g_test_message("leaving %s", scratch);
    g_free(scratch);
}

/* A new directory in it. */
static inline char *
scratch_dir(const char *name)
{
    char *path = g_build_filename(scratch, name, NULL);
    g_assert_cmpint(g_mkdir(path, 0755), ==, 0);
    return path;
}

/* With plain writes: GLib's own function reserves whole blocks. */
static inline void
write_file(const char *dir, const char *name, const char *content)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    int fd = g_open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, content, strlen(content)), ==, (ssize_t)strlen(content));
    g_assert_cmpint(close(fd), ==, 0);
}

static inline void
assert_file(const char *dir, const char *name, const char *content)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autofree char *found = NULL;
    g_file_get_contents(path, &found, NULL, NULL);
    g_assert_cmpstr(found, ==, content);
}

/* What making a file in the directory fails with; 0 when it does not. */
static inline int
try_write(const char *dir)
{
    g_autofree char *path = g_build_filename(dir, "try-write", NULL);
    int fd = g_open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    int result = fd < 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
        g_unlink(path);
    }
    return result;
}

#endif
