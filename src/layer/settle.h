/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_SETTLE_H
#define VARVE_LAYER_SETTLE_H

/*
 * Layers of overlayfs that are applied before those below them are there, side by side.
 *
 * A layer depends little on what is below: a directory that it has entries in without having it
 * itself takes its attributes from there, and so does the root; and a whiteout is wrong where it
 * hides nothing. Applying such a layer notes those places; settling it, when the layers below are
 * there, gives the directories what they should have, and takes such whiteouts away.
 * Rarely that is not enough: a path leads over a symbolic link of a layer below, a hard link to a
 * file of one. Such a layer is thrown away and applied once more, on what is below it.
 */

#include "base/error.h"
#include <sys/stat.h>

typedef struct VarveUnsettled VarveUnsettled;

VarveUnsettled *varve_unsettled_new(void);
void varve_unsettled_free(VarveUnsettled *unsettled);

typedef enum {
    VARVE_UNSETTLED_DIRECTORY, /* made because something is in it */
    VARVE_UNSETTLED_WHITEOUT,
} VarveUnsettledKind;

/* For who applies the layer. Paths are relative to the root, which is "" and noted from the
 * beginning. Gives up where there are very many. */
gboolean varve_unsettled_note(VarveUnsettled *unsettled, const char *path, VarveUnsettledKind kind,
                              GError **error);

/* The layer has an entry for a directory, noted or not. */
void varve_unsettled_give_attributes(VarveUnsettled *unsettled, const char *path);

/* Whether something is overlayfs's whiteout. */
gboolean varve_is_whiteout(const struct stat *st);

/* Removes what is there if it is one; the directory keeps its times. Returns an errno value.
 */
int varve_whiteout_remove(int dirfd, const char *name);

/* Sets an error: the layer cannot go on without those below. Returns FALSE. */
gboolean varve_unsettled_give_up(VarveUnsettled *unsettled, GError **error);

/* Whether that was why it failed. */
gboolean varve_unsettled_gave_up(const VarveUnsettled *unsettled);

/* root: the layer's; parent: the tree that the layers below make together. *settled is FALSE when
 * it has to be applied once more. */
gboolean varve_unsettled_settle(VarveUnsettled *unsettled, int root, int parent, gboolean *settled,
                                GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveUnsettled, varve_unsettled_free)

#endif
