/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_ARENA_H
#define VARVE_RPC_ARENA_H

/*
 * Memory for one decoded message: taken piece by piece, given back all at once. Small messages fit
 * into the arena itself. What goes beyond is charged to a budget that all arenas share, since a few
 * bytes on the wire can decode to many.
 */

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

typedef struct VarveArenaBlock VarveArenaBlock;

typedef struct {
    ProtobufCAllocator allocator; /* for protobuf_c_message_unpack() */
    guint8 *next, *end;           /* what is free in the newest block */
    VarveArenaBlock *blocks;
    gint *held; /* atomic; the budget's use in bytes */
    gint limit;
    gboolean exhausted; /* an allocation failed for the budget */
    guint8 own[512] __attribute__((aligned(16)));
} VarveArena;

void varve_arena_init(VarveArena *arena, gint *held, gint limit);

/* Everything taken from it is gone; it can be used again. */
void varve_arena_clear(VarveArena *arena);

#endif
