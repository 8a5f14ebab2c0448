/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "snapshot/internal.h"
#include <linux/limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <varve/transfer.h>

/* Descriptors as ends of a stream. A read that waits for another host is not ended by a signal that
 * its handler wants to be restarted after, so it is waited for in small parts. A write to a pipe
 * waits until all of it is taken, whatever poll() said; the descriptor is not made non-blocking,
 * since others share it. */

#define CANCEL_INTERVAL 100 /* milliseconds */

static gboolean
wait_for(const VarveTransferFile *file, short events, GError **error)
{
    struct pollfd ready = {.fd = file->fd, .events = events};
    const gint *cancelled = file->engine != NULL ? &file->engine->cancelled : NULL;
    do {
        if (!varve_check_cancelled(cancelled, error))
            return FALSE;
    } while (poll(&ready, 1, CANCEL_INTERVAL) <= 0);
    return TRUE;
}

/* No more than there is room for. Older kernels take the flag for no pipe; what is written in
 * one piece (pipe(7), PIPE_BUF) has room when poll() says that there is some. */
static ssize_t
write_pipe(int fd, const guint8 *bytes, gsize size)
{
    const struct iovec piece = {(void *)bytes, size};
    ssize_t n = pwritev2(fd, &piece, 1, -1, RWF_NOWAIT);
    return n >= 0 || errno != EOPNOTSUPP ? n : write(fd, bytes, MIN(size, PIPE_BUF));
}

static ssize_t
write_some(int fd, const guint8 *bytes, gsize size)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -1;
    if (S_ISFIFO(st.st_mode))
        return write_pipe(fd, bytes, size);
    return S_ISSOCK(st.st_mode) ? send(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL)
                                : write(fd, bytes, size);
}

static gboolean
write_file(gpointer data, const void *bytes, gsize size, GError **error)
{
    const VarveTransferFile *file = data;
    for (gsize done = 0; done < size;) {
        if (!wait_for(file, POLLOUT, error))
            return FALSE;
        ssize_t n = write_some(file->fd, (const guint8 *)bytes + done, size - done);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return varve_error_set_errno(error, errno, "writing the stream");
        done += n > 0 ? (gsize)n : 0;
    }
    return TRUE;
}

static gssize
read_file(gpointer data, void *buffer, gsize size, GError **error)
{
    const VarveTransferFile *file = data;
    for (;;) {
        if (!wait_for(file, POLLIN, error))
            return -1;
        ssize_t n = read(file->fd, buffer, size);
        if (n >= 0)
            return n;
        if (errno != EINTR && errno != EAGAIN) {
            varve_error_set_errno(error, errno, "reading the stream");
            return -1;
        }
    }
}

VarveSink
varve_transfer_sink(VarveTransferFile *file)
{
    varve_fd_enlarge_pipe(file->fd);
    return (VarveSink){write_file, file};
}

VarveSource
varve_transfer_source(VarveTransferFile *file)
{
    varve_fd_enlarge_pipe(file->fd);
    return (VarveSource){read_file, file};
}
