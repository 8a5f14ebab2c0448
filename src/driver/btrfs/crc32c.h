/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_CRC32C_H
#define VARVE_DRIVER_BTRFS_CRC32C_H

/* The checksum of btrfs's superblocks and send streams: Castagnoli's polynomial, reflected
 * (RFC 3720, appendix B.4). */

#include <glib.h>

/* Goes on from crc with n more bytes. Neither what it begins with nor what comes out is inverted:
 * superblocks begin with all bits set and invert the result, send streams begin with 0. */
guint32 varve_crc32c(guint32 crc, const guint8 *bytes, gsize n);

#endif
