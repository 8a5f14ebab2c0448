/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_SHARED_EXTENTS_H
#define VARVE_BASE_SHARED_EXTENTS_H

/*
 * Where two files share their bytes, because the file system keeps both in one place: a file and
 * what it was in an older snapshot, or what it was copied from by reflink. So a file of which
 * little changed can be compared without reading all of it twice.
 *
 * It is asked by FIEMAP (Documentation/filesystems/fiemap.rst in Linux), which writes out first
 * what is in memory only. Places are believed on btrfs and XFS, which never write to what is
 * shared; elsewhere nothing is known.
 */

#include <glib.h>
#include <sys/types.h>

typedef struct VarveSharedExtents VarveSharedExtents;

/* Of two regular files of one file system, which must stay open; size: how much of them will be
 * looked at. NULL: nothing is known of them, also where it is so little that asking takes about as
 * long as reading. */
VarveSharedExtents *varve_shared_extents_new(int a, int b, off_t size);
void varve_shared_extents_free(VarveSharedExtents *shared);

/* Whether both are known to have the same bytes from at to *end, or to where one ends. FALSE: they
 * may differ, and the next thing that is known is at *end. What is asked for must not go back. */
gboolean varve_shared_extents_same(VarveSharedExtents *shared, off_t at, off_t *end);

/* Whether they share any of their first size bytes. Nothing else is asked of it then. */
gboolean varve_shared_extents_any(VarveSharedExtents *shared, off_t size);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveSharedExtents, varve_shared_extents_free)

#endif
