/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http-channel.h"
#include <pthread.h>
#include <string.h>

struct VarveHttpChannel {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    gsize capacity, first, used; /* a ring */
    gboolean ended, complete, abandoned;
    guint8 bytes[];
};

VarveHttpChannel *
varve_http_channel_new(gsize capacity)
{
    VarveHttpChannel *self = g_malloc0(sizeof(*self) + capacity);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->changed, NULL);
    self->capacity = capacity;
    return self;
}

void
varve_http_channel_free(VarveHttpChannel *self)
{
    if (self == NULL)
        return;
    pthread_mutex_destroy(&self->lock);
    pthread_cond_destroy(&self->changed);
    g_free(self);
}

/* As much as there is room for, up to the end of the ring. */
static gsize
put(VarveHttpChannel *self, const guint8 *bytes, gsize size)
{
    gsize at = (self->first + self->used) % self->capacity;
    gsize n = MIN(size, MIN(self->capacity - self->used, self->capacity - at));
    memcpy(self->bytes + at, bytes, n);
    self->used += n;
    return n;
}

static gsize
take(VarveHttpChannel *self, guint8 *buffer, gsize size)
{
    gsize n = MIN(size, MIN(self->used, self->capacity - self->first));
    memcpy(buffer, self->bytes + self->first, n);
    self->first = (self->first + n) % self->capacity;
    self->used -= n;
    return n;
}

gboolean
varve_http_channel_write(VarveHttpChannel *self, const void *bytes, gsize size)
{
    pthread_mutex_lock(&self->lock);
    for (gsize done = 0; done < size && !self->abandoned;) {
        if (self->used == self->capacity) {
            pthread_cond_wait(&self->changed, &self->lock);
            continue;
        }
        done += put(self, (const guint8 *)bytes + done, size - done);
        pthread_cond_broadcast(&self->changed);
    }
    gboolean taken = !self->abandoned;
    pthread_mutex_unlock(&self->lock);
    return taken;
}

void
varve_http_channel_end(VarveHttpChannel *self, gboolean complete)
{
    pthread_mutex_lock(&self->lock);
    self->ended = TRUE;
    self->complete = complete;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

void
varve_http_channel_abandon(VarveHttpChannel *self)
{
    pthread_mutex_lock(&self->lock);
    self->abandoned = TRUE;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

/* With the lock held. */
static void
wait_for_bytes(VarveHttpChannel *self)
{
    while (self->used == 0 && !self->ended)
        pthread_cond_wait(&self->changed, &self->lock);
}

gboolean
varve_http_channel_wait(VarveHttpChannel *self)
{
    pthread_mutex_lock(&self->lock);
    wait_for_bytes(self);
    gboolean good = self->used > 0 || self->complete;
    pthread_mutex_unlock(&self->lock);
    return good;
}

gssize
varve_http_channel_read(VarveHttpChannel *self, void *buffer, gsize size)
{
    pthread_mutex_lock(&self->lock);
    wait_for_bytes(self);
    gssize n = (gssize)take(self, buffer, size);
    if (n == 0 && !self->complete)
        n = -1;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
    return n;
}
