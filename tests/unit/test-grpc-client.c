/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/client.h"
#include "rpc/grpc.h"
#include "rpc/status.h"
#include "snapshots.pb-c.h"
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <varve/error.h>

typedef Containerd__Services__Snapshots__V1__KeyRequest Key;
#define KEY_INIT CONTAINERD__SERVICES__SNAPSHOTS__V1__KEY_REQUEST__INIT
#define KEY_TYPE containerd__services__snapshots__v1__key_request__descriptor

typedef struct {
    char *directory, *path;
    int listener;
    VarveGrpcServer *server;
    GThread *thread;
    gint cancelled;    /* the client's */
    gint begun, ended; /* atomic; what handlers saw */
} Fixture;

/* --- a server -------------------------------------------------------------------------------- */

static void
echo(VarveGrpcCall *call, const ProtobufCMessage *request, gpointer data)
{
    varve_grpc_call_send(call, request);
    varve_grpc_call_finish(call, VARVE_GRPC_OK, NULL);
}

/* Answers with the header that the key names. */
static void
header(VarveGrpcCall *call, const ProtobufCMessage *request, gpointer data)
{
    Key answer = KEY_INIT;
    const char *value = varve_grpc_call_header(call, ((const Key *)request)->key);
    answer.key = (char *)(value != NULL ? value : "none");
    varve_grpc_call_send(call, &answer.base);
    varve_grpc_call_finish(call, VARVE_GRPC_OK, NULL);
}

/* As many messages as the key says, then the status that the snapshotter says. */
static void
stream(VarveGrpcCall *call, const ProtobufCMessage *request, gpointer data)
{
    const Key *key = (const Key *)request;
    g_autofree char *text = g_strnfill(100000, 'x');
    for (int i = 0; i < atoi(key->key); i++) {
        Key message = KEY_INIT;
        g_autofree char *number = g_strdup_printf("%d", i);
        message.snapshotter = number;
        message.key = text;
        if (!varve_grpc_call_send(call, &message.base))
            break;
    }
    varve_grpc_call_finish(call, atoi(key->snapshotter), "50% of 'k\xc3\xa4se'\nare gone");
}

static void
slow(VarveGrpcCall *call, const ProtobufCMessage *request, gpointer data)
{
    Fixture *f = data;
    const gint *cancelled = varve_grpc_call_cancelled(call);
    g_atomic_int_inc(&f->begun);
    while (!g_atomic_int_get(cancelled))
        g_usleep(1000);
    varve_grpc_call_finish(call, VARVE_GRPC_OK, NULL);
    g_atomic_int_inc(&f->ended);
}

/* Two services, with data of their own. */
static const VarveGrpcMethod methods[] = {
    {"/test/Echo", &KEY_TYPE, echo, FALSE, FALSE},
    {"/test/Header", &KEY_TYPE, header, FALSE, TRUE},
    {"/test/NoHeader", &KEY_TYPE, header, FALSE, FALSE},
    {"/test/Stream", &KEY_TYPE, stream, FALSE, FALSE},
    {NULL},
};
static const VarveGrpcMethod more_methods[] = {
    {"/more/Slow", &KEY_TYPE, slow, FALSE, FALSE},
    {NULL},
};

static gpointer
serve(gpointer data)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_grpc_server_run(((Fixture *)data)->server, &error));
    g_assert_no_error(error);
    return NULL;
}

