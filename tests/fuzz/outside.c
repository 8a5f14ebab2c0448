/* SPDX-License-Identifier: Apache-2.0 */
#include "outside.h"
#include "base/fd.h"
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static int top = -1;

static void
set_up(void)
{
    char *path = g_dir_make_tmp("varve-fuzz-XXXXXX", NULL);
    g_assert_nonnull(path);
    if (geteuid() == 0) {
        g_assert_no_errno(unshare(CLONE_NEWNS));
        g_assert_no_errno(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
        g_assert_no_errno(mount("tmpfs", path, "tmpfs", 0, "size=256m"));
    }
    top = varve_fd_open_dir(AT_FDCWD, path, NULL);
    g_assert_no_errno(top);
    (void)rmdir(path); /* where nothing is mounted on it, it stays */
    g_assert_no_errno(mkdirat(top, "outside", 0711));
    varve_autofd victim = openat(top, "outside/victim", O_WRONLY | O_CREAT, 0640);
    g_assert_cmpint(write(victim, "untouched", 9), ==, 9);
    g_free(path);
}

int
outside_top(void)
{
    if (top < 0)
        set_up();
    return top;
}

static OutsideLook
look(const char *path)
{
    struct stat st;
    g_assert_no_errno(fstatat(top, path, &st, AT_SYMLINK_NOFOLLOW));
    OutsideLook found;
    memset(&found, 0, sizeof found); /* they are compared as bytes */
    found.inode = st.st_ino;
    found.mode = st.st_mode;
    found.links = st.st_nlink;
    found.uid = st.st_uid;
    found.size = st.st_size;
    found.changed = st.st_ctim;
    return found;
}

Outside
outside_look(void)
{
    Outside outside;
    memset(&outside, 0, sizeof outside);
    outside.directory = look("outside");
    outside.victim = look("outside/victim");
    return outside;
}

void
outside_assert_same(const Outside *before)
{
    Outside now = outside_look();
    g_assert(memcmp(&before->directory, &now.directory, sizeof now.directory) == 0);
    g_assert(memcmp(&before->victim, &now.victim, sizeof now.victim) == 0);
}
