/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_RECEIVE_H
#define VARVE_DRIVER_BTRFS_RECEIVE_H

/*
 * Carries out a send stream. It is done here and not by "btrfs receive", since streams come from
 * other hosts: each path is resolved beneath the subvolume that is being made, no link is followed,
 * nothing but regular files is opened, and blocks are shared with the base and the subvolume itself
 * alone. What a subvolume is called in the stream does not matter.
 *
 * A hole that was made in a file that the base has comes as zeros. Where the stream is on a base,
 * zeros written to a file of it become a hole again; in new files zeros are zeros, and holes holes.
 * What chattr(1) sets is not kept, nor when a file was made.
 */

#include "base/stream.h"
#include "base/tree.h"

typedef struct {
    int root; /* the root directory of the subvolume: empty, or as base is, and writable */
    int base; /* -1: none */
    VarveTreeWatch watch;
} VarveReceiveTarget;

/* Reads source up to its end. */
gboolean varve_btrfs_receive(const VarveReceiveTarget *target, const VarveSource *source,
                             GError **error);

#endif
