/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_MOUNTS_H
#define VARVE_IMAGE_MOUNTS_H

/*
 * Snapshots that are known by the mounts that present them: from mounts to directories.
 *
 * A tree is read, and most are written, through a mount that nobody else sees. On overlayfs there
 * is a shorter way to write: its upper directory, in which whiteouts are made as overlayfs has
 * them. It is taken while the upper directory is empty and the mount has no option that would give
 * the directory another meaning; else overlayfs does it itself.
 *
 *     mounts.c           what mounts are taken, and how they are opened
 *     mounts-unpack.c    a layer into one
 *     mounts-package.c   a layer from two
 */

#include "snapshot/internal.h"
#include "snapshot/place.h"
#include <varve/mount.h>

/* Opens a snapshot to unpack into. */
gboolean varve_mounts_open_place(VarveEngine *engine, VarveMount *const *mounts, VarvePlace *place,
                                 GError **error);

/* The root of all that a snapshot shows, which is not to be written to; -1 with the error set. */
int varve_mounts_open_tree(VarveEngine *engine, VarveMount *const *mounts, GError **error);

#endif
