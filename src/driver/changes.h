/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_CHANGES_H
#define VARVE_DRIVER_CHANGES_H

/*
 * What drivers share in telling changes (varve/changes.h): how two files are compared, a walk that
 * compares two trees, and one that tells a whole tree as added.
 *
 * A driver whose file system knows what changed asks it for the paths, and asks this file only
 * whether, and in what, such a path differs. So the answer is the same on all of them, whatever a
 * file system counts as a change.
 */

#include "base/attributes.h"
#include "base/tree.h"
#include "driver/driver.h"

/* Where changes go: the caller's function, which may say that it has enough. */
typedef struct {
    VarveChangeFunc func;
    gpointer data;
    const gint *cancelled; /* may be NULL */
    gboolean enough;       /* func returned FALSE without an error: end, and succeed */
} VarveChangeSink;

/* Hands a change over. FALSE: end, with the error set, or with sink->enough. */
gboolean varve_changes_tell(VarveChangeSink *sink, const VarveChange *change, GError **error);

/* A function that ended with sink->enough has succeeded: return this of its result. */
VARVE_SHARED gboolean varve_changes_ended(const VarveChangeSink *sink, gboolean ok);

/* --- order ------------------------------------------------------------------------------------ */

/* Which of two paths comes first, as strcmp does: component by component, by their bytes. */
int varve_changes_order(const char *a, const char *b);

/* Changes that were not found in their order: they are kept, and told when all are there. */
typedef struct VarveChangeList VarveChangeList;

VARVE_SHARED VarveChangeList *varve_change_list_new(void);
VARVE_SHARED void varve_change_list_free(VarveChangeList *list);

/* Keeps a copy. A VarveChangeFunc, so that a sink can end in a list; never fails. */
gboolean varve_change_list_add(const VarveChange *change, gpointer list, GError **error);

/* Sorts them and hands all over. */
VARVE_SHARED gboolean varve_change_list_tell(VarveChangeList *list, VarveChangeSink *sink,
                                             GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveChangeList, varve_change_list_free)

/* --- files (changes-compare.c) ---------------------------------------------------------------- */

/* How much of each file is read at once. */
#define VARVE_COMPARE_PIECE ((off_t)128 * 1024)

typedef enum {
    /* Read files of equal size and modification time, whose content may differ nevertheless.
     * Without it their content counts as equal. (Where sizes are equal and times are not, content
     * is read in any case.) */
    VARVE_COMPARE_CONTENT = 1 << 0,

    /* The same, but only files in the snapshot whose inode changed at since or later. */
    VARVE_COMPARE_TOUCHED = 1 << 1,

    /* The file stands in a layer of overlayfs, which is not mounted: overlayfs's own xattrs
     * (trusted.overlay.*, user.overlay.*) do not count, and those that it keeps for another one
     * (trusted.overlay.overlay.*) count as what a mount shows. */
    VARVE_COMPARE_BEFORE_LAYER = 1 << 2,
    VARVE_COMPARE_AFTER_LAYER = 1 << 3,
} VarveCompareFlags;

/* How to compare: zero for the plain way. */
typedef struct {
    VarveCompareFlags flags;
    struct timespec since; /* for VARVE_COMPARE_TOUCHED, by the clock of the file system */
    const gint *cancelled; /* may be NULL */
} VarveCompare;

/* Sets *what to how the two differ, which are of one type (and, devices, of one number). st:
 * theirs, from lstat. What vanishes meanwhile, differs. */
VARVE_SHARED gboolean varve_changes_compare(VarveFile before, const struct stat *before_st,
                                            VarveFile after, const struct stat *after_st,
                                            const VarveCompare *how, guint *what, GError **error);

/* Its two halves: all but the content, and whether the content is the same (of regular files by
 * their bytes, of symbolic links by their targets, of others always). */
gboolean varve_changes_compare_attributes(VarveFile before, const struct stat *before_st,
                                          VarveFile after, const struct stat *after_st,
                                          const VarveCompare *how, guint *what, GError **error);
gboolean varve_changes_same_content(VarveFile before, const struct stat *before_st, VarveFile after,
                                    const struct stat *after_st, const VarveCompare *how,
                                    gboolean *same, GError **error);

/* What there is under a name. */
typedef struct {
    gboolean exists;
    gboolean mounted; /* something else is mounted on it, and st is of that */
    VarveFile file;
    struct stat st; /* what lstat tells, as far as it is compared */
} VarveFound;

/* Looks at a file; it is no error when there is none. file.name NULL: what the descriptor is open
 * on, mounted or not. */
gboolean varve_changes_look(VarveFile file, VarveFound *found, GError **error);

/* Whether what lstat tells of two files makes them the same type of thing. */
gboolean varve_changes_same_type(const struct stat *before, const struct stat *after);

/* --- further names (changes-names.c) ---------------------------------------------------------- */

/* Adds to a list of changes, without renames, the names in a tree of files that were added or
 * changed under another name: as modified in nothing. Only when a file has more names than the
 * list, the tree is searched. */
gboolean varve_changes_add_names(int after, VarveChangeList *list, const gint *cancelled,
                                 GError **error);

/* --- trees (changes-walk.c) ------------------------------------------------------------------- */

/* Compares two whole trees, of the two directories. before: -1 when there is no parent. What
 * vanishes from after meanwhile is told as deleted or not at all; what is mounted on something of
 * either tree is no part of it, and hides what is there. how may be NULL. */
VARVE_SHARED gboolean varve_changes_walk(int before, int after, const VarveCompare *how,
                                         VarveChangeSink *sink, GError **error);

/* The same of what is under one path in both: anything, or nothing. */
gboolean varve_changes_walk_at(const VarveFound *before, const VarveFound *after, const char *path,
                               const VarveCompare *how, VarveChangeSink *sink, GError **error);

/* Tells name (in dirfd, not followed) with everything in it as added; path is how it is told. */
gboolean varve_changes_add_tree(int dirfd, const char *name, const char *path,
                                VarveChangeSink *sink, GError **error);

#endif
