/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/send.h"
#include "base/fd.h"
#include "driver/transferred.h"
#include <linux/btrfs.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PIPE_SIZE       (1024 * 1024)
#define CANCEL_INTERVAL 100 /* milliseconds */

struct VarveSend {
    VarveSendWhat what;
    int reading, writing;
    const gint *cancelled;
    GThread *thread;
    int failed;
};

/* Version 2 has larger commands, and data as it is on disk. Kernels before 6.0 know neither it nor
 * this file. */
static gboolean
has_version_2(void)
{
    g_autofree char *text = NULL;
    return g_file_get_contents("/sys/fs/btrfs/features/send_stream_version", &text, NULL, NULL) &&
           g_ascii_strtoull(text, NULL, 10) >= 2;
}

/* What is new may share its blocks with what the receiver has, as a copy by reflink does: the
 * kernel looks for those in the subvolumes that it is told of, and in the one that is sent. */
static void
set_arguments(const VarveSend *send, __u64 *before, struct btrfs_ioctl_send_args *args)
{
    *before = send->what.before;
    args->send_fd = send->writing;
    args->parent_root = send->what.before;
    if (!send->what.data) {
        args->flags = BTRFS_SEND_FLAG_NO_FILE_DATA;
        return;
    }
    args->clone_sources = before;
    args->clone_sources_count = send->what.before != 0;
    if (has_version_2()) {
        args->flags = BTRFS_SEND_FLAG_VERSION | BTRFS_SEND_FLAG_COMPRESSED;
        args->version = 2;
    }
}

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
    struct btrfs_ioctl_send_args args = {0};
    __u64 before;
    set_arguments(send, &before, &args);
    send->failed = ioctl(send->what.after, BTRFS_IOC_SEND, &args) < 0 ? errno : 0;
    varve_fd_clear(&send->writing);
    return NULL;
}

VarveSend *
varve_send_begin(const VarveSendWhat *what, const gint *cancelled, GError **error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        varve_error_set_errno(error, errno, "making a pipe");
        return NULL;
    }
    (void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE); /* fewer turns; the system may not allow it */
    VarveSend *send = g_new0(VarveSend, 1);
    *send =
        (VarveSend){.what = *what, .reading = ends[0], .writing = ends[1], .cancelled = cancelled};
    send->thread = g_thread_try_new("btrfs-send", send_all, send, error);
    if (send->thread != NULL)
        return send;
    g_prefix_error(error, "having the kernel send: ");
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

/* --- to a sink -------------------------------------------------------------------------------- */

static gboolean
copy_to_sink(VarveSend *send, const VarveSink *sink, const VarveTreeWatch *watch, GError **error)
{
    g_autofree guint8 *buffer = g_malloc(PIPE_SIZE);
    VarveTransferred sent = varve_transferred_new("sending", watch);
    gssize n;
    while ((n = varve_send_read(send, buffer, PIPE_SIZE, error)) > 0) {
        if (!sink->write(sink->data, buffer, (gsize)n, error) ||
            !varve_transferred_add(&sent, (guint64)n, error))
            return FALSE;
    }
    return n == 0;
}

/* A stream that the kernel breaks off ends as a whole one does; only the kernel tells. */
gboolean
varve_send_all(const VarveSendWhat *what, const VarveSink *sink, const VarveTreeWatch *watch,
               GError **error)
{
    VarveSend *send = varve_send_begin(what, watch->cancelled, error);
    if (send == NULL)
        return FALSE;
    gboolean copied = copy_to_sink(send, sink, watch, error);
    int failed = varve_send_end(send);
    if (copied && failed != 0)
        return varve_error_set_errno(error, failed, "having the kernel send the subvolume");
    return copied;
}
