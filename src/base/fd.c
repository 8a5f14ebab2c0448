/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void
varve_fd_clear(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        (void)close(*fd);
        errno = saved;
        *fd = -1;
    }
}

int
varve_fd_open_dir(int dirfd, const char *path, GError **error)
{
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        varve_error_set_errno(error, errno, "opening directory %s", path);
    return fd;
}

int
varve_fd_open_beneath(int dirfd, const char *path, int flags)
{
    const struct open_how how = {
        .flags = (guint64)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
    };
    return (int)syscall(SYS_openat2, dirfd, *path == '\0' ? "." : path, &how, sizeof how);
}

gboolean
varve_fd_is_absent(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP;
}

int
varve_fd_make_dir(int dirfd, const char *path, mode_t mode, GError **error)
{
    gboolean made = mkdirat(dirfd, path, mode) == 0;
    if (!made && errno != EEXIST) {
        varve_error_set_errno(error, errno, "making directory %s", path);
        return -1;
    }
    varve_autofd fd = varve_fd_open_dir(dirfd, path, error);
    if (fd < 0)
        return -1;
    if (made && fchmod(fd, mode) < 0) {
        varve_error_set_errno(error, errno, "setting the mode of directory %s", path);
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

void
varve_fd_enlarge_pipe(int fd)
{
    (void)fcntl(fd, F_SETPIPE_SZ, 1024 * 1024);
}

gssize
varve_fd_read_all(int fd, void *bytes, gsize size, gint64 offset)
{
    gsize done = 0;
    while (done < size) {
        ssize_t n = pread(fd, (guint8 *)bytes + done, size - done, offset + (gint64)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (gsize)n;
    }
    return (gssize)done;
}

gboolean
varve_fd_write_all(int fd, const void *bytes, gsize size, gint64 offset)
{
    for (gsize done = 0; done < size;) {
        const guint8 *rest = (const guint8 *)bytes + done;
        ssize_t n = offset == VARVE_FD_HERE ? write(fd, rest, size - done)
                                            : pwrite(fd, rest, size - done, offset + (gint64)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            return FALSE;
        }
        done += (gsize)n;
    }
    return TRUE;
}

gboolean
varve_fd_is_linked(int fd, int dirfd, const char *name)
{
    struct stat opened, there;
    return fstat(fd, &opened) == 0 && fstatat(dirfd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_dev == there.st_dev && opened.st_ino == there.st_ino;
}

void
varve_fd_set_nocow(int fd)
{
    int flags;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_NOCOW_FL;
        (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
}
