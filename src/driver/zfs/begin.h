/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_ZFS_BEGIN_H
#define VARVE_DRIVER_ZFS_BEGIN_H

/*
 * What a stream of zfs-send(8) says of itself at its beginning: a dmu_replay_record_t of the type
 * DRR_BEGIN (include/sys/zfs_ioctl.h in OpenZFS). It has the sender's byte order, which its magic
 * number tells. The rest of a stream is read by the kernel alone.
 */

#include "base/error.h"

#define VARVE_ZFS_BEGIN_SIZE 312

typedef struct {
    guint64 to;   /* the guid of the snapshot that it is of */
    guint64 from; /* of the one that it tells the difference to; 0: it is whole */
} VarveZfsBegin;

/* Reads it from so many bytes. VARVE_ERROR_CORRUPT for what is no stream of one file system. */
gboolean varve_zfs_begin_parse(const guint8 *bytes, gsize size, VarveZfsBegin *begin,
                               GError **error);

#endif
