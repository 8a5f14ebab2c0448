/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http-internal.h"
#include <varve/log.h>

#define BLOCK (32 * 1024)

/* A body that is written in one thread and sent by another, which frees this. */
typedef struct {
    VarveHttpServer *server;
    VarveHttpChannel *channel;
    GThread *thread;
    VarveHttpProduce func;
    gpointer data;
    GDestroyNotify free_data;
    GError *error; /* the thread's, to be looked at when the channel has ended */
} Stream;

static gboolean
write_stream(gpointer data, const void *bytes, gsize size, GError **error)
{
    return varve_http_channel_write(((Stream *)data)->channel, bytes, size) ||
           varve_error_set(error, VARVE_ERROR_CANCELLED, "nobody reads this any more");
}

static gpointer
produce(gpointer data)
{
    Stream *self = data;
    gboolean whole = self->func((VarveSink){write_stream, self}, self->data, &self->error);
    varve_http_channel_end(self->channel, whole);
    return NULL;
}

static void
free_stream(void *data)
{
    Stream *self = data;
    varve_http_channel_abandon(self->channel);
    g_thread_join(self->thread);
    varve_http_channel_free(self->channel);
    if (self->free_data != NULL)
        self->free_data(self->data);
    g_clear_error(&self->error);
    g_free(self);
}

static ssize_t
read_stream(void *data, uint64_t position, char *buffer, size_t size)
{
    Stream *self = data;
    gssize n = varve_http_channel_read(self->channel, buffer, size);
    if (n == 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n < 0) { /* its thread has set the error before the end */
        varve_log(VARVE_LOG_WARNING, "a stream was not sent whole", "error", self->error->message,
                  NULL);
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    pthread_mutex_lock(&self->server->lock);
    self->server->stats.bytes_out += (guint64)n;
    pthread_mutex_unlock(&self->server->lock);
    return n;
}

void
varve_http_reply_stream(VarveHttpRequest *request, const char *type, VarveHttpProduce func,
                        gpointer data, GDestroyNotify free_data)
{
    Stream *self = g_new0(Stream, 1);
    self->server = request->server;
    self->channel = varve_http_channel_new(VARVE_HTTP_CHANNEL);
    self->func = func;
    self->data = data;
    self->free_data = free_data;
    self->thread = g_thread_new("http-stream", produce, self);
    if (varve_http_channel_wait(self->channel)) {
        varve_http_reply_response(request, MHD_HTTP_OK, type,
                                  MHD_create_response_from_callback(
                                      MHD_SIZE_UNKNOWN, BLOCK, read_stream, self, free_stream));
        return;
    }
    GError *error = g_steal_pointer(&self->error); /* its thread has set it before the end */
    free_stream(self);
    varve_http_reply_error(request, error);
}
