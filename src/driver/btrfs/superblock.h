/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_SUPERBLOCK_H
#define VARVE_DRIVER_BTRFS_SUPERBLOCK_H

/* What a file or device says of itself, read without mounting it. */

#include "base/error.h"

/* The UUID of the btrfs in a file, as varve_btrfs_format_uuid() has it. VARVE_ERROR_CORRUPT when
 * there is none, or its superblock is damaged. */
char *varve_btrfs_read_uuid(int fd, GError **error);

/* 16 bytes as "01234567-89ab-cdef-0123-456789abcdef". */
char *varve_btrfs_format_uuid(const guint8 *bytes);

#endif
