/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/client.h"
#include "rpc/packed.h"
#include "rpc/status.h"
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <varve/error.h>

#define MAX_MESSAGE   ((gsize)16 << 20)
#define WINDOW        (1 << 20)
#define INPUT_SIZE    ((gsize)64 << 10)
#define TICK_MS       100 /* how long a wish to cancel may go unheard */
#define STALL_SECONDS 60

struct VarveGrpcClient {
    int fd;
    nghttp2_session *session;
    const gint *cancelled;
    GPtrArray *headers; /* char*: names and values in turns */
    guint8 *input;      /* scratch for one read */
    GByteArray *output; /* what the session wants sent, and the socket had no room for */
    gboolean hung_up;

    /* The call. */
    int32_t stream; /* 0: none */
    char *path;
    VarveGrpcPackedQueue out;
    gboolean last;     /* out is all there will be */
    GByteArray *in;    /* what came of messages */
    gboolean answered; /* headers came, and they were of HTTP status 200 */
    gboolean closed;   /* the stream is */
    int status;        /* -1: none came */
    char *message;
};

/* --- what the session tells ------------------------------------------------------------------ */

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
          size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags, void *data)
{
    VarveGrpcClient *self = data;
    const char *key = (const char *)name, *text = (const char *)value;
    if (frame->hd.stream_id != self->stream)
        return 0;
    if (g_str_equal(key, ":status")) {
        self->answered = g_str_equal(text, "200");
    } else if (g_str_equal(key, "grpc-status")) {
        self->status = varve_grpc_status_parse(text);
    } else if (g_str_equal(key, "grpc-message")) {
        g_free(self->message);
        self->message = varve_grpc_status_decode(text);
    }
    return 0;
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes, size_t n,
        void *data)
{
    VarveGrpcClient *self = data;
    if (stream == self->stream)
        g_byte_array_append(self->in, bytes, (guint)n);
    return 0;
}

static int
on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *data)
{
    VarveGrpcClient *self = data;
    if (stream == self->stream)
        self->closed = TRUE;
    return 0;
}

