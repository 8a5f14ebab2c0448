/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/syncfs.h"
#include "base/batch.h"
#include "base/error.h"
#include <unistd.h>

struct VarveSyncfs {
    int fd;
    VarveBatch *batch;
};

/* The items are ints, which get an errno value or 0. The kernel tells a failed write-back once per
 * descriptor, so whoever waited for it must hear of it from this one call. */
static void
sync_all(gpointer *items, gsize n, gpointer data)
{
    const VarveSyncfs *self = data;
    int result = syncfs(self->fd) < 0 ? errno : 0;
    for (gsize i = 0; i < n; i++)
        *(int *)items[i] = result;
}

VarveSyncfs *
varve_syncfs_new(int fd)
{
    VarveSyncfs *self = g_new0(VarveSyncfs, 1);
    self->fd = fd;
    self->batch = varve_batch_new(sync_all, self);
    return self;
}

void
varve_syncfs_free(VarveSyncfs *self)
{
    if (self == NULL)
        return;
    varve_batch_free(self->batch);
    g_free(self);
}

gboolean
varve_syncfs_wait(VarveSyncfs *self, GError **error)
{
    int result = 0;
    varve_batch_submit(self->batch, &result);
    return result == 0 || varve_error_set_errno(error, result, "syncing the file system to disk");
}
