/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc-client.h"
#include "rpc/grpc.h"
#include "rpc/internal.h"
#include "snapshots.pb-c.h"
#include <errno.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* --- a server -------------------------------------------------------------------------------- */

typedef Containerd__Services__Snapshots__V1__KeyRequest Key;
#define KEY_INIT       CONTAINERD__SERVICES__SNAPSHOTS__V1__KEY_REQUEST__INIT
#define KEY_DESCRIPTOR containerd__services__snapshots__v1__key_request__descriptor

typedef struct {
    char *directory, *path;
    VarveGrpcServer *server;
    GThread *thread;
    gint gate;                        /* atomic; lets the slow handlers go */
    gint begun, ended, dead, stopped; /* atomic; what the handlers saw */
} Fixture;

static void
echo(VarveGrpcCall *call, const ProtobufCMessage *request, gpointer data)
{
    g_assert_true(varve_grpc_call_send(call, request));
    varve_grpc_call_finish(call, VARVE_GRPC_OK, NULL);
}

static void
fail(VarveGrpcCall *call, const ProtobufCMessage *request, gpointer data)
{
    varve_grpc_call_finish(call, 5, "50% of 'k\xc3\xa4se\xff'\nare gone");
}

/* Waits until the gate opens or nobody waits for the answer. */
static void
slow(VarveGrpcCall *call, const ProtobufCMessage *request, gpointer data)
{
    Fixture *f = data;
    g_atomic_int_inc(&f->begun);
    while (!g_atomic_int_get(&f->gate) && varve_grpc_call_alive(call))
        g_usleep(1000);
    if (!varve_grpc_call_alive(call))
        g_atomic_int_inc(&f->dead);
    varve_grpc_call_send(call, request); /* still readable, whatever became of the call */
    varve_grpc_call_finish(call, VARVE_GRPC_OK, NULL);
    g_atomic_int_inc(&f->ended);
}

/* As many messages as the request's key says, then the status that its snapshotter says. */
static void
stream(VarveGrpcCall *call, const ProtobufCMessage *request, gpointer data)
{
    Fixture *f = data;
    const Key *key = (const Key *)request;
    g_atomic_int_inc(&f->begun);
    for (int i = 0; i < atoi(key->key); i++) {
        Key message = KEY_INIT;
        char text[1001];
        g_snprintf(text, sizeof(text), "%01000d", i);
        message.key = text;
        if (!varve_grpc_call_send(call, &message.base)) {
            g_atomic_int_inc(&f->stopped);
            break;
        }
    }
    varve_grpc_call_finish(call, atoi(key->snapshotter), "as you wish");
    g_atomic_int_inc(&f->ended);
}

static const VarveGrpcMethod methods[] = {
    {"/test/Inline", &KEY_DESCRIPTOR, echo, TRUE},
    {"/test/Worker", &KEY_DESCRIPTOR, echo, FALSE},
    {"/test/FailInline", &KEY_DESCRIPTOR, fail, TRUE},
    {"/test/FailWorker", &KEY_DESCRIPTOR, fail, FALSE},
    {"/test/Slow", &KEY_DESCRIPTOR, slow, FALSE},
    {"/test/Stream", &KEY_DESCRIPTOR, stream, FALSE},
    {"/test/Labels", &containerd__services__snapshots__v1__prepare_request__descriptor, echo, TRUE},
    {NULL},
};

static gpointer
serve(gpointer data)
{
    Fixture *f = data;
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_grpc_server_run(f->server, &error));
    g_assert_no_error(error);
    return NULL;
}

static void
setup(Fixture *f, gconstpointer data)
{
    f->directory = g_dir_make_tmp("varve-grpc-XXXXXX", NULL);
    f->path = g_build_filename(f->directory, "socket", NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 128), ==, 0);

    f->server = varve_grpc_server_new(methods, f, 16);
    varve_grpc_server_add_listener(f->server, fd);
    f->thread = g_thread_new("server", serve, f);
}

