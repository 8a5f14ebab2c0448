/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_ZFS_NOTE_H
#define VARVE_DRIVER_ZFS_NOTE_H

/*
 * What the pool's directory holds, since the snapshots are elsewhere: small files of one line.
 *
 *     <pool>/uuid    the value of the base's property org.varve:pool
 *     <pool>/guid    of a zpool in a file: by which ZFS knows it, whatever its name
 */

#include "driver/driver.h"

/* Durable when it returns. */
gboolean varve_zfs_note_write(const VarveDriverHost *host, const char *name, const char *value,
                              GError **error);

/* VARVE_ERROR_NOT_FOUND when it is missing. */
char *varve_zfs_note_read(const VarveDriverHost *host, const char *name, GError **error);

/* A failure is logged. */
void varve_zfs_note_delete(const VarveDriverHost *host, const char *name);

#endif
