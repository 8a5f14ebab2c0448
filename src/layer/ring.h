/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_RING_H
#define VARVE_LAYER_RING_H

/* Blocks of bytes on their way from one thread to others, each of which gets all of them: a bounded
 * number, used again and again. */

#include <glib.h>

typedef struct VarveRing VarveRing;

VarveRing *varve_ring_new(guint blocks, gsize block_size, guint readers);
void varve_ring_free(VarveRing *ring);

/* The writer: waits for a block that every reader is done with, fills it, and publishes it with its
 * size. A size of 0 is the end. NULL when the ring was stopped. */
guint8 *varve_ring_reserve(VarveRing *ring);
void varve_ring_publish(VarveRing *ring, gsize size);

/* A reader, by its number: waits for its next block, whose bytes are its own to read until it takes
 * another one. FALSE when the ring was stopped; *size is 0 at the end. */
gboolean varve_ring_take(VarveRing *ring, guint reader, const guint8 **bytes, gsize *size);

/* Ends all waiting, now and later. */
void varve_ring_stop(VarveRing *ring);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveRing, varve_ring_free)

#endif
