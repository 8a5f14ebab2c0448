/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_DIRSTACK_H
#define VARVE_BASE_DIRSTACK_H

/*
 * A way down a directory tree, of any depth, with a bounded number of open descriptors: those of
 * the deepest directories are open; one further up is opened again, as "..", when the way back
 * comes to it, and must then be the one that it was.
 */

#include "base/fd.h"

/* Opens a name of a directory for reading, if it is part of the same tree: a symbolic link is
 * ELOOP, a mount point EXDEV. Returns -1 with errno set. */
int varve_dirstack_open_inside(int dirfd, const char *name, int flags);

typedef struct VarveDirstack VarveDirstack;

/* Takes the descriptor of the directory to begin with. */
VARVE_SHARED VarveDirstack *varve_dirstack_new(int fd);
VARVE_SHARED void varve_dirstack_free(VarveDirstack *stack);

/* How many directories there are, the first one included; and the descriptor of the last one, which
 * lives until the next push or pop. */
gsize varve_dirstack_depth(const VarveDirstack *stack);
VARVE_SHARED int varve_dirstack_top(const VarveDirstack *stack);

/* Enters a directory of the last one. Returns 0 or an errno value: ELOOP or ENOTDIR for anything
 * that is no directory, EXDEV for a mount point. */
VARVE_SHARED int varve_dirstack_push(VarveDirstack *stack, const char *name);

/* Leaves the last directory, which must not be the first one. */
VARVE_SHARED gboolean varve_dirstack_pop(VarveDirstack *stack, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveDirstack, varve_dirstack_free)

#endif
