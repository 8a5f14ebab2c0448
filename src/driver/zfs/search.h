/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_ZFS_SEARCH_H
#define VARVE_DRIVER_ZFS_SEARCH_H

/*
 * The search for the objects that changed: where the snapshot before has them, and whether they are
 * the same in the snapshot after.
 *
 * A number alone does not say what an object is, since the numbers of files that are gone are given
 * to new ones. What does is the number with the transaction group in which the object was made,
 * which are what ZFS has for a file handle (zfs_fid in OpenZFS). So a file is taken by its name
 * from the one snapshot, and by its handle from the other.
 *
 * The kernel can be asked for the name of an object (search-kernel.c), which takes as long as the
 * change is large. But it must not be asked of a snapshot with very long paths, and does not know
 * all names; then the directories are read (search-walk.c), which takes a small part of the time
 * that comparing the trees would.
 */

#include "base/listing.h"
#include "driver/entries.h"
#include "driver/zfs/diff.h"
#include "driver/zfs/objects.h"

typedef struct {
    VarveZfsPair *pair;
    int control;
    const gint *cancelled;
    VarveZfsObjects *objects;
    VarveEntries *entries;
    GPtrArray *dirs;    /* of VarveEntry: directories of both snapshots that changed */
    GHashTable *linked; /* guint64* to VarveZfsLinks: files that changed and have several names */
    gboolean all_names; /* all names that these had are in entries */
} VarveZfsSearch;

typedef struct {
    guint32 count;    /* of the names in the snapshot after */
    GPtrArray *names; /* of VarveEntry: those that are known, of either snapshot */
} VarveZfsLinks;

/* Takes the ranges of varve_zfs_control_diff(). */
void varve_zfs_search_init(VarveZfsSearch *search, int control, VarveZfsPair *pair, GArray *ranges,
                           const gint *cancelled);
void varve_zfs_search_clear(VarveZfsSearch *search);

/* Finds out the state of every object, and adds an entry for each that is changed, marked as
 * touched: all names of a file, if all_names is set then, else at least one. */
gboolean varve_zfs_search(VarveZfsSearch *search, GError **error);

/* The same by reading all directories. Sets pair->before_longest. (search-walk.c) */
gboolean varve_zfs_search_everywhere(VarveZfsSearch *search, GError **error);

/* The same by asking the kernel; sets *hidden when it does not know all. (search-kernel.c) */
gboolean varve_zfs_search_by_kernel(VarveZfsSearch *search, gboolean *hidden, GError **error);

/* --- objects (search.c) ----------------------------------------------------------------------- */

/* The state of what the directory, of the snapshot before, has under the name; "": the directory
 * itself. Never NEW. */
gboolean varve_zfs_search_state(VarveZfsSearch *search, int dirfd, const char *name, guint64 object,
                                VarveZfsObjectState *state, GError **error);

/* Whether that is a changed one, of which the entry is wanted. */
gboolean varve_zfs_search_wants(VarveZfsSearch *search, int dirfd, const VarveListingEntry *found,
                                gboolean *wanted, GError **error);

/* Takes that entry. */
void varve_zfs_search_touch(VarveZfsSearch *search, VarveEntry *entry, guint64 object,
                            gboolean is_dir);

/* What says which file there is under the name ("": the directory itself), whichever path it has;
 * to be freed with g_free(). NULL with errno set. */
struct file_handle *varve_zfs_search_handle(int dirfd, const char *name);

/* Opens it in the snapshot after; -1 with errno set, ESTALE if that does not have it. */
int varve_zfs_search_open(const VarveZfsSearch *search, struct file_handle *handle, int flags);

/* Both: opens in the snapshot after what the one before has under the name. */
int varve_zfs_search_counterpart(const VarveZfsSearch *search, int dirfd, const char *name,
                                 int flags);

/* Whether an entry of a listing is a directory. */
gboolean varve_zfs_search_is_dir(int dirfd, const VarveListingEntry *found);

#endif