static ssize_t
read_request(nghttp2_session *session, int32_t stream, uint8_t *bytes, size_t n, uint32_t *flags,
             nghttp2_data_source *source, void *data)
{
    VarveGrpcClient *self = data;
    if (stream != self->stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    gsize done = varve_grpc_packed_read(&self->out, bytes, n);
    if (self->out.head == NULL && self->last)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (done == 0)
        return NGHTTP2_ERR_DEFERRED;
    return (ssize_t)done;
}

/* --- the connection -------------------------------------------------------------------------- */

static int
connect_to(const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                    "the path of the socket %s is too long", path);
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    g_set_error(error, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE, "connecting to %s: %s", path,
                g_strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static void
start_session(VarveGrpcClient *self)
{
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                               {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}};
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        g_error("out of memory");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    int failed = nghttp2_session_client_new(&self->session, callbacks, self);
    nghttp2_session_callbacks_del(callbacks);
    if (failed != 0 ||
        nghttp2_submit_settings(self->session, 0, settings, G_N_ELEMENTS(settings)) != 0 ||
        nghttp2_session_set_local_window_size(self->session, 0, 0, WINDOW) != 0)
        g_error("out of memory");
}

VarveGrpcClient *
varve_grpc_client_new(const char *socket, const gint *cancelled, GError **error)
{
    int fd = connect_to(socket, error);
    if (fd < 0)
        return NULL;
    VarveGrpcClient *self = g_new0(VarveGrpcClient, 1);
    self->fd = fd;
    self->cancelled = cancelled;
    self->headers = g_ptr_array_new_with_free_func(g_free);
    self->input = g_malloc(INPUT_SIZE);
    self->output = g_byte_array_new();
    self->in = g_byte_array_new();
    start_session(self);
    return self;
}

void
varve_grpc_client_free(VarveGrpcClient *self)
{
    if (self == NULL)
        return;
    nghttp2_session_del(self->session);
    close(self->fd);
    varve_grpc_packed_drop(&self->out);
    g_ptr_array_unref(self->headers);
    g_byte_array_unref(self->output);
    g_byte_array_unref(self->in);
    g_free(self->input);
    g_free(self->message);
    g_free(self->path);
    g_free(self);
}

void
varve_grpc_client_set_header(VarveGrpcClient *self, const char *name, const char *value)
{
    for (guint i = 0; i < self->headers->len; i += 2) {
        if (g_str_equal(self->headers->pdata[i], name)) {
            g_ptr_array_remove_range(self->headers, i, 2);
            break;
        }
    }
    if (value == NULL)
        return;
    g_ptr_array_add(self->headers, g_ascii_strdown(name, -1));
    g_ptr_array_add(self->headers, g_strdup(value));
}

/* --- bytes ----------------------------------------------------------------------------------- */

/* Fills what is to be sent from the session, and writes what the socket takes. FALSE: it is gone.
 */
static gboolean
send_some(VarveGrpcClient *self)
{
    for (;;) {
        const uint8_t *bytes;
        ssize_t n = 1;
        while (self->output->len < INPUT_SIZE &&
               (n = nghttp2_session_mem_send(self->session, &bytes)) > 0)
            g_byte_array_append(self->output, bytes, (guint)n);
        if (n < 0)
            return FALSE;
        if (self->output->len == 0)
            return TRUE;
        ssize_t sent = send(self->fd, self->output->data, self->output->len, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR;
        g_byte_array_remove_range(self->output, 0, (guint)sent);
    }
}

static gboolean
receive_some(VarveGrpcClient *self)
{
    ssize_t n = recv(self->fd, self->input, INPUT_SIZE, 0);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    return n > 0 && nghttp2_session_mem_recv(self->session, self->input, (size_t)n) == n;
}

static gboolean
fail(const VarveGrpcClient *self, VarveErrorCode code, const char *why, GError **error)
{
    g_set_error(error, VARVE_ERROR, (int)code, "calling %s: %s", self->path, why);
    return FALSE;
}

/* Waits for the socket, once. *stalled counts how often nothing happened. */
static gboolean
wait_some(VarveGrpcClient *self, int *stalled, GError **error)
{
    struct pollfd poller = {.fd = self->fd, .events = POLLIN};
    if (self->output->len > 0)
        poller.events |= POLLOUT;
    int n = poll(&poller, 1, TICK_MS);
    if (self->cancelled != NULL && g_atomic_int_get(self->cancelled))
        return fail(self, VARVE_ERROR_CANCELLED, "cancelled", error);
    *stalled = n == 0 ? *stalled + 1 : 0;
    if (*stalled > STALL_SECONDS * 1000 / TICK_MS)
        return fail(self, VARVE_ERROR_UNAVAILABLE, "it says nothing any more", error);
    if (n > 0 && (poller.revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !receive_some(self))
        self->hung_up = TRUE;
    return TRUE;
}

typedef gboolean (*Condition)(VarveGrpcClient *self);

/* Sends and receives until a condition holds or the call is over. */
static gboolean
pump(VarveGrpcClient *self, Condition condition, GError **error)
{
    int stalled = 0;
    for (;;) {
        if (!self->hung_up && !send_some(self))
            self->hung_up = TRUE;
        if (self->closed || condition(self))
            return TRUE;
        if (self->hung_up)
            return fail(self, VARVE_ERROR_UNAVAILABLE, "the connection was closed", error);
        if (!wait_some(self, &stalled, error))
            return FALSE;
    }
}

/* --- a call ---------------------------------------------------------------------------------- */

static void
drop_call(VarveGrpcClient *self)
{
    if (self->stream > 0 && !self->closed)
        nghttp2_submit_rst_stream(self->session, 0, self->stream, NGHTTP2_CANCEL);
    varve_grpc_packed_drop(&self->out);
    g_byte_array_set_size(self->in, 0);
    g_clear_pointer(&self->message, g_free);
    g_clear_pointer(&self->path, g_free);
    self->stream = 0;
    self->last = self->answered = self->closed = FALSE;
    self->status = -1;
}

static nghttp2_nv
header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

gboolean
varve_grpc_client_begin(VarveGrpcClient *self, const char *path, GError **error)
{
    drop_call(self);
    self->path = g_strdup(path);
    const nghttp2_nv fixed[] = {
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", path),
        header(":authority", "localhost"),
        header("te", "trailers"),
        header("content-type", "application/grpc+proto"),
        header("user-agent", "grpc-varve"),
    };
    g_autoptr(GArray) headers = g_array_new(FALSE, FALSE, sizeof(nghttp2_nv));
    g_array_append_vals(headers, fixed, G_N_ELEMENTS(fixed));
    for (guint i = 0; i < self->headers->len; i += 2) {
        nghttp2_nv own = header(self->headers->pdata[i], self->headers->pdata[i + 1]);
        g_array_append_val(headers, own);
    }
    const nghttp2_data_provider provider = {.read_callback = read_request};
    self->stream = nghttp2_submit_request(self->session, NULL, (const nghttp2_nv *)headers->data,
                                          headers->len, &provider, NULL);
    return self->stream > 0 ||
           fail(self, VARVE_ERROR_UNAVAILABLE, nghttp2_strerror(self->stream), error);
}

static gboolean
is_sent(VarveGrpcClient *self)
{
    return self->out.head == NULL && self->output->len == 0;
}

gboolean
varve_grpc_client_send(VarveGrpcClient *self, const ProtobufCMessage *message, gboolean last,
                       GError **error)
{
    varve_grpc_packed_push(&self->out, varve_grpc_pack(message));
    self->last = last;
    nghttp2_session_resume_data(self->session, self->stream);
    return pump(self, is_sent, error);
}

static gsize
announced_length(const VarveGrpcClient *self)
{
    const guint8 *p = self->in->data;
    return (gsize)p[1] << 24 | (gsize)p[2] << 16 | (gsize)p[3] << 8 | p[4];
}

static gboolean
has_message(VarveGrpcClient *self)
{
    if (self->in->len < PREFIX)
        return FALSE;
    gsize length = announced_length(self);
    return length > MAX_MESSAGE || self->in->len - PREFIX >= length;
}

static ProtobufCMessage *
take_message(VarveGrpcClient *self, const ProtobufCMessageDescriptor *type, GError **error)
{
    gsize length = announced_length(self);
    ProtobufCMessage *message = NULL;
    if (self->in->data[0] == 0 && length <= MAX_MESSAGE)
        message = protobuf_c_message_unpack(type, NULL, length, self->in->data + PREFIX);
    if (message == NULL) {
        fail(self, VARVE_ERROR_INTERNAL,
             self->in->data[0] != 0 ? "its answer is compressed"
             : length > MAX_MESSAGE ? "its answer is too long"
                                    : "its answer cannot be decoded",
             error);
        return NULL;
    }
    g_byte_array_remove_range(self->in, 0, (guint)(PREFIX + length));
    return message;
}

/* The end of a call: TRUE if it is a good one. */
static gboolean
judge(const VarveGrpcClient *self, GError **error)
{
    if (self->status < 0)
        return fail(self, VARVE_ERROR_UNAVAILABLE,
                    self->answered ? "it ended without a status" : "it speaks no gRPC", error);
    if (self->status > 0)
        return fail(self, varve_grpc_status_code(self->status),
                    self->message != NULL ? self->message : "it failed without saying why", error);
    return self->in->len == 0 ||
           fail(self, VARVE_ERROR_UNAVAILABLE, "its answer ends within a message", error);
}

ProtobufCMessage *
varve_grpc_client_receive(VarveGrpcClient *self, const ProtobufCMessageDescriptor *type,
                          GError **error)
{
    if (!pump(self, has_message, error))
        return NULL;
    if (has_message(self))
        return take_message(self, type, error);
    judge(self, error);
    return NULL;
}

ProtobufCMessage *
varve_grpc_client_call(VarveGrpcClient *self, const char *path, const ProtobufCMessage *request,
                       const ProtobufCMessageDescriptor *type, GError **error)
{
    g_autoptr(GError) why = NULL;
    if (!varve_grpc_client_begin(self, path, error) ||
        !varve_grpc_client_send(self, request, TRUE, error))
        return NULL;
    ProtobufCMessage *response = varve_grpc_client_receive(self, type, &why);
    if (response == NULL && why == NULL)
        fail(self, VARVE_ERROR_INTERNAL, "it gave no answer", &why);
    ProtobufCMessage *more = why == NULL ? varve_grpc_client_receive(self, type, &why) : NULL;
    if (more != NULL) {
        protobuf_c_message_free_unpacked(more, NULL);
        fail(self, VARVE_ERROR_INTERNAL, "it gave more than one answer", &why);
    }
    if (why == NULL)
        return response;
    if (response != NULL)
        protobuf_c_message_free_unpacked(response, NULL);
    g_propagate_error(error, g_steal_pointer(&why));
    return NULL;
}
