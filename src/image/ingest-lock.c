/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "image/content-internal.h"
#include <sys/file.h>

/* Who writes a file has a lock on it. */

#define FIRST_WAIT   1000 /* microseconds between two looks at another's lock */
#define LONGEST_WAIT 50000

/* Waits by looking again and again, so that it can be cancelled. */
static gboolean
lock_file(int fd, const gint *cancelled, GError **error)
{
    gulong wait = FIRST_WAIT;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return varve_error_set_errno(error, errno, "locking it");
        if (!varve_check_cancelled(cancelled, error))
            return FALSE;
        g_usleep(wait);
        wait = MIN(wait * 2, LONGEST_WAIT);
    }
    return TRUE;
}

int
varve_ingest_open_locked(int dirfd, const char *name, const gint *cancelled, GError **error)
{
    for (;;) {
        varve_autofd fd = openat(dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            varve_error_set_errno(error, errno, "opening its file");
            return -1;
        }
        if (!lock_file(fd, cancelled, error))
            return -1;
        if (varve_fd_is_linked(fd, dirfd, name)) {
            int locked = fd;
            fd = -1;
            return locked;
        }
    }
}