static void
stop(Fixture *f, guint grace_ms)
{
    varve_grpc_server_stop(f->server, grace_ms);
    g_thread_join(f->thread);
    f->thread = NULL;
}

static void
teardown(Fixture *f, gconstpointer data)
{
    if (f->thread != NULL)
        stop(f, 0);
    VarveGrpcStats stats;
    varve_grpc_server_stats(f->server, &stats);
    g_assert_cmpuint(stats.connections, ==, 0);
    g_assert_cmpuint(stats.active_calls, ==, 0);
    varve_grpc_server_free(f->server);
    g_unlink(f->path);
    g_rmdir(f->directory);
    g_free(f->path);
    g_free(f->directory);
}

/* --- calls ----------------------------------------------------------------------------------- */

/* A request with its prefix. */
static GByteArray *
request(const char *snapshotter, const char *text)
{
    Key key = KEY_INIT;
    key.snapshotter = (char *)snapshotter;
    key.key = (char *)text;
    gsize n = protobuf_c_message_get_packed_size(&key.base);
    GByteArray *bytes = g_byte_array_new();
    g_byte_array_set_size(bytes, (guint)(PREFIX + n));
    guint32 length = GUINT32_TO_BE((guint32)n);
    bytes->data[0] = 0;
    memcpy(bytes->data + 1, &length, sizeof(length));
    protobuf_c_message_pack(&key.base, bytes->data + PREFIX);
    return bytes;
}

static gint32
start(GrpcClient *client, const char *path, const char *snapshotter, const char *key)
{
    g_autoptr(GByteArray) bytes = request(snapshotter, key);
    return grpc_client_start(client, &(GrpcOptions){.path = path}, bytes->data, bytes->len);
}

/* An answer of one message that echoes the request. */
static void
assert_echo(GrpcReply *reply, const char *key)
{
    g_autoptr(GByteArray) expected = request("", key);
    g_assert_cmpint(reply->http, ==, 200);
    g_assert_cmpint(reply->status, ==, VARVE_GRPC_OK);
    g_assert_null(reply->message);
    g_assert_cmpmem(reply->body->data, reply->body->len, expected->data, expected->len);
    g_assert_cmpint(reply->error_code, ==, NGHTTP2_NO_ERROR);
}

static void
assert_works(Fixture *f)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    assert_echo(grpc_client_wait(client, start(client, "/test/Inline", "", "still")), "still");
    assert_echo(grpc_client_wait(client, start(client, "/test/Worker", "", "here")), "here");
}

static void
assert_refused(GrpcReply *reply, int status, const char *message)
{
    g_assert_cmpint(reply->status, ==, status);
    g_assert_cmpstr(reply->message, ==, message);
    g_assert_cmpuint(reply->body->len, ==, 0);
}

static void
wait_for(gint *counter, gint value)
{
    for (int i = 0; i < 20000 && g_atomic_int_get(counter) < value; i++)
        g_usleep(1000);
    g_assert_cmpint(g_atomic_int_get(counter), ==, value);
}

static void
test_unary(Fixture *f, gconstpointer path)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    for (int i = 0; i < 200; i++) {
        g_autofree char *key = g_strdup_printf("key-%d", i);
        assert_echo(grpc_client_wait(client, start(client, path, "", key)), key);
    }
    VarveGrpcStats stats;
    varve_grpc_server_stats(f->server, &stats);
    g_assert_cmpuint(stats.calls, ==, 200);
    g_assert_cmpuint(stats.connections, ==, 1);
}

static void
test_concurrent(Fixture *f, gconstpointer path)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    for (int round = 0; round < 10; round++) {
        gint32 streams[64];
        for (int i = 0; i < 64; i++) {
            g_autofree char *key = g_strdup_printf("key-%d-%d", round, i);
            streams[i] = start(client, path, "", key);
        }
        for (int i = 0; i < 64; i++) {
            g_autofree char *key = g_strdup_printf("key-%d-%d", round, i);
            assert_echo(grpc_client_wait(client, streams[i]), key);
        }
    }
}