static void
setup_socket(Fixture *f, gconstpointer data)
{
    f->directory = g_dir_make_tmp("varve-grpc-XXXXXX", NULL);
    f->path = g_build_filename(f->directory, "socket", NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, f->path, sizeof address.sun_path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(f->listener, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_assert_cmpint(listen(f->listener, 128), ==, 0);
}

static void
setup(Fixture *f, gconstpointer data)
{
    setup_socket(f, data);
    f->server = varve_grpc_server_new(methods, NULL, 4);
    varve_grpc_server_add_methods(f->server, more_methods, f);
    varve_grpc_server_add_listener(f->server, f->listener);
    f->thread = g_thread_new("server", serve, f);
}

static void
stop(Fixture *f)
{
    varve_grpc_server_stop(f->server, 0);
    g_thread_join(f->thread);
    g_clear_pointer(&f->server, varve_grpc_server_free);
}

static void
teardown(Fixture *f, gconstpointer data)
{
    if (f->server != NULL)
        stop(f);
    g_unlink(f->path);
    g_rmdir(f->directory);
    g_free(f->path);
    g_free(f->directory);
}

/* --- calls ----------------------------------------------------------------------------------- */

static VarveGrpcClient *
connected(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    VarveGrpcClient *client = varve_grpc_client_new(f->path, &f->cancelled, &error);
    g_assert_no_error(error);
    return client;
}

static Key *
call(VarveGrpcClient *client, const char *path, const char *snapshotter, const char *key,
     GError **error)
{
    Key request = KEY_INIT;
    request.snapshotter = (char *)snapshotter;
    request.key = (char *)key;
    return (Key *)varve_grpc_client_call(client, path, &request.base, &KEY_TYPE, error);
}

static void
assert_answer(VarveGrpcClient *client, const char *path, const char *key, const char *expected)
{
    g_autoptr(GError) error = NULL;
    Key *answer = call(client, path, "", key, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(answer->key, ==, expected);
    protobuf_c_message_free_unpacked(&answer->base, NULL);
}

static void
assert_fails(VarveGrpcClient *client, const char *path, const char *snapshotter, const char *key,
             VarveErrorCode code, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(call(client, path, snapshotter, key, &error));
    g_assert_error(error, VARVE_ERROR, (int)code);
    g_assert_cmpstr(error->message, ==, message);
}

static void
test_unary(Fixture *f, gconstpointer data)
{
    g_autoptr(VarveGrpcClient) client = connected(f);
    g_autofree char *large = g_strnfill(3 << 20, 'l');
    assert_answer(client, "/test/Echo", "", "");
    assert_answer(client, "/test/Echo", "hello", "hello");
    assert_answer(client, "/test/Echo", large, large);
    assert_answer(client, "/test/Echo", "again", "again");
}

/* Only of methods that ask for it, and as it was set last. */
static void
test_headers(Fixture *f, gconstpointer data)
{
    g_autoptr(VarveGrpcClient) client = connected(f);
    assert_answer(client, "/test/Header", "x-space", "none");
    varve_grpc_client_set_header(client, "X-Space", "one");
    assert_answer(client, "/test/Header", "x-space", "one");
    varve_grpc_client_set_header(client, "x-space", "two");
    varve_grpc_client_set_header(client, "x-other", "three");
    assert_answer(client, "/test/Header", "x-space", "two");
    assert_answer(client, "/test/Header", "x-other", "three");
    assert_answer(client, "/test/NoHeader", "x-space", "none");
    varve_grpc_client_set_header(client, "x-space", NULL);
    assert_answer(client, "/test/Header", "x-space", "none");
    assert_answer(client, "/test/Header", "x-other", "three");
}

static void
test_errors(Fixture *f, gconstpointer data)
{
    static const char text[] = "calling /test/Stream: 50% of 'k\xc3\xa4se'\nare gone";
    g_autoptr(VarveGrpcClient) client = connected(f);
    assert_fails(client, "/test/Stream", "5", "0", VARVE_ERROR_NOT_FOUND, text);
    assert_fails(client, "/test/Stream", "6", "1", VARVE_ERROR_ALREADY_EXISTS, text);
    assert_fails(client, "/test/Stream", "2", "0", VARVE_ERROR_INTERNAL, text);
    assert_fails(client, "/test/Stream", "0", "0", VARVE_ERROR_INTERNAL,
                 "calling /test/Stream: it gave no answer");
    assert_fails(client, "/test/Stream", "0", "2", VARVE_ERROR_INTERNAL,
                 "calling /test/Stream: it gave more than one answer");
    assert_fails(client, "/test/None", "", "", VARVE_ERROR_NOT_IMPLEMENTED,
                 "calling /test/None: unknown method /test/None");
    g_autofree char *large = g_strnfill(17 << 20, 'l'); /* more than the server takes */
    g_autoptr(GError) error = NULL;
    g_assert_null(call(client, "/test/Echo", "", large, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
    assert_answer(client, "/test/Echo", "still here", "still here");
}

static void
begin_stream(VarveGrpcClient *client, const char *status, const char *n)
{
    g_autoptr(GError) error = NULL;
    Key request = KEY_INIT;
    request.snapshotter = (char *)status;
    request.key = (char *)n;
    g_assert_true(varve_grpc_client_begin(client, "/test/Stream", &error) &&
                  varve_grpc_client_send(client, &request.base, TRUE, &error));
    g_assert_no_error(error);
}

/* All messages come, in their order, and only then the status. */
static void
test_stream(Fixture *f, gconstpointer data)
{
    g_autoptr(VarveGrpcClient) client = connected(f);
    for (int status = 0; status <= 5; status += 5) {
        g_autoptr(GError) error = NULL;
        int n = 0;
        begin_stream(client, status == 0 ? "0" : "5", "60");
        Key *message;
        while ((message = (Key *)varve_grpc_client_receive(client, &KEY_TYPE, &error)) != NULL) {
            g_assert_cmpint(atoi(message->snapshotter), ==, n++);
            g_assert_cmpuint(strlen(message->key), ==, 100000);
            protobuf_c_message_free_unpacked(&message->base, NULL);
        }
        g_assert_cmpint(n, ==, 60);
        if (status == 0)
            g_assert_no_error(error);
        else
            g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    }
}

/* What is left of a call does not get into the next one. */
static void
test_left(Fixture *f, gconstpointer data)
{
    g_autoptr(VarveGrpcClient) client = connected(f);
    g_autoptr(GError) error = NULL;
    for (int i = 0; i < 3; i++) {
        begin_stream(client, "0", "100");
        ProtobufCMessage *first = varve_grpc_client_receive(client, &KEY_TYPE, &error);
        g_assert_no_error(error);
        protobuf_c_message_free_unpacked(first, NULL);
        assert_answer(client, "/test/Echo", "other", "other");
    }
}

/* --- ends ------------------------------------------------------------------------------------ */

static gpointer
cancel_when_begun(gpointer data)
{
    Fixture *f = data;
    while (g_atomic_int_get(&f->begun) == 0)
        g_usleep(1000);
    g_atomic_int_set(&f->cancelled, TRUE);
    return NULL;
}

/* The client gives up when it is told to, and the server hears of it. */
static void
test_cancel(Fixture *f, gconstpointer data)
{
    VarveGrpcClient *client = connected(f);
    GThread *thread = g_thread_new("cancel", cancel_when_begun, f);
    assert_fails(client, "/more/Slow", "", "", VARVE_ERROR_CANCELLED,
                 "calling /more/Slow: cancelled");
    g_thread_join(thread);
    varve_grpc_client_free(client);
    for (int i = 0; i < 20000 && g_atomic_int_get(&f->ended) == 0; i++)
        g_usleep(1000);
    g_assert_cmpint(g_atomic_int_get(&f->ended), ==, 1);
}

static void
test_hangup(Fixture *f, gconstpointer data)
{
    g_autoptr(VarveGrpcClient) client = connected(f);
    assert_answer(client, "/test/Echo", "x", "x");
    stop(f);
    assert_fails(client, "/test/Echo", "", "", VARVE_ERROR_UNAVAILABLE,
                 "calling /test/Echo: the connection was closed");
    assert_fails(client, "/test/Echo", "", "", VARVE_ERROR_UNAVAILABLE,
                 "calling /test/Echo: the connection was closed");
}

static void
test_nobody(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(varve_grpc_client_new("/nowhere/socket", NULL, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE);
    g_assert_cmpstr(error->message, ==, "connecting to /nowhere/socket: No such file or directory");
    g_clear_error(&error);
    g_autofree char *path = g_strnfill(200, 'p');
    g_assert_null(varve_grpc_client_new(path, NULL, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
}

/* A peer that says what it likes, whatever it is asked. */
typedef struct {
    const char *name;
    const char *bytes;
    gsize n;
    const char *message;
} Babble;

#define SETTINGS "\0\0\0\4\0\0\0\0\0"
/* :status 200 is entry 8 of HPACK's table, :status 404 entry 13. */
#define STATUS_200     "\0\0\1\1\4\0\0\0\1\x88"
#define STATUS_404_END "\0\0\1\1\5\0\0\0\1\x8d"
#define DATA(LENGTH)   "\0\0" LENGTH "\0\0\0\0\0\1"
#define DATA_END       "\0\0\0\0\1\0\0\0\1"
#define BABBLE(N, B, M)                                                                            \
    {                                                                                              \
        "/grpc-client/babble/" N, B, sizeof(B) - 1, M                                              \
    }

static const Babble babbles[] = {
    BABBLE("http1", "HTTP/1.1 400 Bad Request\r\n\r\n", "the connection was closed"),
    BABBLE("nothing", "", "the connection was closed"),
    BABBLE("settings", SETTINGS, "the connection was closed"),
    BABBLE("not-found", SETTINGS STATUS_404_END, "it speaks no gRPC"),
    BABBLE("no-status", SETTINGS STATUS_200 DATA_END, "it ended without a status"),
    BABBLE("compressed", SETTINGS STATUS_200 DATA("\5") "\1\0\0\0\0", "its answer is compressed"),
    BABBLE("too-long", SETTINGS STATUS_200 DATA("\5") "\0\x7f\xff\xff\xff",
           "its answer is too long"),
    BABBLE("garbage", SETTINGS STATUS_200 DATA("\6") "\0\0\0\0\1\xff",
           "its answer cannot be decoded"),
    BABBLE("cut", SETTINGS STATUS_200 DATA("\6") "\0\0\0\0\2\n", "the connection was closed"),
};

typedef struct {
    Fixture *f;
    const Babble *babble;
} Babbler;

static gpointer
babble_once(gpointer data)
{
    const Babbler *self = data;
    char bytes[4096];
    int fd = accept(self->f->listener, NULL, NULL);
    g_assert_cmpint(fd, >=, 0);
    /* The request is whole with the message that ends it. */
    for (gsize n = 0; n < 200;) {
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        g_assert_cmpint(got, >, 0);
        n += (gsize)got;
    }
    ssize_t sent = send(fd, self->babble->bytes, self->babble->n, MSG_NOSIGNAL);
    g_assert_cmpint(sent, ==, (ssize_t)self->babble->n);
    shutdown(fd, SHUT_WR);
    while (recv(fd, bytes, sizeof bytes, 0) > 0)
        continue;
    close(fd);
    return NULL;
}

static void
test_babble(Fixture *f, gconstpointer data)
{
    Babbler babbler = {f, data};
    g_autofree char *text = g_strnfill(300, 'x'), *path = NULL;
    GThread *thread = g_thread_new("babbler", babble_once, &babbler);
    VarveGrpcClient *client = connected(f);
    g_autoptr(GError) error = NULL;
    g_assert_null(call(client, "/test/Echo", "", text, &error));
    path = g_strconcat("calling /test/Echo: ", babbler.babble->message, NULL);
    g_assert_nonnull(error);
    g_assert_cmpstr(error->message, ==, path);
    varve_grpc_client_free(client);
    g_thread_join(thread);
    close(f->listener);
}

static void
test_words(void)
{
    g_assert_cmpint(varve_grpc_status_parse("0"), ==, 0);
    g_assert_cmpint(varve_grpc_status_parse("16"), ==, 16);
    g_assert_cmpint(varve_grpc_status_parse("17"), ==, 2);
    g_assert_cmpint(varve_grpc_status_parse(""), ==, 2);
    g_assert_cmpint(varve_grpc_status_parse("-1"), ==, 2);
    static const char *const texts[][2] = {
        {"", ""},           {"a%20b", "a b"}, {"%c3%A4", "\xc3\xa4"},
        {"100%", "100%"},   {"%2", "%2"},     {"%zz", "%zz"},
        {"a%00b", "a%00b"}, {"%25%32", "%2"}, {"%ff", "\xef\xbf\xbd"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *plain = varve_grpc_status_decode(texts[i][0]);
        g_assert_cmpstr(plain, ==, texts[i][1]);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/grpc-client/unary", Fixture, NULL, setup, test_unary, teardown);
    g_test_add("/grpc-client/headers", Fixture, NULL, setup, test_headers, teardown);
    g_test_add("/grpc-client/errors", Fixture, NULL, setup, test_errors, teardown);
    g_test_add("/grpc-client/stream", Fixture, NULL, setup, test_stream, teardown);
    g_test_add("/grpc-client/left", Fixture, NULL, setup, test_left, teardown);
    g_test_add("/grpc-client/cancel", Fixture, NULL, setup, test_cancel, teardown);
    g_test_add("/grpc-client/hangup", Fixture, NULL, setup, test_hangup, teardown);
    for (gsize i = 0; i < G_N_ELEMENTS(babbles); i++)
        g_test_add(babbles[i].name, Fixture, &babbles[i], setup_socket, test_babble, teardown);
    g_test_add_func("/grpc-client/nobody", test_nobody);
    g_test_add_func("/grpc-client/words", test_words);
    return g_test_run();
}
