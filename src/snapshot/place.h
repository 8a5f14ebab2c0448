/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SNAPSHOT_PLACE_H
#define VARVE_SNAPSHOT_PLACE_H

/* Where a snapshot's files are, for the parts of Varve that write or read them themselves, without
 * a mount that others see. */

#include <varve/snapshot.h>

typedef struct {
    int root;  /* of all the snapshot's files, or of its own */
    int below; /* where root has its own only: of those that its parents show; -1: it has none */
    gboolean layer; /* root is a layer of overlayfs: whiteouts are in the form that it has */
    gboolean empty; /* when it was made: it has no parents, or root has its own files only */
} VarvePlace;

#define VARVE_PLACE_INIT                                                                           \
    {                                                                                              \
        .root = -1, .below = -1                                                                    \
    }

/* Opens an active snapshot's. Nobody may mount it meanwhile. VARVE_ERROR_FAILED_PRECONDITION: it is
 * no active one. */
gboolean varve_snapshot_open_place(VarvePool *pool, const char *key, VarvePlace *place,
                                   GError **error);

/* The root of all that a committed snapshot shows, read-only; -1 with the error set. */
int varve_snapshot_open_tree(VarvePool *pool, const char *name, GError **error);

/* How all that a committed snapshot shows is mounted, read-only. It must stay meanwhile. */
VarveMount *varve_snapshot_tree_mount(VarvePool *pool, const char *name, GError **error);
void varve_place_clear(VarvePlace *place);

/* varve_snapshot_remove() for what was begun and is given up: also when that is because the engine
 * was cancelled. */
gboolean varve_snapshot_undo(VarvePool *pool, const char *key, GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarvePlace, varve_place_clear)

#endif