/* More calls than workers, all of which wait: the rest is queued, and answered once they go on. */
static void
test_queue(Fixture *f, gconstpointer data)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    gint32 streams[40];
    for (int i = 0; i < 40; i++)
        streams[i] = start(client, "/test/Slow", "", "x");
    gint32 quick = start(client, "/test/Inline", "", "quick");
    assert_echo(grpc_client_wait(client, quick), "quick"); /* does not wait for workers */
    wait_for(&f->begun, 16);
    grpc_client_cancel(client, streams[39]); /* never begins */
    grpc_client_pump(client, 50, NULL, NULL);
    g_atomic_int_set(&f->gate, 1);
    for (int i = 0; i < 39; i++)
        assert_echo(grpc_client_wait(client, streams[i]), "x");
    g_assert_cmpint(g_atomic_int_get(&f->begun), ==, 39);
}

static void
test_large(Fixture *f, gconstpointer path)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    g_autofree char *key = g_strnfill(3 << 20, 'k');
    assert_echo(grpc_client_wait(client, start(client, path, "", key)), key);
    assert_echo(grpc_client_wait(client, start(client, path, "", "")), "");
}

static void
test_split(Fixture *f, gconstpointer path)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    client->byte_wise = TRUE;
    assert_echo(grpc_client_wait(client, start(client, path, "", "piece by piece")),
                "piece by piece");
}

/* --- streams --------------------------------------------------------------------------------- */

/* Checks that the body is n messages, the numbers in order. */
static void
assert_numbers(const GByteArray *body, int n)
{
    gsize offset = 0;
    for (int i = 0; i < n; i++) {
        char text[1001];
        g_snprintf(text, sizeof(text), "%01000d", i);
        g_autoptr(GByteArray) expected = request("", text);
        g_assert_cmpuint(offset + expected->len, <=, body->len);
        g_assert_cmpmem(body->data + offset, expected->len, expected->data, expected->len);
        offset += expected->len;
    }
    g_assert_cmpuint(offset, ==, body->len);
}

static void
test_stream(Fixture *f, gconstpointer data)
{
    guint32 window = GPOINTER_TO_UINT(data);
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, window, TRUE);
    GrpcReply *reply = grpc_client_wait(client, start(client, "/test/Stream", "0", "2000"));
    g_assert_cmpint(reply->status, ==, VARVE_GRPC_OK);
    assert_numbers(reply->body, 2000);

    reply = grpc_client_wait(client, start(client, "/test/Stream", "14", "3"));
    g_assert_cmpint(reply->status, ==, VARVE_GRPC_UNAVAILABLE);
    g_assert_cmpstr(reply->message, ==, "as you wish");
    assert_numbers(reply->body, 3);

    assert_refused(grpc_client_wait(client, start(client, "/test/Stream", "3", "0")),
                   VARVE_GRPC_INVALID_ARGUMENT, "as you wish");
}

/* A peer that opens no window: its worker waits, what is sent stays bounded, others are served,
 * and it all ends when the peer cancels. */
static void
test_stream_unread(Fixture *f, gconstpointer data)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, FALSE);
    gint32 id = start(client, "/test/Stream", "0", "100000");
    g_assert_false(grpc_client_pump(client, 300, NULL, NULL));
    GrpcReply *reply = grpc_client_reply(client, id);
    g_assert_cmpuint(reply->body->len, ==, 65535); /* the default window, to the byte */
    g_assert_cmpint(g_atomic_int_get(&f->ended), ==, 0);
    assert_works(f);
    grpc_client_cancel(client, id);
    grpc_client_pump(client, 50, NULL, NULL);
    wait_for(&f->ended, 1);
    g_assert_cmpint(g_atomic_int_get(&f->stopped), ==, 1);
}

