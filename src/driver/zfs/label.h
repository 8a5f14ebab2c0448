/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_ZFS_LABEL_H
#define VARVE_DRIVER_ZFS_LABEL_H

/* What a file says of the zpool in it, read without ZFS. */

#include "base/error.h"

typedef struct {
    guint64 guid;
    char name[256]; /* the name that the zpool had last */
    gboolean destroyed;
} VarveZfsLabel;

/* VARVE_ERROR_CORRUPT when none of the four labels is whole. */
gboolean varve_zfs_label_read(int fd, VarveZfsLabel *label, GError **error);

#endif
