/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc-client.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void
reply_free(gpointer data)
{
    GrpcReply *reply = data;
    g_free(reply->message);
    g_byte_array_unref(reply->body);
    g_byte_array_unref(reply->request);
    g_free(reply);
}

GrpcReply *
grpc_client_reply(GrpcClient *client, gint32 stream)
{
    return g_hash_table_lookup(client->replies, GINT_TO_POINTER(stream));
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
          size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags, void *data)
{
    GrpcReply *reply = grpc_client_reply(data, frame->hd.stream_id);
    const char *text = (const char *)value;
    if (g_str_equal(name, ":status"))
        reply->http = atoi(text);
    else if (g_str_equal(name, "grpc-status"))
        reply->status = atoi(text);
    else if (g_str_equal(name, "grpc-message"))
        reply->message = g_strdup(text);
    return 0;
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes, size_t n,
        void *data)
{
    GrpcReply *reply = grpc_client_reply(data, stream);
    g_byte_array_append(reply->body, bytes, (guint)n);
    return 0;
}

static int
on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    GrpcClient *client = data;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        client->went_away = TRUE;
    if (frame->hd.type == NGHTTP2_DATA)
        grpc_client_reply(client, frame->hd.stream_id)->n_frames++;
    return 0;
}

static int
on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *data)
{
    GrpcReply *reply = grpc_client_reply(data, stream);
    reply->done = TRUE;
    reply->error_code = code;
    return 0;
}

static ssize_t
read_request(nghttp2_session *session, int32_t stream, uint8_t *bytes, size_t n, uint32_t *flags,
             nghttp2_data_source *source, void *data)
{
    GrpcReply *reply = source->ptr;
    gsize part = MIN(n, reply->request->len - reply->sent);
    memcpy(bytes, reply->request->data + reply->sent, part);
    reply->sent += part;
    if (reply->sent == reply->request->len) {
        if (!reply->more)
            *flags |= NGHTTP2_DATA_FLAG_EOF;
        else if (part == 0)
            return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)part;
}

int
grpc_client_connect(const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, socket_path, sizeof(address.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(fd, >=, 0);
    int result = connect(fd, (struct sockaddr *)&address, sizeof(address));
    g_assert_cmpint(result, ==, 0);
    return fd;
}

GrpcClient *
grpc_client_new(const char *socket_path, guint32 window, gboolean thirsty)
{
    GrpcClient *client = g_new0(GrpcClient, 1);
    client->fd = grpc_client_connect(socket_path);
    client->replies = g_hash_table_new_full(NULL, NULL, NULL, reply_free);
    client->thirsty = thirsty;

    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, !thirsty);
    nghttp2_session_client_new2(&client->session, callbacks, client, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);

    nghttp2_settings_entry settings = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};
    nghttp2_submit_settings(client->session, 0, &settings, window != 0 ? 1 : 0);
    return client;
}

void
grpc_client_free(GrpcClient *client)
{
    nghttp2_session_del(client->session);
    g_hash_table_unref(client->replies);
    close(client->fd);
    g_free(client);
}

static nghttp2_nv
header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

gint32
grpc_client_start(GrpcClient *client, const GrpcOptions *options, const void *bytes, gsize n)
{
    const nghttp2_nv headers[] = {
        header(":method", options->method != NULL ? options->method : "POST"),
        header(":scheme", "http"),
        header(":path", options->path),
        header(":authority", "localhost"),
        header("content-type",
               options->content_type != NULL ? options->content_type : "application/grpc"),
        header("te", "trailers"),
        header("grpc-timeout", options->timeout != NULL ? options->timeout : ""),
    };
    GrpcReply *reply = g_new0(GrpcReply, 1);
    reply->status = -1;
    reply->body = g_byte_array_new();
    reply->request = g_byte_array_new();
    reply->more = options->more;
    g_byte_array_append(reply->request, bytes, (guint)n);

    nghttp2_data_provider provider = {{.ptr = reply}, read_request};
    gboolean has_data = n > 0 || options->more;
    gint32 stream =
        nghttp2_submit_request(client->session, NULL, headers, options->timeout != NULL ? 7 : 6,
                               has_data ? &provider : NULL, NULL);
    g_assert_cmpint(stream, >, 0);
    g_hash_table_insert(client->replies, GINT_TO_POINTER(stream), reply);
    return stream;
}

void
grpc_client_cancel(GrpcClient *client, gint32 stream)
{
    nghttp2_submit_rst_stream(client->session, 0, stream, NGHTTP2_CANCEL);
}

/* MSG_DONTWAIT everywhere: what the server does not take now is tried again after some reading. */
static void
send_all(GrpcClient *client)
{
    const uint8_t *bytes;
    ssize_t n;
    while (!client->closed && (n = nghttp2_session_mem_send(client->session, &bytes)) > 0) {
        for (ssize_t done = 0; done < n;) {
            gsize part = client->byte_wise ? 1 : (gsize)(n - done);
            ssize_t written = send(client->fd, bytes + done, part, MSG_NOSIGNAL);
            if (written < 0) {
                client->closed = TRUE;
                return;
            }
            done += written;
        }
    }
}

static void
receive(GrpcClient *client, int timeout)
{
    struct pollfd poller = {.fd = client->fd, .events = POLLIN};
    if (poll(&poller, 1, timeout) <= 0)
        return;
    guint8 bytes[16384];
    ssize_t n = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || nghttp2_session_mem_recv(client->session, bytes, (size_t)n) != n)
        client->closed = TRUE;
}

gboolean
grpc_client_pump(GrpcClient *client, guint ms, GrpcCondition condition, gpointer data)
{
    gint64 end = g_get_monotonic_time() + (gint64)ms * 1000;
    while (TRUE) {
        send_all(client);
        if (condition != NULL && condition(client, data))
            return TRUE;
        gint64 left = end - g_get_monotonic_time();
        if (client->closed || left <= 0)
            return FALSE;
        receive(client, (int)(left + 999) / 1000);
    }
}

static gboolean
is_done(GrpcClient *client, gpointer data)
{
    return ((GrpcReply *)data)->done;
}

GrpcReply *
grpc_client_wait(GrpcClient *client, gint32 stream)
{
    GrpcReply *reply = grpc_client_reply(client, stream);
    g_assert_true(grpc_client_pump(client, 20000, is_done, reply));
    return reply;
}
