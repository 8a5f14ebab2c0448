/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_ZFS_IMAGE_H
#define VARVE_DRIVER_ZFS_IMAGE_H

/*
 * A zpool of the pool's own in a sparse file, for hosts that have none.
 *
 * It is imported when the pool is opened, from that very file, and no other device is ever looked
 * at; it stays so, since containers and other processes use it. Several processes that open it at
 * once take turns (a lock on the file). It is not entered in the host's list of zpools to import at
 * boot (cachefile=none). The pool's directory holds its GUID (note.h), which tells whether the file
 * is the pool's; once imported, it is found by the mark on its root dataset, under whatever name.
 */

#include "driver/zfs/zfs.h"

/* Whether this host can make a zpool in a file. */
gboolean varve_zfs_image_probe(const char *file, GError **error);

/* Makes the file, which must not be there, of that size (NULL: 70% of the file system that holds
 * it), and in it a zpool of that name, whose root dataset has the mark. On failure nothing of it is
 * left. VARVE_ERROR_ALREADY_EXISTS when the file or the name is taken. */
VarveZfsImage *varve_zfs_image_make(const VarveDriverHost *host, const char *file, const char *size,
                                    const char *name, const char *uuid, GError **error);

/* Imports it, if it is not imported. VARVE_ERROR_NOT_FOUND when the file is missing,
 * VARVE_ERROR_CORRUPT when it does not hold this pool or is damaged, VARVE_ERROR_ALREADY_EXISTS
 * when another zpool has its name. */
VarveZfsImage *varve_zfs_image_import(const VarveDriverHost *host, const char *file,
                                      const char *name, const char *uuid, GError **error);

/* The zpool's name now, which is that of its root dataset too; belongs to the image. */
const char *varve_zfs_image_get_name(VarveZfsImage *image);

/* Destroys the zpool and deletes the file. VARVE_ERROR_BUSY, and all is as it was, while it is in
 * use. */
gboolean varve_zfs_image_destroy(VarveZfsImage *image, GError **error);

/* Leaves it imported. NULL is allowed. */
void varve_zfs_image_close(VarveZfsImage *image);

#endif
