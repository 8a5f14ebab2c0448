/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/send.h"
#include "base/fd.h"
#include <linux/btrfs.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PIPE_SIZE       (256 * 1024)
#define CANCEL_INTERVAL 100 /* milliseconds */

struct VarveSend {
    int after, reading, writing;
    guint64 before;
    const gint *cancelled;
    GThread *thread;
    int failed;
};

/* The kernel sends in one call, which ends when all is written or nobody reads it any more. For the
 * latter it also raises SIGPIPE in the thread that called; and a signal that is handled in it would
 * break the stream off. */
static gpointer
send_all(gpointer data)
{
    VarveSend *send = data;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    struct btrfs_ioctl_send_args args = {
        .send_fd = send->writing,
        .parent_root = send->before,
        .flags = BTRFS_SEND_FLAG_NO_FILE_DATA,
    };
    send->failed = ioctl(send->after, BTRFS_IOC_SEND, &args) < 0 ? errno : 0;
    varve_fd_clear(&send->writing);
    return NULL;
}

VarveSend *
varve_send_begin(int after, guint64 before, const gint *cancelled, GError **error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        varve_error_set_errno(error, errno, "making a pipe");
        return NULL;
    }
    (void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE); /* fewer turns; the system may not allow it */
    VarveSend *send = g_new0(VarveSend, 1);
    *send = (VarveSend){.after = after,
                        .before = before,
                        .reading = ends[0],
                        .writing = ends[1],
                        .cancelled = cancelled};
    send->thread = g_thread_try_new("btrfs-send", send_all, send, error);
    if (send->thread != NULL)
        return send;
    g_prefix_error(error, "reading what changed: ");
    varve_fd_clear(&send->reading);
    varve_fd_clear(&send->writing);
    g_free(send);
    return NULL;
}

gssize
varve_send_read(gpointer data, guint8 *buffer, gsize n, GError **error)
{
    VarveSend *send = data;
    struct pollfd ready = {.fd = send->reading, .events = POLLIN};
    while (poll(&ready, 1, CANCEL_INTERVAL) <= 0) {
        if (!varve_check_cancelled(send->cancelled, error))
            return -1;
    }
    ssize_t got;
    do
        got = read(send->reading, buffer, n);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        varve_error_set_errno(error, errno, "reading the send stream");
    return got;
}

int
varve_send_end(VarveSend *send)
{
    varve_fd_clear(&send->reading);
    g_thread_join(send->thread);
    int failed = send->failed == EPIPE ? 0 : send->failed;
    g_free(send);
    return failed;
}
