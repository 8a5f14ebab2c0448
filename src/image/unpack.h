/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_UNPACK_H
#define VARVE_IMAGE_UNPACK_H

/*
 * Layers into snapshots: SPEC rows L1 and L7.
 *
 * A layer is unpacked into an active snapshot whose key is made from its ChainID, by whoever has
 * the turn for that (turn.h), and then committed under the ChainID. Whoever gets the turn and finds
 * the key has found what a dead process left.
 *
 *     unpack.c         an image: its layers, one after the other or side by side
 *     unpack-layer.c   one layer, on its parent, or beside others and put on its parent later
 *     unpack-beside.c  layers side by side: threads apply them, in any order; the calling thread
 *                      puts each on the one below, in order
 *     unpack-source.c  where a layer's bytes come from: the content store, or a pull
 *     unpack-clear.c   what dead processes left
 *
 * Side by side needs a driver that can put a snapshot on a parent later (VARVE_DRIVER_REBASE), and
 * what a layer needs of those below is settled then (layer/settle.h).
 */

#include "image/arrival.h"
#include "image/turn.h"
#include "layer/apply.h"
#include "snapshot/place.h"

typedef struct {
    VarveImages *images;
    VarvePool *pool;
    VarveLease *lease;
    VarveTreeWatch watch;
    VarveArrivals *arrivals; /* what is being fetched meanwhile; NULL: all is here */
} VarveUnpacking;

/* Unpacks an image whose manifest and config are here. */
gboolean varve_unpack_image(const VarveUnpacking *unpacking, const VarveImageDetails *image,
                            VarveImageUnpacked *unpacked, GError **error);

typedef struct {
    const VarveUnpacking *unpacking;
    const VarveImageBlob *blob;
    const char *diff_id;
    const char *parent; /* its ChainID; "" for none */
    char *chain_id, *key;
    /* What has become of it so far. */
    VarveProgressItem progress;
    VarveTurn *turn;
    gboolean there; /* the snapshot was there before */
    VarvePlace place;
    VarveUnsettled *unsettled;
    VarveLayerInfo info;
} VarveUnpackLayer;

void varve_unpack_layer_clear(VarveUnpackLayer *layer);

/* Says that it is waited for, or that it is there already. */
void varve_unpack_layer_begin(VarveUnpackLayer *layer);
void varve_unpack_layer_pass(VarveUnpackLayer *layer);

/* The key of the active snapshot, and the turn, of a layer. */
#define VARVE_UNPACK_KEY "unpack "
char *varve_unpack_turn(const VarvePool *pool, const char *chain_id);

/* Removes what dead processes left in all pools: active snapshots of layers whose turn nobody has.
 * Adds to *removed. A pool that cannot be used is passed over. */
gboolean varve_unpack_clear(VarveEngine *engine, guint64 *removed, GError **error);

/* Whether the layer's snapshot is in the pool. */
gboolean varve_unpack_layer_find(VarveUnpackLayer *layer, gboolean *there, GError **error);

/* Does all of it; the parent is there. */
gboolean varve_unpack_layer(VarveUnpackLayer *layer, GError **error);

/* Does what can be done before the parent is there, and then, with the parent there, the rest. */
gboolean varve_unpack_layer_apply(VarveUnpackLayer *layer, GError **error);
gboolean varve_unpack_layer_commit(VarveUnpackLayer *layer, GError **error);

/* Takes away what was applied and is not to be committed. */
void varve_unpack_layer_undo(VarveUnpackLayer *layer);

/* The bytes of a layer's blob, which may still be on its way: then waits for the first of them. */
typedef struct {
    VarveSource source;
    gboolean verified; /* it comes to its end only if they are those of the digest */
    int blob;
    VarveArrivalReader reader;
} VarveUnpackSource;

gboolean varve_unpack_source_open(const VarveUnpackLayer *layer, VarveUnpackSource *source,
                                  GError **error);
void varve_unpack_source_close(VarveUnpackSource *source);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveUnpackSource, varve_unpack_source_close)

/* After a failure to unpack it: whether that was because of bytes that turned out not to be the
 * blob's, and others are to be had. May replace the error. */
gboolean varve_unpack_source_again(VarveUnpackSource *source, GError **error);

/* Unpacks several, the lowest first; the parent of the first one is there. *failed: which one
 * failed. */
gboolean varve_unpack_beside(VarveUnpackLayer *layers, guint n, guint *failed, GError **error);

#endif
