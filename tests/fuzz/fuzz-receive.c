/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Carries the input out as a btrfs send stream, in a directory on a tmpfs of its own; what btrfs
 * alone can do fails there. The first byte says whether there is a base, and in which pieces it is
 * read. Checksums are set right first. Whatever the input is, what lies beside the directory must
 * stay as it is: "outside", which is the base too.
 */

#include "base/fd.h"
#include "base/tree.h"
#include "driver/btrfs/receive.h"
#include "outside.h"
#include "send-source.h"
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static gssize
read_input(gpointer data, void *buffer, gsize size, GError **error)
{
    return send_source_read(data, buffer, size, error);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    int top = outside_top();
    if (size == 0)
        return 0;
    g_autofree guint8 *bytes = g_malloc(size); /* never NULL */
    memcpy(bytes, data + 1, size - 1);
    gsize piece = (data[0] >> 1) == 0 ? G_MAXSIZE : data[0] >> 1;
    SendSource input = {bytes, size - 1, 0, piece};
    send_source_set_checksums(&input);
    g_assert_no_errno(mkdirat(top, "root", 0755));
    varve_autofd root = varve_fd_open_dir(top, "root", NULL);
    varve_autofd base = varve_fd_open_dir(top, "outside", NULL);
    const VarveReceiveTarget target = {root, (data[0] & 1) != 0 ? base : -1, {0}};
    const VarveSource source = {read_input, &input};
    Outside before = outside_look();
    g_autoptr(GError) error = NULL;
    gboolean ok = varve_btrfs_receive(&target, &source, &error);
    g_assert(ok == (error == NULL));

    outside_assert_same(&before);
    g_autoptr(GError) failed = NULL;
    varve_tree_remove(top, "root", NULL, &failed);
    g_assert_no_error(failed);
    return 0;
}
