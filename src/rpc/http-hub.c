/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http-internal.h"
#include <string.h>

#define MAX_WAITING     256 /* events of a listener */
#define BLOCK           4096
#define HEARTBEAT       15 /* seconds; it also shows that a listener has gone away */
#define HEARTBEAT_EVENT ":\n\n"

struct VarveHttpHub {
    VarveHttpServer *server;
    pthread_mutex_t lock; /* of all below, and of the listeners */
    GHashTable *listeners;
    gboolean closed;
};

struct VarveHttpListener {
    VarveHttpHub *hub;
    pthread_cond_t changed;
    GQueue waiting; /* of char*, in reference counting: one event is all listeners' */
    guint64 lost;   /* since the last one that it took */
    GString *text;  /* what is being sent; of its thread alone */
    gsize sent;     /* of that */
};

VarveHttpHub *
varve_http_hub_new(VarveHttpServer *server)
{
    VarveHttpHub *self = g_new0(VarveHttpHub, 1);
    self->server = server;
    self->listeners = g_hash_table_new(NULL, NULL);
    pthread_mutex_init(&self->lock, NULL);
    return self;
}

void
varve_http_hub_free(gpointer hub)
{
    VarveHttpHub *self = hub;
    g_hash_table_unref(self->listeners);
    pthread_mutex_destroy(&self->lock);
    g_free(self);
}

/* Events end, now and for those who still come. */
void
varve_http_hub_close(VarveHttpHub *self)
{
    GHashTableIter i;
    gpointer listener;
    pthread_mutex_lock(&self->lock);
    self->closed = TRUE;
    g_hash_table_iter_init(&i, self->listeners);
    while (g_hash_table_iter_next(&i, &listener, NULL))
        pthread_cond_signal(&((VarveHttpListener *)listener)->changed);
    pthread_mutex_unlock(&self->lock);
}

static void
count(VarveHttpServer *server, gint listeners, guint64 events, guint64 lost)
{
    pthread_mutex_lock(&server->lock);
    server->stats.listeners += (guint64)(gint64)listeners;
    server->stats.events += events;
    server->stats.lost += lost;
    pthread_mutex_unlock(&server->lock);
}

static char *
format_event(json_t *value)
{
    char *json = json_dumps(value, JSON_COMPACT);
    g_autofree char *event = g_strdup_printf("data: %s\n\n", json != NULL ? json : "null");
    free(json);
    return g_ref_string_new(event);
}

/* --- publishing ----------------------------------------------------------------------------- */

void
varve_http_hub_publish(VarveHttpHub *self, json_t *value)
{
    GHashTableIter i;
    gpointer key;
    guint64 sent = 0, lost = 0;
    char *event = format_event(value);
    json_decref(value);
    pthread_mutex_lock(&self->lock);
    g_hash_table_iter_init(&i, self->listeners);
    while (g_hash_table_iter_next(&i, &key, NULL)) {
        VarveHttpListener *listener = key;
        if (listener->waiting.length >= MAX_WAITING || listener->lost > 0) {
            listener->lost++;
            lost++;
            continue;
        }
        g_queue_push_tail(&listener->waiting, g_ref_string_acquire(event));
        pthread_cond_signal(&listener->changed);
        sent++;
    }
    g_ref_string_release(event); /* ThreadSanitizer sees the lock, but not GLib's counting */
    pthread_mutex_unlock(&self->lock);
    count(self->server, 0, sent, lost);
}

/* --- listening ------------------------------------------------------------------------------ */

VarveHttpListener *
varve_http_hub_listen(VarveHttpHub *hub)
{
    pthread_condattr_t monotonic;
    VarveHttpListener *self = g_new0(VarveHttpListener, 1);
    self->hub = hub;
    self->text = g_string_new(NULL);
    g_queue_init(&self->waiting);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&self->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_lock(&hub->lock);
    g_hash_table_add(hub->listeners, self);
    pthread_mutex_unlock(&hub->lock);
    count(hub->server, 1, 0, 0);
    return self;
}

void
varve_http_listener_free(VarveHttpListener *self)
{
    if (self == NULL)
        return;
    pthread_mutex_lock(&self->hub->lock);
    g_hash_table_remove(self->hub->listeners, self);
    pthread_mutex_unlock(&self->hub->lock);
    count(self->hub->server, -1, 0, 0);
    g_queue_clear_full(&self->waiting, (GDestroyNotify)g_ref_string_release);
    pthread_cond_destroy(&self->changed);
    g_string_free(self->text, TRUE);
    g_free(self);
}

/* Moves what waits to the text; with the lock held. */
static void
take_waiting(VarveHttpListener *self)
{
    char *event;
    while ((event = g_queue_pop_head(&self->waiting)) != NULL) {
        g_string_append(self->text, event);
        g_ref_string_release(event);
    }
    if (self->lost > 0)
        g_string_append_printf(
            self->text, "event: lost\ndata: {\"lost\":%" G_GUINT64_FORMAT "}\n\n", self->lost);
    self->lost = 0;
}

/* Waits for something to send. FALSE: there will be nothing more. */
static gboolean
next_text(VarveHttpListener *self)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += HEARTBEAT;
    g_string_truncate(self->text, 0);
    self->sent = 0;
    pthread_mutex_lock(&self->hub->lock);
    gboolean late = FALSE;
    while (self->waiting.length == 0 && !self->hub->closed && !late)
        late = pthread_cond_timedwait(&self->changed, &self->hub->lock, &until) != 0;
    take_waiting(self);
    gboolean closed = self->hub->closed;
    pthread_mutex_unlock(&self->hub->lock);
    if (self->text->len == 0 && !closed)
        g_string_append(self->text, HEARTBEAT_EVENT);
    return self->text->len > 0;
}

static ssize_t
read_events(void *data, uint64_t position, char *buffer, size_t size)
{
    VarveHttpListener *self = data;
    if (self->sent == self->text->len && !next_text(self))
        return MHD_CONTENT_READER_END_OF_STREAM;
    gsize n = MIN(size, self->text->len - self->sent);
    memcpy(buffer, self->text->str + self->sent, n);
    self->sent += n;
    return (ssize_t)n;
}

void
varve_http_reply_events(VarveHttpRequest *request, VarveHttpListener *listener, json_t *first)
{
    gsize i;
    json_t *value;
    json_array_foreach(first, i, value)
    {
        char *event = format_event(value);
        g_string_append(listener->text, event);
        g_ref_string_release(event);
    }
    json_decref(first);
    g_string_append(listener->text, HEARTBEAT_EVENT); /* so that the head goes out at once */
    request->listening = TRUE;
    pthread_mutex_lock(&request->server->lock);
    request->server->stats.active--;
    pthread_cond_broadcast(&request->server->changed);
    pthread_mutex_unlock(&request->server->lock);
    varve_http_reply_response(
        request, MHD_HTTP_OK, "text/event-stream",
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_events, listener,
                                          (MHD_ContentReaderFreeCallback)varve_http_listener_free));
}
