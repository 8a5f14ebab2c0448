/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_IMAGE_H
#define VARVE_DRIVER_BTRFS_IMAGE_H

/*
 * A btrfs of the pool's own in a sparse file, for hosts that have none.
 *
 *     <pool>/fsid      the file system's UUID: tells whether the file is this pool's
 *     <pool>/mnt       where it is mounted
 *
 * It is mounted when the pool is opened and stays so, since containers and other processes use it;
 * several processes that open it at once take turns (a lock on the file). Unmounting it, as a
 * shutdown does, also detaches its loop device.
 */

#include "driver/driver.h"

typedef struct VarveBtrfsImage VarveBtrfsImage;

/* Whether the directory, or where it is missing the one that would hold it, is on btrfs. */
gboolean varve_btrfs_check_path(const char *path, GError **error);

/* Whether this host can make a file system in a file, and mount it. */
gboolean varve_btrfs_image_probe(const char *file, GError **error);

/* Mounts the file system, if it is not mounted. fresh: makes it first, in a file that must not be
 * there, of that size (NULL: 70% of the file system that holds it). VARVE_ERROR_NOT_FOUND when the
 * file is missing, VARVE_ERROR_CORRUPT when it does not hold this pool or is damaged. */
VarveBtrfsImage *varve_btrfs_image_open(const VarveDriverHost *host, const char *file,
                                        gboolean fresh, const char *size, GError **error);

/* The root directory of the file system; belongs to the image. */
int varve_btrfs_image_get_root(VarveBtrfsImage *image);

/* Unmounts it and deletes the file. VARVE_ERROR_BUSY, and all is as it was, while it is in use. */
gboolean varve_btrfs_image_destroy(VarveBtrfsImage *image, GError **error);

/* Leaves it mounted. NULL is allowed. */
void varve_btrfs_image_close(VarveBtrfsImage *image);

#endif
