/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_ZFS_DIFF_H
#define VARVE_DRIVER_ZFS_DIFF_H

/* Which paths differ between two snapshots, in ZFS's sense, in time proportional to how many do. */

#include "driver/changes.h"

/* How the files that changed were found. */
typedef enum {
    VARVE_ZFS_DIFF_ASKED,    /* by asking the kernel for the name of each */
    VARVE_ZFS_DIFF_READ,     /* by reading all directories of the snapshot before */
    VARVE_ZFS_DIFF_COMPARED, /* by comparing all files of both */
} VarveZfsDiffWay;

typedef struct {
    const char *before, *after; /* their names */
    int before_fd, after_fd;    /* their root directories, open for reading */
    gint64 taken;               /* when before was taken, in seconds */

    /* No path in them has more bytes than that; 0: it is not known. Set when it was found out: then
     * the next time is faster. */
    guint64 before_longest, after_longest;

    VarveZfsDiffWay way; /* set */
    gboolean always_ask; /* for tests: asks the kernel where that is safe, however slow it is */
} VarveZfsPair;

/* Where after was not made from before, everything is compared. */
gboolean varve_zfs_diff(int control, VarveZfsPair *pair, VarveChangeSink *sink, GError **error);

#endif
