/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/internal.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUTPUT_SIZE (64u << 10)

/* --- what the session tells ------------------------------------------------------------------ */

static gboolean
is_request(const nghttp2_frame *frame)
{
    return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
}

static int
on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    if (is_request(frame)) {
        VarveGrpcCall *call = varve_grpc_call_new(data, frame->hd.stream_id);
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
    }
    return 0;
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
          size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags, void *data)
{
    VarveGrpcCall *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (call != NULL && is_request(frame))
        varve_grpc_request_header(call, name, name_size, value, value_size);
    return 0;
}

static int
on_data_chunk_recv(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes,
                   size_t n, void *data)
{
    VarveGrpcCall *call = nghttp2_session_get_stream_user_data(session, stream);
    if (call != NULL)
        varve_grpc_request_data(call, bytes, n);
    return 0;
}

static int
on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    VarveGrpcConnection *self = data;
    self->greeted = TRUE;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    VarveGrpcCall *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (call == NULL)
        return 0;
    if (is_request(frame))
        varve_grpc_request_headers_end(call);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        varve_grpc_request_end(call);
    return 0;
}

/* A call that is answered before its request was read to the end: the peer may stop sending
 * (RFC 9113, section 8.1). */
static int
on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    if (frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
        nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_NO_ERROR);
    return 0;
}

static int
on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *data)
{
    VarveGrpcCall *call = nghttp2_session_get_stream_user_data(session, stream);
    if (call != NULL)
        varve_grpc_call_detach(call);
    return 0;
}

void
varve_grpc_connection_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk_recv);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}

/* --- bytes in, bytes out --------------------------------------------------------------------- */

static gboolean
watch_for(VarveGrpcConnection *self, int operation, guint32 events)
{
    struct epoll_event event = {.events = events, .data.ptr = &self->watch};
    return epoll_ctl(self->server->epoll, operation, self->watch.fd, &event) == 0;
}

void
varve_grpc_connection_mark_dirty(VarveGrpcConnection *self)
{
    if (self->dirty)
        return;
    self->dirty = TRUE;
    g_queue_push_tail_link(&self->server->dirty, &self->dirty_link);
}

gboolean
varve_grpc_connection_feed(VarveGrpcConnection *self, const guint8 *bytes, gsize n)
{
    varve_grpc_connection_mark_dirty(self);
    return nghttp2_session_mem_recv(self->session, bytes, n) == (ssize_t)n;
}

gboolean
varve_grpc_connection_collect(VarveGrpcConnection *self, GByteArray *bytes, gsize limit)
{
    while (bytes->len < limit) {
        const uint8_t *piece;
        ssize_t n = nghttp2_session_mem_send(self->session, &piece);
        if (n < 0)
            return FALSE;
        if (n == 0)
            return TRUE;
        g_byte_array_append(bytes, piece, (guint)n);
    }
    varve_grpc_connection_mark_dirty(self);
    return TRUE;
}

