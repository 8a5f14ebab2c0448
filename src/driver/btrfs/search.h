/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_SEARCH_H
#define VARVE_DRIVER_BTRFS_SEARCH_H

/* Searches in btrfs's trees, item by item. Items: <linux/btrfs_tree.h>,
 * https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html. */

#include "base/error.h"
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>

/* item has header->len bytes, and any alignment. FALSE, with the error set, ends the search. */
typedef gboolean (*VarveSearchFunc)(const struct btrfs_ioctl_search_header *header,
                                    const guint8 *item, gpointer data, GError **error);

/* Calls func for every item that the key asks for; its nr_items does not count. fd: of anything on
 * the file system, and in the subvolume that tree_id 0 means. */
gboolean varve_btrfs_search(int fd, const struct btrfs_ioctl_search_key *key, VarveSearchFunc func,
                            gpointer data, GError **error);

#endif
