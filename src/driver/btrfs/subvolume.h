/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_SUBVOLUME_H
#define VARVE_DRIVER_BTRFS_SUBVOLUME_H

/* Subvolumes by descriptor: the ioctls of <linux/btrfs.h>, with errors. No path is walked but a
 * last component in a directory of ours. */

#include "base/error.h"
#include <time.h>

/* Makes an empty subvolume, root directory 0755 of root. Leaves nothing behind when it fails. */
gboolean varve_subvolume_create(int dirfd, const char *name, GError **error);

/* Makes a snapshot of the subvolume that source is the root directory of, writable or read-only.
 * Leaves nothing behind when it fails. */
gboolean varve_subvolume_snapshot(int dirfd, const char *name, int source, gboolean readonly,
                                  GError **error);

/* Does nothing, and costs nothing, when it is so already. */
gboolean varve_subvolume_set_readonly(int fd, gboolean readonly, GError **error);

/* The number by which mount's subvolid= knows it. */
gboolean varve_subvolume_get_id(int fd, guint64 *id, GError **error);

/* Lets the subvolume refer to that many bytes at most; 0: to as many as there are. may_enable:
 * where the file system does not count what its subvolumes refer to, have it begin to
 * (VARVE_ERROR_FAILED_PRECONDITION otherwise). */
gboolean varve_subvolume_set_limit(int fd, guint64 bytes, gboolean may_enable, GError **error);

/* Deletes a subvolume, read-only or not, with every subvolume that was made inside it. Succeeds
 * when there is none. The space is freed by the kernel's cleaner later on. */
gboolean varve_subvolume_delete(int dirfd, const char *name, GError **error);

/* Deletes all subvolumes inside the one with that number. fd: of anything on the file system. */
gboolean varve_subvolume_delete_nested(int fd, guint64 id, GError **error);

/* The last transaction that a subvolume was changed in, or made as a snapshot in; and when anything
 * in it changed last. */
gboolean varve_subvolume_last_change(int fd, guint64 *transid, struct timespec *when,
                                     GError **error);

/* What a subvolume takes; only what it does not have from parent, the root directory of a read-only
 * one (-1: none). Only content that was written back counts. */
gboolean varve_subvolume_usage(int fd, int parent, gint64 *bytes, gint64 *inodes, GError **error);

#endif