/* Writes what it can of n bytes. Returns how many, or -1 when the connection is gone. */
static gssize
write_some(VarveGrpcConnection *self, const guint8 *bytes, gsize n)
{
    ssize_t written = send(self->watch.fd, bytes, n, MSG_NOSIGNAL);
    if (written < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return written;
}

static void
flush_unsent(VarveGrpcConnection *self)
{
    gssize written = write_some(self, self->unsent->data, self->unsent->len);
    if (written < 0) {
        varve_grpc_connection_close(self);
    } else if ((gsize)written < self->unsent->len) {
        g_byte_array_remove_range(self->unsent, 0, (guint)written);
    } else {
        g_clear_pointer(&self->unsent, g_byte_array_unref);
        watch_for(self, EPOLL_CTL_MOD, EPOLLIN);
        varve_grpc_connection_mark_dirty(self);
    }
}

/* A peer that does not read is not read from: what it could make us say is bounded so. */
static void
keep_unsent(VarveGrpcConnection *self, const guint8 *bytes, gsize n)
{
    self->unsent = g_byte_array_sized_new((guint)n);
    g_byte_array_append(self->unsent, bytes, (guint)n);
    watch_for(self, EPOLL_CTL_MOD, EPOLLOUT);
}

void
varve_grpc_connection_flush(VarveGrpcConnection *self)
{
    GByteArray *output = self->server->output;
    if (self->watch.fd < 0 || self->unsent != NULL)
        return;
    g_byte_array_set_size(output, 0);
    gboolean sound = varve_grpc_connection_collect(self, output, OUTPUT_SIZE);
    gssize written = output->len == 0 ? 0 : write_some(self, output->data, output->len);
    if (!sound || written < 0) {
        varve_grpc_connection_close(self);
        return;
    }
    if ((gsize)written < output->len)
        keep_unsent(self, output->data + written, output->len - (gsize)written);
    else if (!nghttp2_session_want_read(self->session) &&
             !nghttp2_session_want_write(self->session))
        varve_grpc_connection_close(self);
}

static void
connection_ready(VarveGrpcWatch *watch, guint32 events)
{
    VarveGrpcConnection *self = (VarveGrpcConnection *)watch;
    if (self->watch.fd < 0)
        return;
    if (self->unsent != NULL) {
        flush_unsent(self);
        return;
    }
    ssize_t n = recv(self->watch.fd, self->server->input, INPUT_SIZE, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || !varve_grpc_connection_feed(self, self->server->input, (gsize)n))
        varve_grpc_connection_close(self);
}

/* --- a life ---------------------------------------------------------------------------------- */

static gboolean
submit_greeting(VarveGrpcConnection *self)
{
    /* The last one spares us the old priority scheme's tree of streams (RFC 9218, section 2.1). */
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16 << 10},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    return nghttp2_submit_settings(self->session, NGHTTP2_FLAG_NONE, settings,
                                   G_N_ELEMENTS(settings)) == 0 &&
           nghttp2_session_set_local_window_size(self->session, NGHTTP2_FLAG_NONE, 0,
                                                 CONNECTION_WINDOW) == 0;
}

VarveGrpcConnection *
varve_grpc_connection_new(VarveGrpcServer *server, int fd)
{
    VarveGrpcConnection *self = g_new0(VarveGrpcConnection, 1);
    self->watch = (VarveGrpcWatch){fd, connection_ready};
    self->server = server;
    self->link.data = self->dirty_link.data = self;
    g_queue_push_tail_link(&server->connections, &self->link);
    g_atomic_pointer_add(&server->n_connections, 1);

    if (nghttp2_session_server_new2(&self->session, server->callbacks, self, server->option) != 0 ||
        !submit_greeting(self) || (fd >= 0 && !watch_for(self, EPOLL_CTL_ADD, EPOLLIN))) {
        varve_grpc_connection_close(self);
        return NULL;
    }
    varve_grpc_connection_mark_dirty(self);
    return self;
}

/* The memory stays until the round of the loop is over: events for it may be still to come. */
void
varve_grpc_connection_close(VarveGrpcConnection *self)
{
    VarveGrpcServer *server = self->server;
    while (self->calls.head != NULL)
        varve_grpc_call_detach(self->calls.head->data);
    nghttp2_session_del(self->session);
    self->session = NULL;
    g_clear_pointer(&self->unsent, g_byte_array_unref);
    if (self->dirty)
        g_queue_unlink(&server->dirty, &self->dirty_link);
    if (self->watch.fd >= 0)
        close(self->watch.fd);
    self->watch.fd = -1;

    g_queue_unlink(&server->connections, &self->link);
    g_queue_push_tail_link(&server->closed, &self->link);
    g_atomic_pointer_add(&server->n_connections, -1);
    if (server->accept_again != 0)
        varve_grpc_listeners_unmute(server);
}

void
varve_grpc_connection_free(VarveGrpcConnection *self)
{
    g_free(self);
}

void
varve_grpc_connection_go_away(VarveGrpcConnection *self)
{
    nghttp2_submit_goaway(self->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(self->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
    varve_grpc_connection_mark_dirty(self);
}
