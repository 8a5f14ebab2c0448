/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_OVERLAY_BASE_H
#define VARVE_DRIVER_OVERLAY_BASE_H

/*
 * The place in the parent that goes with the one that a walk over an upper directory is at. It is
 * at the same path, except in a directory that was renamed: there it is in the one that this was.
 */

#include "base/dirstack.h"

typedef struct {
    /* "" for the root. The caller appends the name that it looks at, and truncates it again; the
     * functions below take it as it is. */
    GString *path;
    VarveDirstack *way; /* to the directory */
    int root;
} VarveOverlayBase;

/* root: the parent's root directory, which stays the caller's. It is nowhere yet: return to "". */
VarveOverlayBase *varve_overlay_base_new(int root);
void varve_overlay_base_free(VarveOverlayBase *base);

/* The directory that it is at. */
int varve_overlay_base_fd(const VarveOverlayBase *base);

/* Enters a directory, whose name is at the end of the path already, and leaves the last one. */
gboolean varve_overlay_base_enter(VarveOverlayBase *base, const char *name, GError **error);
gboolean varve_overlay_base_leave(VarveOverlayBase *base, GError **error);

/* The way to a path ("" or "/a/b") from the root. NULL with the error set, or, when there is no
 * such directory, with *missing. */
VarveDirstack *varve_overlay_base_way(const VarveOverlayBase *base, const char *path,
                                      gboolean *missing, GError **error);

/* Goes to a directory elsewhere, and back to one where it was before. way: taken. */
void varve_overlay_base_set(VarveOverlayBase *base, const char *path, VarveDirstack **way);
gboolean varve_overlay_base_return(VarveOverlayBase *base, const char *path, GError **error);

#endif
