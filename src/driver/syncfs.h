/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_SYNCFS_H
#define VARVE_DRIVER_SYNCFS_H

/* syncfs of one file system, shared by all who wait for it at the same time. */

#include <glib.h>

typedef struct VarveSyncfs VarveSyncfs;

/* The descriptor is of anything on the file system; it stays the caller's and must outlive this. */
VarveSyncfs *varve_syncfs_new(int fd);
void varve_syncfs_free(VarveSyncfs *self);

/* Returns when everything that was written before the call is on disk. */
gboolean varve_syncfs_wait(VarveSyncfs *self, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveSyncfs, varve_syncfs_free)

#endif