/* A peer that does not even read its socket. */
static void
test_socket_unread(Fixture *f, gconstpointer data)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 1 << 30, TRUE);
    nghttp2_session_set_local_window_size(client->session, 0, 0, 1 << 30);
    gint32 id = start(client, "/test/Stream", "0", "20000");
    const guint8 *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(client->session, &bytes)) > 0)
        g_assert_cmpint(send(client->fd, bytes, (size_t)n, 0), ==, n);
    wait_for(&f->begun, 1);
    g_usleep(100000);
    g_assert_cmpint(g_atomic_int_get(&f->ended), ==, 0);
    assert_works(f);
    assert_numbers(grpc_client_wait(client, id)->body, 20000); /* nothing was lost meanwhile */
}

/* --- ends ------------------------------------------------------------------------------------ */

static void
test_status(Fixture *f, gconstpointer path)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    assert_refused(grpc_client_wait(client, start(client, path, "", "x")), 5,
                   "50%25 of 'k%C3%A4se%EF%BF%BD'%0Aare gone");
}

static void
test_deadline(Fixture *f, gconstpointer data)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    g_autoptr(GByteArray) bytes = request("", "x");
    GrpcOptions options = {.path = "/test/Slow", .timeout = "100m"};
    gint64 begin = g_get_monotonic_time();
    gint32 id = grpc_client_start(client, &options, bytes->data, bytes->len);
    assert_refused(grpc_client_wait(client, id), VARVE_GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
    gint64 took = g_get_monotonic_time() - begin;
    g_assert_cmpint(took, >=, 100000);
    g_assert_cmpint(took, <, 5000000);
    wait_for(&f->ended, 1);
    g_assert_cmpint(g_atomic_int_get(&f->dead), ==, 1);

    /* Past before it began; and one whose request never comes. */
    options = (GrpcOptions){.path = "/test/Inline", .timeout = "1n"};
    id = grpc_client_start(client, &options, bytes->data, bytes->len);
    assert_refused(grpc_client_wait(client, id), VARVE_GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
    options = (GrpcOptions){.path = "/test/Inline", .timeout = "50m", .more = TRUE};
    id = grpc_client_start(client, &options, bytes->data, 3);
    assert_refused(grpc_client_wait(client, id), VARVE_GRPC_DEADLINE_EXCEEDED, "deadline exceeded");

    /* In time. */
    options = (GrpcOptions){.path = "/test/Worker", .timeout = "20S"};
    id = grpc_client_start(client, &options, bytes->data, bytes->len);
    assert_echo(grpc_client_wait(client, id), "x");
}

/* A deadline in the middle of an answer. */
static void
test_deadline_stream(Fixture *f, gconstpointer data)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, FALSE);
    g_autoptr(GByteArray) bytes = request("0", "100000");
    GrpcOptions options = {.path = "/test/Stream", .timeout = "100m"};
    gint32 id = grpc_client_start(client, &options, bytes->data, bytes->len);
    GrpcReply *reply = grpc_client_wait(client, id);
    g_assert_cmpint(reply->status, ==, -1);
    g_assert_cmpint(reply->error_code, ==, NGHTTP2_CANCEL);
    wait_for(&f->stopped, 1);
}

static void
test_cancel(Fixture *f, gconstpointer data)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    gint32 id = start(client, "/test/Slow", "", "x");
    grpc_client_pump(client, 10, NULL, NULL);
    wait_for(&f->begun, 1);
    grpc_client_cancel(client, id);
    grpc_client_pump(client, 10, NULL, NULL);
    wait_for(&f->ended, 1);
    g_assert_cmpint(g_atomic_int_get(&f->dead), ==, 1);
    assert_echo(grpc_client_wait(client, start(client, "/test/Worker", "", "y")), "y");
}

