/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_ENTRIES_H
#define VARVE_DRIVER_ENTRIES_H

/*
 * The entries of two trees that were made one of the other, as far as they are spoken of: where
 * each was before, and where it is now.
 *
 * A driver whose file system knows which directories and files changed puts in what came, what went
 * and what moved, and marks what may differ. Then all is known that a change is, but for comparing
 * the files themselves, and varve_entries_tell() does that.
 *
 * Of a directory that is in one of the two trees only, all entries have to be put in.
 */

#include "driver/changes.h"

typedef enum {
    /* What it is a name of may have changed, so compare it: but for the bytes of a file that kept
     * its size, or those as well. */
    VARVE_ENTRY_ATTRIBUTES = 1 << 0,
    VARVE_ENTRY_TOUCHED = 1 << 1 | VARVE_ENTRY_ATTRIBUTES,

    VARVE_ENTRY_FILE = 1 << 2,    /* known to be no directory */
    VARVE_ENTRY_MATCHED = 1 << 3, /* inside varve_entries_tell(): match was looked for */
    VARVE_ENTRY_DRIVER = 1 << 8,  /* this one and higher ones are the driver's */
} VarveEntryFlags;

/* A name in a directory. What is beneath a directory moves with it: to take one out, or to give it
 * another place, is to take all that is in it along. */
typedef struct VarveEntry VarveEntry;
struct VarveEntry {
    VarveEntry *parent; /* where it is now; NULL: it is the root, or gone */
    const char *name;   /* NULL: it is gone; of the root: "" */
    VarveEntry *old_parent;
    const char *old_name; /* NULL: it was not there */
    guint flags;
    guint children; /* how many entries are in it now, of those that were spoken of */
    gint64 grown;   /* how much longer their names are, together, than of those that were in it */
    VarveEntry *match; /* what went from where this came, or the other way round */
};

typedef struct VarveEntries VarveEntries;

VARVE_SHARED VarveEntries *varve_entries_new(void);
VARVE_SHARED void varve_entries_free(VarveEntries *entries);

/* All of them (VarveEntry*), the root first. */
VARVE_SHARED const GPtrArray *varve_entries_all(const VarveEntries *entries);
VARVE_SHARED VarveEntry *varve_entries_root(const VarveEntries *entries);

/* What a directory has, and had, under a name; NULL: that was not spoken of. */
VarveEntry *varve_entries_find(const VarveEntries *entries, const VarveEntry *dir,
                               const char *name);
VARVE_SHARED VarveEntry *varve_entries_find_old(const VarveEntries *entries, const VarveEntry *dir,
                                                const char *name);

/* What a directory had under a name; it has it still, unless it is said otherwise, or the directory
 * is gone. */
VARVE_SHARED VarveEntry *varve_entries_old(VarveEntries *entries, VarveEntry *dir,
                                           const char *name);

/* What a directory had under a name, and has no more. */
VarveEntry *varve_entries_gone(VarveEntries *entries, VarveEntry *dir, const char *name);

/* An entry that came. */
VARVE_SHARED VarveEntry *varve_entries_add(VarveEntries *entries, VarveEntry *dir,
                                           const char *name);

/* One leaves the place that it has; one that left gets another place. */
VARVE_SHARED void varve_entries_leave(VarveEntries *entries, VarveEntry *entry);
VARVE_SHARED void varve_entries_place(VarveEntries *entries, VarveEntry *entry, VarveEntry *dir,
                                      const char *name);

/* Its path in the tree as it is now, or was before: "/", "/dir/file". It may be longer than the
 * kernel takes paths. */
VARVE_SHARED char *varve_entry_path(const VarveEntry *entry);
VARVE_SHARED char *varve_entry_old_path(const VarveEntry *entry);

/* Adds the changes to the list, in any order. before, after: the root directories of the two trees,
 * which do not change meanwhile. VARVE_ERROR_CORRUPT when an entry is not where it was said to be.
 */
VARVE_SHARED gboolean varve_entries_tell(VarveEntries *entries, int before, int after,
                                         const VarveCompare *how, VarveChangeList *list,
                                         GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveEntries, varve_entries_free)

/* --- looking at them (entries-sight.c) -------------------------------------------------------- */

/* One of the two trees, through its root directory. The directory that was looked at last stays
 * open, since entries come one directory after the other. */
typedef struct {
    int root;
    gboolean old;
    const VarveEntry *dir;
    int dirfd;
} VarveEntrySight;

VARVE_SHARED VarveEntrySight varve_entry_sight_new(int root, gboolean old);
VARVE_SHARED void varve_entry_sight_clear(VarveEntrySight *sight);

/* Looks at an entry, which the tree must have: otherwise VARVE_ERROR_CORRUPT. found->file lives
 * until the sight looks at something else. */
VARVE_SHARED gboolean varve_entry_sight_look(VarveEntrySight *sight, const VarveEntry *entry,
                                             VarveFound *found, GError **error);

/* Looks for a name in a directory, which the tree must have; the name need not be there. */
gboolean varve_entry_sight_look_in(VarveEntrySight *sight, const VarveEntry *dir, const char *name,
                                   VarveFound *found, GError **error);

/* Opens a directory (O_PATH), which the tree must have. */
VARVE_SHARED gboolean varve_entry_sight_open(VarveEntrySight *sight, const VarveEntry *dir,
                                             GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveEntrySight, varve_entry_sight_clear)

#endif
