/* SPDX-License-Identifier: Apache-2.0 */
#include "scratch.h"
#include "store/shared-file.h"
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE ((gsize)64 << 10)
#define NAME "shared"

static const struct timespec long_ago[2] = {{1000000000, 0}, {1000000000, 0}};

static void
open_it(VarveSharedFile *file, int dirfd)
{
    g_autoptr(GError) error = NULL;
    varve_shared_file_open(file, dirfd, NAME, SIZE, &error);
    g_assert_no_error(error);
}

/* Where the file in memory is; NULL when it stands in place. */
static char *
target(int dirfd)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d/" NAME, dirfd);
    return g_file_read_link(path, NULL);
}

/* A tmpfs of one's own, which ends with the process's mount namespace. */
static void
other_memory(void)
{
    g_assert_cmpint(mount("tmpfs", "/run", "tmpfs", 0, "size=16m"), ==, 0);
    g_assert_cmpint(mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=16m"), ==, 0);
}

static void
leave_memory(void)
{
    g_assert_cmpint(umount2("/dev/shm", MNT_DETACH), ==, 0);
    g_assert_cmpint(umount2("/run", MNT_DETACH), ==, 0);
}

static void
test_in_place(void)
{
    g_autoptr(Scratch) dir = scratch_new("ext4", 64 << 20);
    VarveSharedFile file = VARVE_SHARED_FILE_INIT, again = VARVE_SHARED_FILE_INIT;
    if (dir == NULL)
        return;
    open_it(&file, dir->fd);
    struct stat st;
    g_assert_cmpint(fstatat(dir->fd, NAME, &st, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_cmpuint(st.st_mode, ==, S_IFREG | 0600);
    g_assert_cmpuint((gsize)st.st_blocks * 512, >=, SIZE);
    open_it(&again, dir->fd);
    varve_shared_file_close(&file);
    varve_shared_file_close(&again);

    /* A link from elsewhere leads to nothing that is ours. */
    g_assert_cmpint(unlinkat(dir->fd, NAME, 0), ==, 0);
    g_assert_cmpint(symlinkat("/etc/passwd", dir->fd, NAME), ==, 0);
    open_it(&file, dir->fd);
    g_assert_null(target(dir->fd));
    varve_shared_file_close(&file);
}

static void
test_in_memory(void)
{
    g_autoptr(Scratch) dir = scratch_new("btrfs", 128 << 20);
    VarveSharedFile file = VARVE_SHARED_FILE_INIT, again = VARVE_SHARED_FILE_INIT;
    if (dir == NULL)
        return;
    other_memory();
    open_it(&file, dir->fd);
    g_autofree char *first = target(dir->fd);
    g_assert_nonnull(first);
    open_it(&again, dir->fd);
    varve_shared_file_close(&file);
    varve_shared_file_close(&again);
    open_it(&file, dir->fd);
    g_autofree char *second = target(dir->fd);
    g_assert_cmpstr(first, ==, second); /* what it says is not lost between two uses */
    varve_shared_file_close(&file);

    /* A copy of the directory has a copy of the link. */
    g_assert_cmpint(mkdirat(dir->fd, "copy", 0700), ==, 0);
    varve_autofd copy = openat(dir->fd, "copy", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(symlinkat(first, copy, NAME), ==, 0);
    open_it(&file, copy);
    g_autofree char *third = target(copy);
    g_assert_cmpstr(first, !=, third);
    varve_shared_file_close(&file);
    leave_memory();
}

static void
test_other_memory(void)
{
    g_autoptr(Scratch) dir = scratch_new("btrfs", 128 << 20);
    g_autoptr(GError) error = NULL;
    VarveSharedFile here = VARVE_SHARED_FILE_INIT, there = VARVE_SHARED_FILE_INIT;
    if (dir == NULL)
        return;
    other_memory();
    open_it(&here, dir->fd);
    other_memory();
    g_assert_false(varve_shared_file_open(&there, dir->fd, NAME, SIZE, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE);
    g_assert_nonnull(strstr(error->message, "mount namespace"));
    varve_shared_file_close(&here);
    open_it(&there, dir->fd);
    varve_shared_file_close(&there);
    leave_memory();
    leave_memory();
}

/* Whether a process other than this one, which sees none of its own, finds a lock there. */
static gboolean
others_see_lock(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
        int fd = open(path, O_RDWR | O_CLOEXEC);
        _exit(fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_RDLCK ? 0 : 1);
    }
    int status;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* LMDB knows by such a lock that others use its file: without it they set it up anew, and what is
 * written is lost. Making another file must not end it, however old this one looks. */
static void
test_locks_stay(void)
{
    g_autoptr(Scratch) dir = scratch_new("btrfs", 128 << 20);
    VarveSharedFile file = VARVE_SHARED_FILE_INIT, other = VARVE_SHARED_FILE_INIT;
    g_autoptr(GError) error = NULL;
    if (dir == NULL)
        return;
    other_memory();
    open_it(&file, dir->fd);
    g_autofree char *path = target(dir->fd);
    varve_autofd fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1};
    g_assert_cmpint(fcntl(fd, F_SETLK, &lock), ==, 0);
    g_assert_true(others_see_lock(path));

    g_assert_cmpint(futimens(fd, long_ago), ==, 0);
    g_assert_true(varve_shared_file_open(&other, dir->fd, "other", SIZE, &error));
    g_assert_true(others_see_lock(path));
    varve_shared_file_close(&other);
    g_assert_true(others_see_lock(path));
    varve_fd_clear(&fd);
    g_assert_false(others_see_lock(path));
    varve_shared_file_close(&file);

    /* It goes when nobody has it open. */
    g_assert_cmpint(utimensat(AT_FDCWD, path, long_ago, 0), ==, 0);
    g_assert_cmpint(unlinkat(dir->fd, "other", 0), ==, 0);
    g_assert_true(varve_shared_file_open(&other, dir->fd, "other", SIZE, &error));
    g_assert_cmpint(access(path, F_OK), <, 0);
    varve_shared_file_close(&other);
    leave_memory();
}

/* Makes one file after the other, which sweeps the folder, until it is killed. */
static pid_t
begin_sweeping(int dirfd)
{
    pid_t pid = fork();
    if (pid == 0)
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (pid == 0) {
        VarveSharedFile file = VARVE_SHARED_FILE_INIT;
        if (!varve_shared_file_open(&file, dirfd, "other", SIZE, NULL) ||
            futimens(file.memory, long_ago) < 0)
            _exit(1);
        varve_shared_file_close(&file);
        (void)unlinkat(dirfd, "other", 0);
    }
    return pid;
}

/* What is opened stays, also when it looked old and others were about to remove it. */
static void
test_swept_while_it_is_opened(void)
{
    g_autoptr(Scratch) dir = scratch_new("btrfs", 128 << 20);
    VarveSharedFile file = VARVE_SHARED_FILE_INIT;
    if (dir == NULL)
        return;
    other_memory();
    pid_t pid = begin_sweeping(dir->fd);
    for (int i = 0; i < 3000; i++) {
        struct stat st;
        open_it(&file, dir->fd);
        g_assert_cmpint(fstat(file.memory, &st), ==, 0);
        g_assert_cmpuint(st.st_nlink, ==, 1);
        g_assert_cmpint(futimens(file.memory, long_ago), ==, 0);
        varve_shared_file_close(&file);
    }
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    int status;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status));
    leave_memory();
}

/* No tmpfs at all, or none with room: in place, as well as that can be done. */
static void
test_no_memory(void)
{
    g_autoptr(Scratch) dir = scratch_new("btrfs", 128 << 20);
    VarveSharedFile file = VARVE_SHARED_FILE_INIT;
    if (dir == NULL)
        return;
    g_assert_cmpint(mount("tmpfs", "/run", "tmpfs", 0, "size=8k"), ==, 0);
    g_assert_cmpint(mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=8k"), ==, 0);
    open_it(&file, dir->fd);
    g_assert_null(target(dir->fd));
    varve_shared_file_close(&file);
    leave_memory();
    open_it(&file, dir->fd);
    varve_shared_file_close(&file);
}

/* The process is killed (SIGBUS) when a page cannot be written. */
static void
test_full(gconstpointer type)
{
    g_autoptr(Scratch) dir = scratch_new(type, 320 << 20);
    VarveSharedFile file = VARVE_SHARED_FILE_INIT;
    static const char block[1 << 16];
    if (dir == NULL)
        return;
    other_memory();
    open_it(&file, dir->fd);
    varve_autofd fd = openat(dir->fd, NAME, O_RDWR | O_CLOEXEC);
    varve_autofd filler = openat(dir->fd, "filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert_true(map != MAP_FAILED);
    for (gsize size = sizeof(block); size > 0; size /= 16) {
        while (write(filler, block, size) > 0)
            continue;
        g_assert_cmpint(errno, ==, ENOSPC);
    }
    for (int round = 0; round < 3; round++) {
        for (gsize i = 0; i < SIZE; i += 4096)
            map[i] = (char)(round + 1);
        g_assert_cmpint(msync(map, SIZE, MS_SYNC), ==, 0);
        sync();
    }
    g_assert_cmpint(munmap(map, SIZE), ==, 0);
    varve_fd_clear(&fd);
    varve_shared_file_close(&file);
    leave_memory();
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    g_test_add_func("/shared-file/in-place", test_in_place);
    g_test_add_func("/shared-file/in-memory", test_in_memory);
    g_test_add_func("/shared-file/other-memory", test_other_memory);
    g_test_add_func("/shared-file/locks-stay", test_locks_stay);
    g_test_add_func("/shared-file/swept-while-it-is-opened", test_swept_while_it_is_opened);
    g_test_add_func("/shared-file/no-memory", test_no_memory);
    g_test_add_data_func("/shared-file/full/ext4", "ext4", test_full);
    g_test_add_data_func("/shared-file/full/xfs", "xfs", test_full);
    g_test_add_data_func("/shared-file/full/btrfs", "btrfs", test_full);
    return g_test_run();
}
