/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"
#include <poll.h>
#include <unistd.h>
#include <varve/transfer.h>

/* Descriptors as ends of a stream. A read that waits for another host is not ended by a signal that
 * its handler wants to be restarted after, so it is waited for in small parts. */

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

static gboolean
write_file(gpointer data, const void *bytes, gsize size, GError **error)
{
    const VarveTransferFile *file = data;
    for (gsize done = 0; done < size;) {
        if (!wait_for(file, POLLOUT, error))
            return FALSE;
        ssize_t n = write(file->fd, (const guint8 *)bytes + done, size - done);
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
    return (VarveSink){write_file, file};
}

VarveSource
varve_transfer_source(VarveTransferFile *file)
{
    return (VarveSource){read_file, file};
}