static void
test_disconnect(Fixture *f, gconstpointer data)
{
    for (int i = 0; i < 8; i++) {
        g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
        start(client, "/test/Slow", "", "x");
        start(client, "/test/Stream", "0", "1000000");
        grpc_client_pump(client, 10, NULL, NULL);
        wait_for(&f->begun, 2 * i + 2);
    }
    wait_for(&f->ended, 16);
    g_assert_cmpint(g_atomic_int_get(&f->dead), ==, 8);
    g_assert_cmpint(g_atomic_int_get(&f->stopped), ==, 8);
    assert_works(f);
}

static gboolean
is_told(GrpcClient *client, gpointer data)
{
    return client->went_away;
}

static void
test_stop_in_flight(Fixture *f, gconstpointer data)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    g_autoptr(GrpcClient) idle = grpc_client_new(f->path, 0, TRUE);
    assert_echo(grpc_client_wait(idle, start(idle, "/test/Inline", "", "i")), "i");
    gint32 id = start(client, "/test/Slow", "", "last");
    grpc_client_pump(client, 10, NULL, NULL);
    wait_for(&f->begun, 1);

    varve_grpc_server_stop(f->server, 20000);
    g_assert_true(grpc_client_pump(client, 5000, is_told, NULL));
    g_assert_true(grpc_client_pump(idle, 5000, is_told, NULL));
    g_atomic_int_set(&f->gate, 1);
    assert_echo(grpc_client_wait(client, id), "last");
    g_thread_join(f->thread); /* long before the grace is over */
    f->thread = NULL;
    grpc_client_pump(idle, 1000, NULL, NULL);
    g_assert_true(idle->closed);
}

static void
test_stop_grace(Fixture *f, gconstpointer data)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    start(client, "/test/Slow", "", "x");
    grpc_client_pump(client, 10, NULL, NULL);
    wait_for(&f->begun, 1);
    gint64 begin = g_get_monotonic_time();
    stop(f, 100);
    g_assert_cmpint(g_get_monotonic_time() - begin, >=, 100000);
    wait_for(&f->ended, 1);
    g_assert_cmpint(g_atomic_int_get(&f->dead), ==, 1);
}

/* --- bad input ------------------------------------------------------------------------------- */

static void
test_unknown_method(Fixture *f, gconstpointer data)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    assert_refused(grpc_client_wait(client, start(client, "/test/Nothing", "", "x")),
                   VARVE_GRPC_UNIMPLEMENTED, "unknown method /test/Nothing");
    assert_works(f);
}

typedef struct {
    const char *name;
    GrpcOptions options;
    const char *bytes;
    gsize n;
    int http, status;
    const char *message;
} BadRequest;

