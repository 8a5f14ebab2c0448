/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_ZFS_CONTROL_H
#define VARVE_DRIVER_ZFS_CONTROL_H

/*
 * Requests to the kernel's ZFS that libzfs_core has no function for: those that zfs-diff(8) is made
 * of, and the setting of properties.
 *
 * They are ioctls on /dev/zfs with one big structure, zfs_cmd_t (include/sys/zfs_ioctl.h in
 * OpenZFS), which is not installed with the libraries. Of it nine members are used here; their
 * offsets, and the numbers of the requests, are the same in every release from 0.8 to 2.4: the
 * commands of one release work with the module of another one, so that the structure can only grow
 * at its end. That it is one of these releases is checked when the device is opened.
 */

#include "base/error.h"
#include <libnvpair.h>

/* Opens /dev/zfs. VARVE_ERROR_FAILED_PRECONDITION for a module of another age. */
int varve_zfs_control_open(GError **error);

/*
 * Takes a snapshot of a dataset that is there until *keeper is closed, or the process ends, however
 * it does. Whoever mounts it has to unmount it before closing the keeper, since ZFS does not try
 * again to destroy what was mounted. Returns its name; its part after the "@" begins with prefix.
 */
char *varve_zfs_control_snapshot(const char *dataset, const char *prefix, int *keeper,
                                 GError **error);

/* Sets properties of a dataset, to numbers that are as the kernel has them. Returns an errno value.
 */
int varve_zfs_control_set(int control, const char *dataset, nvlist_t *properties);

/* Objects with the numbers first to last. */
typedef struct {
    guint64 first, last;
} VarveZfsRange;

/* The objects in use in the snapshot after that changed since the snapshot before, and some that
 * are stored beside them (they come by blocks of 32): ranges in order. before has to be one that
 * after, or a clone that it is of, was made from; otherwise NULL with *unrelated set. */
GArray *varve_zfs_control_diff(int control, const char *before, const char *after,
                               gboolean *unrelated, GError **error);

/* Sets *next to the first object in use in a snapshot that is not before object; to G_MAXUINT64
 * when there is none. */
gboolean varve_zfs_control_next(int control, const char *snapshot, guint64 object, guint64 *next,
                                GError **error);

typedef enum {
    VARVE_ZFS_OBJECT_FOUND,
    VARVE_ZFS_OBJECT_HIDDEN, /* it may be a file, but the kernel does not find its name */
    VARVE_ZFS_OBJECT_NONE,   /* it has no name */
} VarveZfsObjectKind;

/*
 * Asks for the path of an object of a snapshot, one of them if it has several; it begins with "/".
 *
 * Only for a snapshot in which no path is longer than VARVE_ZFS_SAFE_PATH: the kernel writes the
 * path into zc_value from its end, and does not check that there is room (zfs_obj_to_path_impl in
 * OpenZFS, where that is an assertion, which released modules do without). So with a longer one it
 * overwrites what lies before, in the end memory of others. Extended attributes that are objects
 * have paths, too, which are the file's, "/<xattrdir>/" and their name.
 */
#define VARVE_ZFS_SAFE_PATH (8190 - 12 - 255)
VarveZfsObjectKind varve_zfs_control_path(int control, const char *snapshot, guint64 object,
                                          char **path);

#endif
