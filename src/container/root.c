/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "container/users.h"
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel gives up with EAGAIN when anything is renamed or mounted meanwhile, anywhere. */
#define ATTEMPTS 1000

static int
open_path(int rootfd, const char *path)
{
    const struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                                 .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    int fd = -1;
    for (int i = 0; i < ATTEMPTS; i++) {
        fd = (int)syscall(SYS_openat2, rootfd, path, &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    return fd;
}

char *
varve_root_read_all(int fd, const char *name, gsize max, gsize *size, GError **error)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        varve_error_set_errno(error, errno, "looking at %s", name);
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || st.st_size < 0 || (guint64)st.st_size > max) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                        S_ISREG(st.st_mode) ? "%s is longer than %zu bytes"
                                            : "%s is no regular file of at most %zu bytes",
                        name, max);
        return NULL;
    }
    g_autofree char *text = g_malloc((gsize)st.st_size + 1);
    gsize n = 0;
    while (n < (gsize)st.st_size) {
        gssize got = read(fd, text + n, (gsize)st.st_size - n);
        if (got < 0 && errno != EINTR) {
            varve_error_set_errno(error, errno, "reading %s", name);
            return NULL;
        }
        if (got == 0)
            break;
        n += (gsize)MAX(got, 0);
    }
    text[n] = '\0';
    if (size != NULL)
        *size = n;
    return g_steal_pointer(&text);
}

/* What is a device or fifo is never opened, only looked at: opening may do something, or wait. */
char *
varve_root_read(int rootfd, const char *path, gsize max, GError **error)
{
    varve_autofd place = open_path(rootfd, path);
    if (place < 0 && (errno == ENOENT || errno == ENOTDIR))
        return g_strdup("");
    struct stat st;
    if (place < 0 || fstat(place, &st) < 0) {
        varve_error_set_errno(error, errno, "opening %s in the container", path);
        return NULL;
    }
    char way[64];
    (void)snprintf(way, sizeof way, "/proc/self/fd/%d", place);
    varve_autofd fd = S_ISREG(st.st_mode) ? open(way, O_RDONLY | O_CLOEXEC) : -1;
    if (S_ISREG(st.st_mode) && fd < 0) {
        varve_error_set_errno(error, errno, "opening %s in the container", path);
        return NULL;
    }
    g_autofree char *name = g_strdup_printf("%s in the container", path);
    gsize size;
    char *text = varve_root_read_all(fd >= 0 ? fd : place, name, max, &size, error);
    for (gsize i = 0; text != NULL && i < size; i++)
        if (text[i] == '\0')
            text[i] = '\n';
    return text;
}
