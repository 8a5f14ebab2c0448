/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_SIGHT_H
#define VARVE_DRIVER_BTRFS_SIGHT_H

/* What a subvolume has at the names of a namespace. No symbolic link is followed. */

#include "base/attributes.h"
#include "driver/btrfs/namespace.h"

/* One of the two subvolumes, through its root directory. The directory that was looked at last
 * stays open, since names come one directory after the other. */
typedef struct {
    int root;
    gboolean old; /* it is the one that names are in by their old place */
    const VarveName *dir;
    int dirfd;
} VarveSight;

VarveSight varve_sight_new(int root, gboolean old);
void varve_sight_clear(VarveSight *sight);

typedef struct {
    gboolean exists;
    VarveFile file; /* until the sight looks at something else */
    struct stat st;
} VarveSeen;

/* Looks at a name; and at any entry of a directory, which the subvolume may not have. */
gboolean varve_sight_look(VarveSight *sight, const VarveName *name, VarveSeen *seen,
                          GError **error);
gboolean varve_sight_look_in(VarveSight *sight, const VarveName *dir, const char *entry,
                             VarveSeen *seen, GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveSight, varve_sight_clear)

#endif
