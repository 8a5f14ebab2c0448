/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/send.h"
#include "base/error.h"
#include "driver/piped.h"
#include <linux/btrfs.h>
#include <sys/ioctl.h>

struct VarveSend {
    VarveSendWhat what;
    VarvePiped *piped;
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
add_data(struct btrfs_ioctl_send_args *args, __u64 *before)
{
    args->flags = 0;
    args->clone_sources = before;
    args->clone_sources_count = *before != 0;
    if (has_version_2()) {
        args->flags = BTRFS_SEND_FLAG_VERSION | BTRFS_SEND_FLAG_COMPRESSED;
        args->version = 2;
    }
}

/* The kernel sends in one call, which ends when all is written or nobody reads it any more. */
static int
send_all(int fd, gpointer data)
{
    const VarveSendWhat *what = data;
    __u64 before = what->before;
    struct btrfs_ioctl_send_args args = {
        .send_fd = fd,
        .parent_root = before,
        .flags = BTRFS_SEND_FLAG_NO_FILE_DATA,
    };
    if (what->data)
        add_data(&args, &before);
    return ioctl(what->after, BTRFS_IOC_SEND, &args) < 0 ? errno : 0;
}

VarveSend *
varve_send_begin(const VarveSendWhat *what, const gint *cancelled, GError **error)
{
    VarveSend *send = g_new0(VarveSend, 1);
    send->what = *what;
    send->piped = varve_piped_begin("btrfs-send", send_all, &send->what, cancelled, error);
    if (send->piped != NULL)
        return send;
    g_prefix_error(error, "having the kernel send: ");
    g_free(send);
    return NULL;
}

gssize
varve_send_read(gpointer data, guint8 *buffer, gsize n, GError **error)
{
    VarveSend *send = data;
    return varve_piped_read(send->piped, buffer, n, error);
}

int
varve_send_end(VarveSend *send)
{
    int failed = varve_piped_end(send->piped);
    g_free(send);
    return failed;
}

gboolean
varve_send_all(const VarveSendWhat *what, const VarveSink *sink, const VarveTreeWatch *watch,
               GError **error)
{
    int failed = 0;
    if (!varve_piped_send("btrfs-send", send_all, (gpointer)what, sink, watch, &failed, error))
        return FALSE;
    return failed == 0 ||
           varve_error_set_errno(error, failed, "having the kernel send the subvolume");
}