/* clang-format off */
static const BadRequest bad_requests[] = {
    {"get", {.path = "/test/Inline", .method = "GET"}, "", 0, 405, 13,
     "gRPC calls are POST requests"},
    {"html", {.path = "/test/Inline", .content_type = "text/html"}, "", 0, 415, 13,
     "the content-type must be application/grpc"},
    {"json", {.path = "/test/Inline", .content_type = "application/grpc+json"}, "", 0, 415, 13,
     "the content-type must be application/grpc"},
    {"timeout", {.path = "/test/Inline", .timeout = "5 S"}, "\0\0\0\0\0", 5, 200, 13,
     "malformed grpc-timeout"},
    {"timeout-unit", {.path = "/test/Inline", .timeout = "5x"}, "\0\0\0\0\0", 5, 200, 13,
     "malformed grpc-timeout"},
    {"timeout-long", {.path = "/test/Inline", .timeout = "123456789S"}, "\0\0\0\0\0", 5, 200, 13,
     "malformed grpc-timeout"},
    {"none", {.path = "/test/Inline"}, "", 0, 200, 13, "the request has no message"},
    {"half-prefix", {.path = "/test/Inline"}, "\0\0\0", 3, 200, 13,
     "the request ends within its message"},
    {"half-message", {.path = "/test/Inline"}, "\0\0\0\0\5abc", 8, 200, 13,
     "the request ends within its message"},
    {"trailing", {.path = "/test/Inline"}, "\0\0\0\0\0more", 9, 200, 13,
     "the request goes on after its message"},
    {"two", {.path = "/test/Worker", .more = TRUE}, "\0\0\0\0\0\0\0\0\0\0", 10, 200, 13,
     "the request goes on after its message"},
    {"compressed", {.path = "/test/Inline"}, "\1\0\0\0\3abc", 8, 200, 12,
     "compressed messages are not supported"},
    {"flag", {.path = "/test/Inline"}, "\2\0\0\0\3abc", 8, 200, 13,
     "the message's compressed flag is neither 0 nor 1"},
    {"oversize", {.path = "/test/Inline", .more = TRUE}, "\0\1\0\0\1x", 6, 200, 8,
     "the message has 16777217 bytes, allowed are 16777216"},
    {"enormous", {.path = "/test/Worker", .more = TRUE}, "\0\377\377\377\377x", 6, 200, 8,
     "the message has 4294967295 bytes, allowed are 16777216"},
    {"undecodable", {.path = "/test/Inline"}, "\0\0\0\0\3\377\377\377", 8, 200, 13,
     "the request cannot be decoded"},
    {"undecodable-worker", {.path = "/test/Worker"}, "\0\0\0\0\2\12\177", 7, 200, 13,
     "the request cannot be decoded"},
};
/* clang-format on */

static void
test_bad_request(Fixture *f, gconstpointer data)
{
    const BadRequest *bad = data;
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    for (int i = 0; i < 3; i++) { /* the connection lives on */
        gint32 id = grpc_client_start(client, &bad->options, bad->bytes, bad->n);
        GrpcReply *reply = grpc_client_wait(client, id);
        g_assert_cmpint(reply->http, ==, bad->http);
        assert_refused(reply, bad->status, bad->message);
        g_assert_cmpint(reply->error_code, ==, NGHTTP2_NO_ERROR);
    }
    assert_echo(grpc_client_wait(client, start(client, "/test/Inline", "", "well")), "well");
}

/* Few bytes on the wire, many in memory: 8 million empty labels. */
static void
test_decoding_bomb(Fixture *f, gconstpointer data)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    gsize n = MAX_MESSAGE;
    g_autofree guint8 *bytes = g_malloc(PREFIX + n);
    memcpy(bytes, "\0\1\0\0\0", PREFIX);
    for (gsize i = 0; i < n; i += 2)
        memcpy(bytes + PREFIX + i, "\x22\0", 2);
    gint32 id =
        grpc_client_start(client, &(GrpcOptions){.path = "/test/Labels"}, bytes, PREFIX + n);
    assert_refused(grpc_client_wait(client, id), VARVE_GRPC_RESOURCE_EXHAUSTED,
                   "the decoded request needs too much memory");
    assert_works(f);
}

static void
test_garbage(Fixture *f, gconstpointer data)
{
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense after the preface, and quite some of it",
        "\x16\x03\x01\x02\x01\x01",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        int fd = grpc_client_connect(f->path);
        g_assert_cmpint(send(fd, texts[i], strlen(texts[i]), 0), >, 0);
        guint8 answer[256];
        struct timeval timeout = {.tv_sec = 10};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        ssize_t n;
        while ((n = recv(fd, answer, sizeof(answer), 0)) > 0)
            ;
        g_assert_true(n == 0 || errno == ECONNRESET); /* hung up, not timed out */
        close(fd);
        assert_works(f);
    }
}

