/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_ZFS_OBJECTS_H
#define VARVE_DRIVER_ZFS_OBJECTS_H

/* The objects that changed from one snapshot to another, and what became of each. */

#include "driver/zfs/control.h"

typedef enum {
    VARVE_ZFS_OBJECT_NEW, /* the snapshot before has none of that number, as far as is known */
    VARVE_ZFS_OBJECT_SAME,
    VARVE_ZFS_OBJECT_CHANGED,
    VARVE_ZFS_OBJECT_GONE, /* the snapshot after has another one of that number */
} VarveZfsObjectState;

typedef struct VarveZfsObjects VarveZfsObjects;

/* Takes the ranges, which are in order. */
VarveZfsObjects *varve_zfs_objects_new(GArray *ranges);
void varve_zfs_objects_free(VarveZfsObjects *objects);

gsize varve_zfs_objects_count(const VarveZfsObjects *objects);

/* The number of the i-th one. */
guint64 varve_zfs_objects_number(const VarveZfsObjects *objects, gsize i);

/* The first one that is not before number, count() if there is none. */
gsize varve_zfs_objects_from(const VarveZfsObjects *objects, guint64 number);

/* NULL: it did not change. */
guint8 *varve_zfs_objects_state(VarveZfsObjects *objects, guint64 number);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveZfsObjects, varve_zfs_objects_free)

#endif
