/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_WALK_H
#define VARVE_BASE_WALK_H

/*
 * A walk over a directory tree, for the files that implement tree.h. The caller decides what to
 * enter:
 *
 *     while (varve_walk_next(walk, &entry, error)) {
 *         if (entry.name == NULL)      the directory is at its end: leave it, or be done
 *         else                         work on entry.name beneath varve_walk_fd(walk);
 *                                      varve_walk_enter() it to see what is in it next
 *     }
 *
 * The names of a directory are read piece by piece, so that memory does not depend on how many
 * there are; what was seen may be removed meanwhile. Descriptors are bounded (dirstack.h).
 */

#include "base/dirstack.h"
#include "base/tree.h"

typedef struct VarveWalk VarveWalk;

typedef struct {
    const char *name;   /* lives until its directory is left or asked for the next one; NULL at the
                           end of a directory */
    unsigned char type; /* DT_DIR, DT_REG, ...; never DT_UNKNOWN */
} VarveWalkEntry;

/* Begins with a directory; name is opened beneath dirfd. watch may be NULL; verb is what progress
 * calls the work ("removing"). NULL with the error set. */
VarveWalk *varve_walk_new(int dirfd, const char *name, const char *verb,
                          const VarveTreeWatch *watch, GError **error);
void varve_walk_free(VarveWalk *walk);

/* FALSE only on an error. */
gboolean varve_walk_next(VarveWalk *walk, VarveWalkEntry *entry, GError **error);

/* The directory that the walk is in, and how deep that is: 0 for the first one. */
int varve_walk_fd(const VarveWalk *walk);
gsize varve_walk_depth(const VarveWalk *walk);

/* Enters a directory. Returns 0, or an errno value as varve_dirstack_push() does: then the walk is
 * where it was. */
int varve_walk_enter(VarveWalk *walk, const char *name);

/* Leaves a directory; not for the first one. *name, which may be NULL, is set to its name in the
 * directory that the walk is in then. */
gboolean varve_walk_leave(VarveWalk *walk, const char **name, GError **error);

/* The path of a name in the current directory, from the first directory on. It may be too long for
 * the kernel. */
char *varve_walk_path(const VarveWalk *walk, const char *name);

/* The place of a name in the current directory, for messages: printable, and shortened in front.
 * name may be NULL: the directory itself. */
char *varve_walk_place(const VarveWalk *walk, const char *name);

/* A path for messages: printable, and shortened in front. */
char *varve_walk_printable(const char *path);

/* Counts work that was done; fails when it is to end. */
gboolean varve_walk_count(VarveWalk *walk, guint64 files, guint64 bytes, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveWalk, varve_walk_free)

#endif