/* A flood of pings whose answers nobody reads ends with the connection, not with the memory. */
static void
test_ping_flood(Fixture *f, gconstpointer data)
{
    int fd = grpc_client_connect(f->path);
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    send(fd, preface, sizeof(preface), MSG_NOSIGNAL);
    guint8 pings[17 * 1000] = {0};
    for (gsize i = 0; i < sizeof(pings); i += 17) {
        pings[i + 2] = 8; /* length */
        pings[i + 3] = 6; /* PING */
    }
    gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    ssize_t n = 0;
    while (n >= 0 && g_get_monotonic_time() < end)
        n = send(fd, pings, sizeof(pings), MSG_NOSIGNAL);
    g_assert_cmpint(n, <, 0);
    close(fd);
    assert_works(f);
}

/* --- too many -------------------------------------------------------------------------------- */

/* Silent connections give way to one that talks. */
static void
test_connections(Fixture *f, gconstpointer data)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = MIN(limit.rlim_max, 4 * MAX_CONNECTIONS);
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 2 * MAX_CONNECTIONS + 100) {
        g_test_skip("too few descriptors are allowed");
        return;
    }
    g_autofree int *fds = g_new(int, MAX_CONNECTIONS + 10);
    g_autoptr(GrpcClient) first = grpc_client_new(f->path, 0, TRUE);
    assert_echo(grpc_client_wait(first, start(first, "/test/Inline", "", "a")), "a");
    for (int i = 0; i < MAX_CONNECTIONS + 10; i++)
        fds[i] = grpc_client_connect(f->path);
    assert_works(f);
    assert_echo(grpc_client_wait(first, start(first, "/test/Inline", "", "b")), "b");
    for (int i = 0; i < MAX_CONNECTIONS + 10; i++)
        close(fds[i]);
    limit.rlim_cur = before;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Without descriptors the server waits, without spinning, and goes on when there are some. */
static void
test_out_of_descriptors(Fixture *f, gconstpointer data)
{
    assert_works(f);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct rlimit limit, before;
    getrlimit(RLIMIT_NOFILE, &before);
    limit = before;
    limit.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &limit);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);

    struct rusage begin, end;
    getrusage(RUSAGE_SELF, &begin);
    g_usleep(300000);
    getrusage(RUSAGE_SELF, &end);
    gint64 used = (end.ru_utime.tv_sec - begin.ru_utime.tv_sec) * G_USEC_PER_SEC +
                  end.ru_utime.tv_usec - begin.ru_utime.tv_usec +
                  (end.ru_stime.tv_sec - begin.ru_stime.tv_sec) * G_USEC_PER_SEC +
                  end.ru_stime.tv_usec - begin.ru_stime.tv_usec;
    VarveGrpcStats stats;
    varve_grpc_server_stats(f->server, &stats);
    setrlimit(RLIMIT_NOFILE, &before);
    g_assert_cmpint(used, <, 100000);
    g_assert_cmpuint(stats.connections, ==, 0);
    assert_works(f); /* after the one that waited */
    close(fd);
}

