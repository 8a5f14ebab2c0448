/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/arena.h"

#define ALIGNMENT 16
#define MIN_BLOCK 4096u
#define MAX_BLOCK (1u << 20)

struct VarveArenaBlock {
    VarveArenaBlock *older;
    gsize size;
    guint8 bytes[] __attribute__((aligned(ALIGNMENT)));
};

/* Makes a block with room for size bytes the newest; they double, so that there are few. */
static gboolean
add_block(VarveArena *arena, gsize size)
{
    gsize usual = arena->blocks == NULL ? MIN_BLOCK : MIN(arena->blocks->size * 2, MAX_BLOCK);
    gsize total = MAX(usual, sizeof(VarveArenaBlock) + size);
    if (total > (gsize)arena->limit ||
        g_atomic_int_add(arena->held, (gint)total) > arena->limit - (gint)total) {
        if (total <= (gsize)arena->limit)
            g_atomic_int_add(arena->held, -(gint)total);
        arena->exhausted = TRUE;
        return FALSE;
    }

    VarveArenaBlock *block = g_malloc(total);
    block->older = arena->blocks;
    block->size = total;
    arena->blocks = block;
    arena->next = block->bytes;
    arena->end = (guint8 *)block + total;
    return TRUE;
}

static void *
arena_alloc(void *data, size_t size)
{
    VarveArena *arena = data;
    if (size > G_MAXINT32)
        return NULL;
    gsize rounded = (size + ALIGNMENT - 1) & ~(gsize)(ALIGNMENT - 1);
    if (rounded > (gsize)(arena->end - arena->next) && !add_block(arena, rounded))
        return NULL;
    void *piece = arena->next;
    arena->next += rounded;
    return piece;
}

static void
arena_free(void *data, void *piece)
{
}

void
varve_arena_init(VarveArena *arena, gint *held, gint limit)
{
    arena->allocator = (ProtobufCAllocator){arena_alloc, arena_free, arena};
    arena->blocks = NULL;
    arena->held = held;
    arena->limit = limit;
    arena->exhausted = FALSE;
    arena->next = arena->own;
    arena->end = arena->own + sizeof(arena->own);
}

void
varve_arena_clear(VarveArena *arena)
{
    while (arena->blocks != NULL) {
        VarveArenaBlock *block = arena->blocks;
        arena->blocks = block->older;
        g_atomic_int_add(arena->held, -(gint)block->size);
        g_free(block);
    }
    arena->next = arena->own;
    arena->end = arena->own + sizeof(arena->own);
}
