/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/zfs/objects.h"

/* A range, and how many objects are in those before it. */
typedef struct {
    VarveZfsRange range;
    gsize index;
} Block;

struct VarveZfsObjects {
    GArray *blocks;
    guint8 *states; /* of VarveZfsObjectState, one for each object */
    gsize count;
};

VarveZfsObjects *
varve_zfs_objects_new(GArray *ranges)
{
    VarveZfsObjects *objects = g_new0(VarveZfsObjects, 1);
    objects->blocks = g_array_sized_new(FALSE, FALSE, sizeof(Block), ranges->len);
    for (guint i = 0; i < ranges->len; i++) {
        const VarveZfsRange *range = &g_array_index(ranges, VarveZfsRange, i);
        g_array_append_val(objects->blocks, ((Block){*range, objects->count}));
        objects->count += range->last - range->first + 1;
    }
    objects->states = g_malloc0(objects->count);
    g_array_unref(ranges);
    return objects;
}

void
varve_zfs_objects_free(VarveZfsObjects *objects)
{
    if (objects == NULL)
        return;
    g_array_unref(objects->blocks);
    g_free(objects->states);
    g_free(objects);
}

gsize
varve_zfs_objects_count(const VarveZfsObjects *objects)
{
    return objects->count;
}

static const Block *
block_at(const VarveZfsObjects *objects, guint i)
{
    return &g_array_index(objects->blocks, Block, i);
}

/* The last block for which that holds of its first number, or index, or NULL. */
static const Block *
find_block(const VarveZfsObjects *objects, guint64 number, gboolean by_index)
{
    guint from = 0, to = objects->blocks->len;
    while (from < to) {
        guint middle = from + (to - from) / 2;
        const Block *block = block_at(objects, middle);
        if ((by_index ? block->index : block->range.first) <= number)
            from = middle + 1;
        else
            to = middle;
    }
    return from > 0 ? block_at(objects, from - 1) : NULL;
}

guint64
varve_zfs_objects_number(const VarveZfsObjects *objects, gsize i)
{
    const Block *block = find_block(objects, i, TRUE);
    return block->range.first + (i - block->index);
}

gsize
varve_zfs_objects_from(const VarveZfsObjects *objects, guint64 number)
{
    const Block *block = find_block(objects, number, FALSE);
    if (block == NULL)
        return 0;
    guint64 past = MIN(number, block->range.last + 1) - block->range.first;
    return block->index + past;
}

guint8 *
varve_zfs_objects_state(VarveZfsObjects *objects, guint64 number)
{
    const Block *block = find_block(objects, number, FALSE);
    if (block == NULL || number > block->range.last)
        return NULL;
    return &objects->states[block->index + (number - block->range.first)];
}
