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
gboolean varve_changes_ended(const VarveChangeSink *sink, gboolean ok);

typedef enum {
    /* Read files of equal size and times whose content may differ nevertheless. Without it their
     * content counts as equal when size and modification time are. */
    VARVE_COMPARE_CONTENT = 1 << 0,
} VarveCompareFlags;

/* Sets *what to how the two differ, which are of one type (and, devices, of one number). st:
 * theirs, from lstat. */
gboolean varve_changes_compare(VarveFile before, const struct stat *before_st, VarveFile after,
                               const struct stat *after_st, VarveCompareFlags flags, guint *what,
                               GError **error);

/* Whether what lstat tells of two files makes them the same type of thing. */
gboolean varve_changes_same_type(const struct stat *before, const struct stat *after);

/* Compares two whole trees, of the two directories. before: -1 when there is no parent. */
gboolean varve_changes_walk(int before, int after, VarveCompareFlags flags, VarveChangeSink *sink,
                            GError **error);

/* Tells name (in dirfd, not followed) with everything in it as added; path is how it is told. */
gboolean varve_changes_add_tree(int dirfd, const char *name, const char *path,
                                VarveChangeSink *sink, GError **error);

#endif
