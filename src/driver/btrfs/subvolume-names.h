/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_SUBVOLUME_NAMES_H
#define VARVE_DRIVER_BTRFS_SUBVOLUME_NAMES_H

/* Names in a subvolume, read from its tree and not from its directories. */

#include "base/error.h"

typedef gboolean (*VarveSubvolumeNameFunc)(const char *name, gpointer data, GError **error);

/* Calls func with every path of an inode, from the root directory of the subvolume that fd is in,
 * without "/" in front. Errors: VARVE_ERROR_INVALID_ARGUMENT when one is too long for the kernel.
 */
gboolean varve_subvolume_inode_paths(int fd, guint64 inode, VarveSubvolumeNameFunc func,
                                     gpointer data, GError **error);

/* Calls func with the name of every subvolume in a directory (its inode), of those that have one
 * still and of those that a snapshot has only the name of; at least with those whose entries are
 * younger than a transaction. Send streams do not speak of them. */
gboolean varve_subvolume_nested_names(int fd, guint64 directory, guint64 younger_than,
                                      VarveSubvolumeNameFunc func, gpointer data, GError **error);

#endif
