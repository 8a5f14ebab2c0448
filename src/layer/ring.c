/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/ring.h"
#include <sys/mman.h>

#define MAX_READERS 2

struct VarveRing {
    GMutex lock;
    GCond changed;
    guint waiting; /* threads */
    gboolean stopped;
    guint n_blocks, n_readers;
    gsize block_size;
    guint8 *bytes;
    gsize *sizes;
    /* Numbers of blocks since the beginning. */
    guint64 published;
    guint64 taken[MAX_READERS]; /* including the one that the reader is at */
};

/* Megabytes, for a moment: from malloc() they would stay with the thread's arena for good. */
static guint8 *
map_blocks(gsize size)
{
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        g_error("no memory for %" G_GSIZE_FORMAT " bytes of blocks", size); /* as g_malloc() */
    return bytes;
}

VarveRing *
varve_ring_new(guint blocks, gsize block_size, guint readers)
{
    g_assert(readers <= MAX_READERS);
    VarveRing *ring = g_new0(VarveRing, 1);
    g_mutex_init(&ring->lock);
    g_cond_init(&ring->changed);
    ring->n_blocks = blocks;
    ring->n_readers = readers;
    ring->block_size = block_size;
    ring->bytes = map_blocks(blocks * block_size);
    ring->sizes = g_new0(gsize, blocks);
    return ring;
}

void
varve_ring_free(VarveRing *ring)
{
    if (ring == NULL)
        return;
    g_free(ring->sizes);
    munmap(ring->bytes, ring->n_blocks * ring->block_size);
    g_cond_clear(&ring->changed);
    g_mutex_clear(&ring->lock);
    g_free(ring);
}

static void
wait(VarveRing *ring)
{
    ring->waiting++;
    g_cond_wait(&ring->changed, &ring->lock);
    ring->waiting--;
}

/* Wakes nobody who does not wait: that would cost a system call per block. */
static void
tell(VarveRing *ring)
{
    if (ring->waiting > 0)
        g_cond_broadcast(&ring->changed);
}

/* The number of blocks that all readers are done with: a reader's last one is still its own. */
static guint64
done(const VarveRing *ring)
{
    guint64 least = G_MAXUINT64;
    for (guint i = 0; i < ring->n_readers; i++)
        least = MIN(least, ring->taken[i]);
    return least == 0 ? 0 : least - 1;
}

guint8 *
varve_ring_reserve(VarveRing *ring)
{
    g_mutex_lock(&ring->lock);
    while (!ring->stopped && ring->published - done(ring) >= ring->n_blocks)
        wait(ring);
    guint8 *block =
        ring->stopped ? NULL : ring->bytes + (ring->published % ring->n_blocks) * ring->block_size;
    g_mutex_unlock(&ring->lock);
    return block;
}

void
varve_ring_publish(VarveRing *ring, gsize size)
{
    g_mutex_lock(&ring->lock);
    ring->sizes[ring->published % ring->n_blocks] = size;
    ring->published++;
    tell(ring);
    g_mutex_unlock(&ring->lock);
}

gboolean
varve_ring_take(VarveRing *ring, guint reader, const guint8 **bytes, gsize *size)
{
    g_mutex_lock(&ring->lock);
    while (!ring->stopped && ring->taken[reader] == ring->published)
        wait(ring);
    gboolean ok = !ring->stopped;
    if (ok) {
        guint64 block = ring->taken[reader]++ % ring->n_blocks;
        *bytes = ring->bytes + block * ring->block_size;
        *size = ring->sizes[block];
        tell(ring);
    }
    g_mutex_unlock(&ring->lock);
    return ok;
}

void
varve_ring_stop(VarveRing *ring)
{
    g_mutex_lock(&ring->lock);
    ring->stopped = TRUE;
    tell(ring);
    g_mutex_unlock(&ring->lock);
}
