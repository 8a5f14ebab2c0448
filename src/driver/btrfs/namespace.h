/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_NAMESPACE_H
#define VARVE_DRIVER_BTRFS_NAMESPACE_H

/*
 * The names that a send stream speaks of.
 *
 * A stream turns one subvolume (here: the old one) into another (the new one), by commands whose
 * paths are those at their moment: a directory that stands in the way gets a temporary name
 * ("o257-7-0"), is moved into another one that is to move later, and so on. So its commands are
 * followed on a tree of names, which are entries (entries.h). It holds only those that were
 * mentioned, and the directories on the way to them; a name that comes up for the first time in a
 * directory that the old subvolume has is taken to be there already. When the stream is at its end,
 * every name that it touched knows where it was in the old subvolume and where it is in the new
 * one.
 *
 * Of a directory that was made, or removed, all entries were mentioned, since the stream had to
 * make or remove them one by one. (But see subvolume-names.h.)
 *
 * Format: https://btrfs.readthedocs.io/en/latest/dev/dev-send-stream.html.
 */

#include "driver/btrfs/send-stream.h"
#include "driver/entries.h"

/* Flags of an entry. */
#define VARVE_NAME_MADE   (VARVE_ENTRY_DRIVER << 0) /* for an inode that the stream made */
#define VARVE_NAME_LINKED (VARVE_ENTRY_DRIVER << 1) /* for an inode that had another name then */

/* Carries a command out. VARVE_ERROR_CORRUPT when it cannot be. */
gboolean varve_namespace_apply(VarveEntries *names, const VarveSendCommand *command,
                               GError **error);

/* The name at a path of now, as a command would find it, which may add it and others. */
VarveEntry *varve_namespace_resolve(VarveEntries *names, const char *path, GError **error);

#endif
