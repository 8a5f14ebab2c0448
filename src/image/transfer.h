/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_TRANSFER_H
#define VARVE_IMAGE_TRANSFER_H

/*
 * Blobs that are moved several at a time: a list, worked off by threads in its order. The first
 * failure, or the engine's being cancelled, ends them all.
 */

#include "image/internal.h"

typedef struct VarveTransfer VarveTransfer;

typedef struct {
    VarveDescriptor *descriptor;
    VarveProgressItem progress; /* its stage in the end is what counts as the outcome */
    guint64 moved;              /* bytes */
} VarveTransferItem;

/* Sees to one. *cancelled is set when it is to end. */
typedef gboolean (*VarveTransferFunc)(VarveTransferItem *item, const gint *cancelled, gpointer data,
                                      GError **error);

VarveTransfer *varve_transfer_new(VarveImages *images);
void varve_transfer_free(VarveTransfer *transfer);

/* Adds a blob, which is told of as waiting. */
void varve_transfer_add(VarveTransfer *transfer, const VarveDescriptor *descriptor);

/* Sees to all of them; counts those that were seen to, also when it fails. */
gboolean varve_transfer_run(VarveTransfer *transfer, guint jobs, VarveTransferFunc func,
                            gpointer data, VarveImageMoved *moved, GError **error);

/* Has it end early, from any thread; what is not done then is no failure. */
void varve_transfer_stop(VarveTransfer *transfer);

/* Counts an item by its outcome. */
void varve_moved_count(VarveImageMoved *moved, VarveImageStage outcome, guint64 bytes);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveTransfer, varve_transfer_free)

#endif