/* More streams at once than announced are refused one by one; the connection lives. */
static void
test_streams(Fixture *f, gconstpointer data)
{
    g_autoptr(GrpcClient) client = grpc_client_new(f->path, 0, TRUE);
    assert_echo(grpc_client_wait(client, start(client, "/test/Inline", "", "a")), "a");
    g_assert_cmpuint(nghttp2_session_get_remote_settings(client->session,
                                                         NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
                     ==, MAX_STREAMS);
    gint32 last = 0;
    for (int i = 0; i < MAX_STREAMS + 100; i++) /* the client's session holds the last ones back */
        last = start(client, "/test/Slow", "", "x");
    grpc_client_pump(client, 200, NULL, NULL);
    VarveGrpcStats stats;
    varve_grpc_server_stats(f->server, &stats);
    g_assert_cmpuint(stats.active_calls, ==, MAX_STREAMS);
    g_atomic_int_set(&f->gate, 1);
    assert_echo(grpc_client_wait(client, last), "x");
}

/* --- protocol words -------------------------------------------------------------------------- */

static void
test_timeouts(void)
{
    static const struct {
        const char *text;
        gint64 usec; /* -1: bad */
    } cases[] = {
        {"1S", 1000000},   {"99999999H", G_GINT64_CONSTANT(359999996400000000)},
        {"2M", 120000000}, {"30m", 30000},
        {"7u", 7},         {"1999n", 1},
        {"0S", 0},         {"", -1},
        {"S", -1},         {"1", -1},
        {"1s", -1},        {"-1S", -1},
        {"1SS", -1},       {"100000000n", -1},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        gint64 usec = -1;
        g_assert_cmpint(varve_grpc_parse_timeout(cases[i].text, &usec), ==, cases[i].usec >= 0);
        g_assert_cmpint(usec, ==, cases[i].usec);
    }
}

static void
test_content_types(void)
{
    g_assert_true(varve_grpc_is_content_type("application/grpc"));
    g_assert_true(varve_grpc_is_content_type("application/grpc+proto"));
    g_assert_true(varve_grpc_is_content_type("application/grpc;charset=utf-8"));
    g_assert_false(varve_grpc_is_content_type("application/grpc-web"));
    g_assert_false(varve_grpc_is_content_type("application/grp"));
    g_assert_false(varve_grpc_is_content_type("application/grpc+thrift"));
    g_assert_false(varve_grpc_is_content_type(""));
}

static void
add(const char *path, gconstpointer data, void (*func)(Fixture *, gconstpointer))
{
    g_test_add(path, Fixture, data, setup, func, teardown);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/grpc/unary/inline", "/test/Inline", test_unary);
    add("/grpc/unary/worker", "/test/Worker", test_unary);
    add("/grpc/concurrent/inline", "/test/Inline", test_concurrent);
    add("/grpc/concurrent/worker", "/test/Worker", test_concurrent);
    add("/grpc/queue", NULL, test_queue);
    add("/grpc/large/inline", "/test/Inline", test_large);
    add("/grpc/large/worker", "/test/Worker", test_large);
    add("/grpc/split/inline", "/test/Inline", test_split);
    add("/grpc/split/worker", "/test/Worker", test_split);
    add("/grpc/stream/window-default", GUINT_TO_POINTER(0), test_stream);
    add("/grpc/stream/window-700", GUINT_TO_POINTER(700), test_stream);
    add("/grpc/stream/window-unopened", NULL, test_stream_unread);
    add("/grpc/stream/socket-unread", NULL, test_socket_unread);
    add("/grpc/status/inline", "/test/FailInline", test_status);
    add("/grpc/status/worker", "/test/FailWorker", test_status);
    add("/grpc/deadline/unary", NULL, test_deadline);
    add("/grpc/deadline/stream", NULL, test_deadline_stream);
    add("/grpc/cancel", NULL, test_cancel);
    add("/grpc/disconnect", NULL, test_disconnect);
    add("/grpc/stop/in-flight", NULL, test_stop_in_flight);
    add("/grpc/stop/grace", NULL, test_stop_grace);
    add("/grpc/unknown-method", NULL, test_unknown_method);
    for (gsize i = 0; i < G_N_ELEMENTS(bad_requests); i++) {
        g_autofree char *path = g_strdup_printf("/grpc/bad-request/%s", bad_requests[i].name);
        add(path, &bad_requests[i], test_bad_request);
    }
    add("/grpc/decoding-bomb", NULL, test_decoding_bomb);
    add("/grpc/garbage", NULL, test_garbage);
    add("/grpc/ping-flood", NULL, test_ping_flood);
    add("/grpc/limit/connections", NULL, test_connections);
    add("/grpc/limit/descriptors", NULL, test_out_of_descriptors);
    add("/grpc/limit/streams", NULL, test_streams);
    g_test_add_func("/grpc/words/timeout", test_timeouts);
    g_test_add_func("/grpc/words/content-type", test_content_types);
    return g_test_run();
}
