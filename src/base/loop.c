/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"
#include "base/fd.h"
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* How often another process may snatch the free device from under us before we call it a failure.
 */
#define MAX_TRIES 64

static int
open_device(int number, char **path, GError **error)
{
    g_autofree char *name = g_strdup_printf("/dev/loop%d", number);
    int fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        varve_error_set_errno(error, errno, "opening %s", name);
    else
        *path = g_steal_pointer(&name);
    return fd;
}

/* Direct I/O keeps the file's content out of the page cache, where the file system on the device
 * has it already; the kernel ignores the flag where the file cannot do it. */
static gboolean
configure(int device, int fd)
{
    struct loop_config config = {
        .fd = (guint32)fd,
        .info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
    };
    return ioctl(device, LOOP_CONFIGURE, &config) == 0;
}

int
varve_loop_attach(int fd, char **path, GError **error)
{
    varve_autofd control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) {
        varve_error_set_errno(error, errno, "opening /dev/loop-control");
        return -1;
    }
    for (int i = 0; i < MAX_TRIES; i++) {
        g_autofree char *name = NULL;
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0) {
            varve_error_set_errno(error, errno, "getting a free loop device");
            return -1;
        }
        int device = open_device(number, &name, error);
        if (device < 0)
            return -1;
        if (configure(device, fd)) {
            *path = g_steal_pointer(&name);
            return device;
        }
        varve_fd_clear(&device);
        if (errno != EBUSY) {
            varve_error_set_errno(error, errno, "attaching the file to %s", name);
            return -1;
        }
    }
    varve_error_set(error, VARVE_ERROR_UNAVAILABLE, "no loop device stayed free for long enough");
    return -1;
}

/* TRUE when the device is attached to the whole of that file. */
static gboolean
is_backed_by(int device, const struct stat *file)
{
    struct loop_info64 info;
    return ioctl(device, LOOP_GET_STATUS64, &info) == 0 && info.lo_device == file->st_dev &&
           info.lo_inode == file->st_ino && info.lo_offset == 0 && info.lo_sizelimit == 0;
}

gboolean
varve_loop_find(int fd, int *device, char **path, GError **error)
{
    *device = -1;
    struct stat file;
    if (fstat(fd, &file) < 0)
        return varve_error_set_errno(error, errno, "reading the file's attributes");

    g_autoptr(GDir) devices = g_dir_open("/sys/block", 0, NULL);
    for (const char *name; devices != NULL && (name = g_dir_read_name(devices)) != NULL;) {
        /* Only attached devices have this file in sysfs; the others need not be opened. */
        g_autofree char *attribute = g_strdup_printf("/sys/block/%s/loop/backing_file", name);
        if (!g_str_has_prefix(name, "loop") || access(attribute, F_OK) < 0)
            continue;
        g_autofree char *node = g_strconcat("/dev/", name, NULL);
        varve_autofd candidate = open(node, O_RDWR | O_CLOEXEC);
        if (candidate < 0 || !is_backed_by(candidate, &file))
            continue; /* gone meanwhile, or another's */
        *device = candidate;
        *path = g_steal_pointer(&node);
        candidate = -1;
        return TRUE;
    }
    return TRUE;
}
