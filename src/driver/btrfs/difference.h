/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_DIFFERENCE_H
#define VARVE_DRIVER_BTRFS_DIFFERENCE_H

/* From the names that a send stream touched to the changes that they make. */

#include "driver/entries.h"

/* Adds the changes between the old and the new subvolume, by their root directories, of a stream
 * that was followed to its end, to the list, in any order. VARVE_ERROR_CORRUPT when the stream and
 * the subvolumes do not agree. */
gboolean varve_btrfs_difference(VarveEntries *names, int before, int after, const gint *cancelled,
                                VarveChangeList *list, GError **error);

#endif
