/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_CHANGES_H
#define VARVE_DRIVER_BTRFS_CHANGES_H

/* Which paths differ between two read-only subvolumes, of which one was once a snapshot of the
 * other, in time proportional to how many do. */

#include "driver/changes.h"

/* before, after: their root directories. A subvolume inside one of them counts as an empty
 * directory, which is all that a snapshot has of it. */
gboolean varve_btrfs_changes(int before, int after, VarveChangeSink *sink, GError **error);

#endif
