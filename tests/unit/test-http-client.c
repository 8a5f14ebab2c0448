/* SPDX-License-Identifier: Apache-2.0 */
/* The client of the HTTP API, and servers that are of no use (src/rpc/http-client.h). */
#include "rpc/http-client.h"
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define OK   "HTTP/1.1 200 OK\r\n"
#define JSON "Content-Type: application/json\r\n"

/* --- a server that answers one request -------------------------------------------------------- */

typedef struct {
    const char *answer; /* written when a head has come */
    gsize filler;       /* and so many bytes after it */
    gboolean drain;     /* the request's body, which is chunked, is read before that */
    gboolean hold;      /* the connection stays until the client ends it */
    gboolean deaf;      /* nothing but the head is read, and the connection ends */

    char *folder, *path;
    int listening;
    GThread *thread;
    GString *request;
} Server;

static void
read_until(int fd, GString *text, const char *end)
{
    char buffer[4096];
    while (strstr(text->str, end) == NULL) {
        gssize n = read(fd, buffer, sizeof(buffer));
        if (n <= 0)
            return;
        g_string_append_len(text, buffer, n);
    }
}

static void
answer(Server *server, int fd)
{
    static const char block[4096] = {[0 ... 4095] = 'x'};
    gssize n = send(fd, server->answer, strlen(server->answer), MSG_NOSIGNAL);
    for (gsize left = server->filler; left > 0 && n > 0; left -= (gsize)MAX(n, 0))
        n = send(fd, block, MIN(left, sizeof(block)), MSG_NOSIGNAL);
}

static gpointer
serve(gpointer data)
{
    char byte;
    Server *server = data;
    int fd = accept(server->listening, NULL, NULL);
    read_until(fd, server->request, "\r\n\r\n");
    if (server->drain)
        read_until(fd, server->request, "\r\n0\r\n\r\n");
    if (!server->deaf)
        answer(server, fd);
    while (server->hold && read(fd, &byte, 1) > 0)
        ;
    close(fd);
    return NULL;
}

static void
server_start(Server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    server->folder = g_dir_make_tmp("varve-http-XXXXXX", NULL);
    server->path = g_build_filename(server->folder, "socket", NULL);
    server->request = g_string_new(NULL);
    g_strlcpy(address.sun_path, server->path, sizeof(address.sun_path));
    server->listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(server->listening, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(server->listening, 5), ==, 0);
    server->thread = g_thread_new("server", serve, server);
}

static void
server_wait(Server *server)
{
    g_clear_pointer(&server->thread, g_thread_join);
}

static void
server_stop(Server *server)
{
    server_wait(server);
    close(server->listening);
    g_unlink(server->path);
    g_rmdir(server->folder);
    g_free(server->path);
    g_free(server->folder);
    g_string_free(server->request, TRUE);
}

static VarveHttpClient *
connect_to(const Server *server, const gint *cancelled)
{
    const VarveHttpClientPeer peer = {.name = "crude", .address = server->path, .idle_seconds = 1};
    GError *error = NULL;
    VarveHttpClient *client = varve_http_client.open(&peer, cancelled, &error);
    g_assert_no_error(error);
    return client;
}

/* --- calls ------------------------------------------------------------------------------------ */

static void
test_call(void)
{
    Server server = {.answer = OK JSON "Content-Length: 8\r\n\r\n{\"a\": 1}"};
    server_start(&server);
    VarveHttpClient *client = connect_to(&server, NULL);
    GError *error = NULL;
    json_auto_t *body = json_pack("{s:s}", "b", "c");
    json_auto_t *value = varve_http_client.call(client, "PUT", "/x?y=z", body, &error);
    g_assert_no_error(error);
    g_assert_cmpint(json_integer_value(json_object_get(value, "a")), ==, 1);
    varve_http_client.close(client);
    server_wait(&server);
    g_assert_true(g_str_has_prefix(server.request->str, "PUT /x?y=z HTTP/1.1\r\n"));
    g_assert_true(g_str_has_suffix(server.request->str, "\r\n\r\n{\"b\":\"c\"}"));
    server_stop(&server);
}

typedef struct {
    const char *name, *answer;
    gsize filler;
    VarveErrorCode code;
    const char *message;
} Case;

static const Case cases[] = {
    {"told",
     "HTTP/1.1 404 N\r\n\r\n{\"message\": \"there is no 'x'\", \"detail\": {\"error\": "
     "\"not-found\"}}",
     0, VARVE_ERROR_NOT_FOUND, "host 'crude': there is no 'x'"},
    {"detail wins", "HTTP/1.1 409 C\r\n\r\n{\"message\": \"m\", \"detail\": {\"error\": \"busy\"}}",
     0, VARVE_ERROR_BUSY, "host 'crude': m"},
    {"stopping",
     "HTTP/1.1 503 S\r\n\r\n{\"message\": \"m\", \"detail\": {\"error\": \"cancelled\"}}", 0,
     VARVE_ERROR_UNAVAILABLE, "m"},
    {"unknown detail",
     "HTTP/1.1 412 P\r\n\r\n{\"message\": \"m\", \"detail\": {\"error\": \"what\"}}", 0,
     VARVE_ERROR_FAILED_PRECONDITION, "m"},
    {"not let in", "HTTP/1.1 401 U\r\n\r\n", 0, VARVE_ERROR_PERMISSION_DENIED, "neither"},
    {"no reason", "HTTP/1.1 500 E\r\n\r\n<html>", 0, VARVE_ERROR_INTERNAL, "status 500"},
    {"endless reason", "HTTP/1.1 502 E\r\n\r\n", 1 << 20, VARVE_ERROR_UNAVAILABLE, "status 502"},
    {"redirect", "HTTP/1.1 302 F\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", 0,
     VARVE_ERROR_INTERNAL, "status 302"},
    {"short body", OK "Content-Length: 100\r\n\r\n{}", 0, VARVE_ERROR_UNAVAILABLE, ""},
    {"cut chunks", OK "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", 0, VARVE_ERROR_UNAVAILABLE,
     ""},
    {"bad chunk", OK "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", 0, VARVE_ERROR_UNAVAILABLE,
     ""},
    {"nothing", "", 0, VARVE_ERROR_UNAVAILABLE, ""},
    {"half a head", OK "X: ", 0, VARVE_ERROR_UNAVAILABLE, ""},
    {"no HTTP", "SSH-2.0-x\r\n", 0, VARVE_ERROR_CORRUPT, "is it a varved?"},
    {"huge header", OK "X: ", 1 << 20, VARVE_ERROR_CORRUPT, "header of its answer is too long"},
    {"huge body", OK "\r\n", 17 << 20, VARVE_ERROR_CORRUPT, "too long"},
    {"no JSON", OK "\r\n{\"a\": ", 0, VARVE_ERROR_CORRUPT, "its answer: the JSON is not valid"},
    {"wrong type", OK "\r\n7", 0, VARVE_ERROR_CORRUPT, "its answer"},
};

static void
test_bad_answer(gconstpointer data)
{
    const Case *c = data;
    Server server = {.answer = c->answer, .filler = c->filler};
    server_start(&server);
    VarveHttpClient *client = connect_to(&server, NULL);
    GError *error = NULL;
    g_assert_null(varve_http_client.call(client, "GET", "/", NULL, &error));
    g_test_message("%s", error->message);
    g_assert_error(error, VARVE_ERROR, (gint)c->code);
    g_assert_nonnull(strstr(error->message, c->message));
    g_error_free(error);
    varve_http_client.close(client);
    server_stop(&server);
}

/* Many small lines, each of them within what libcurl takes. */
static void
test_long_head(void)
{
    g_autoptr(GString) head = g_string_new(OK);
    for (guint i = 0; i < 10000; i++)
        g_string_append_printf(head, "X-%u: some value\r\n", i);
    g_string_append(head, "\r\n{}");
    const Case c = {"", head->str, 0, VARVE_ERROR_CORRUPT, "head of its answer is too long"};
    test_bad_answer(&c);
}

static void
test_no_server(void)
{
    const VarveHttpClientPeer peer = {.name = "none", .address = "/nonexistent/socket"};
    GError *error = NULL;
    VarveHttpClient *client = varve_http_client.open(&peer, NULL, &error);
    g_assert_null(varve_http_client.call(client, "GET", "/", NULL, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE);
    g_error_free(error);
    varve_http_client.close(client);
}

/* --- bodies that come ------------------------------------------------------------------------- */

/* All that comes; -1 with the error set. */
static gint64
read_all(VarveHttpClient *client, GError **error)
{
    char buffer[10000];
    gint64 all = 0;
    for (gssize n; (n = varve_http_client.read(client, buffer, sizeof(buffer), error)) != 0;) {
        if (n < 0)
            return -1;
        all += n;
    }
    return all;
}

static void
test_read(void)
{
    Server server = {.answer = OK "Content-Length: 20000000\r\n\r\n", .filler = 20000000};
    server_start(&server);
    VarveHttpClient *client = connect_to(&server, NULL);
    GError *error = NULL;
    g_assert_true(varve_http_client.begin(client, "GET", "/", NULL, &error));
    g_assert_cmpint(read_all(client, &error), ==, 20000000);
    g_assert_no_error(error);
    varve_http_client.close(client);
    server_stop(&server);
}

/* What is missing is an error, not the end. */
static void
test_short_read(void)
{
    Server server = {.answer = OK "Content-Length: 20000000\r\n\r\n", .filler = 19999999};
    server_start(&server);
    VarveHttpClient *client = connect_to(&server, NULL);
    GError *error = NULL;
    g_assert_true(varve_http_client.begin(client, "GET", "/", NULL, &error));
    g_assert_cmpint(read_all(client, &error), ==, -1);
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE);
    g_error_free(error);
    varve_http_client.close(client);
    server_stop(&server);
}

static void
test_stalled(void)
{
    Server server = {.answer = OK "Content-Length: 100\r\n\r\nabc", .hold = TRUE};
    server_start(&server);
    VarveHttpClient *client = connect_to(&server, NULL);
    GError *error = NULL;
    g_assert_true(varve_http_client.begin(client, "GET", "/", NULL, &error));
    g_assert_cmpint(read_all(client, &error), ==, -1);
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE);
    g_assert_nonnull(strstr(error->message, "nothing came or went for 1 s"));
    g_error_free(error);
    varve_http_client.close(client);
    server_stop(&server);
}

static void
test_cancelled(void)
{
    Server server = {.answer = OK "Content-Length: 100\r\n\r\nabc", .hold = TRUE};
    gint cancelled = FALSE;
    server_start(&server);
    VarveHttpClient *client = connect_to(&server, &cancelled);
    GError *error = NULL;
    g_assert_true(varve_http_client.begin(client, "GET", "/", NULL, &error));
    g_atomic_int_set(&cancelled, TRUE);
    g_assert_cmpint(read_all(client, &error), ==, -1);
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CANCELLED);
    g_error_free(error);
    varve_http_client.close(client);
    server_stop(&server);
}

/* --- bodies that go --------------------------------------------------------------------------- */

static gboolean
upload(VarveHttpClient *client, guint blocks, GError **error)
{
    static const char block[65536] = {[0 ... 65535] = 'y'};
    if (!varve_http_client.begin_upload(client, "POST", "/up", "text/plain", error))
        return FALSE;
    for (guint i = 0; i < blocks; i++)
        if (!varve_http_client.write(client, block, sizeof(block), error))
            return FALSE;
    return TRUE;
}

static void
test_upload(void)
{
    Server server = {.answer = OK "Content-Length: 2\r\n\r\n{}", .drain = TRUE};
    server_start(&server);
    VarveHttpClient *client = connect_to(&server, NULL);
    GError *error = NULL;
    g_assert_true(upload(client, 50, &error));
    json_auto_t *value = varve_http_client.finish(client, &error);
    g_assert_no_error(error);
    g_assert_true(json_is_object(value));
    varve_http_client.close(client);
    server_wait(&server);
    g_assert_cmpint(server.request->len, >, 50 * 65536);
    server_stop(&server);
}

/* The peer's own words, though it did not want the rest. */
static void
test_refused_upload(void)
{
    Server server = {.answer = "HTTP/1.1 409 C\r\nContent-Length: 45\r\n\r\n"
                               "{\"message\":\"taken\",\"detail\":{\"error\":\"busy\"}}",
                     .hold = TRUE};
    server_start(&server);
    VarveHttpClient *client = connect_to(&server, NULL);
    GError *error = NULL;
    g_assert_false(upload(client, 5000, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_BUSY);
    g_error_free(error);
    varve_http_client.close(client);
    server_stop(&server);
}

static void
test_cut_upload(void)
{
    Server server = {.answer = "", .deaf = TRUE};
    server_start(&server);
    VarveHttpClient *client = connect_to(&server, NULL);
    GError *error = NULL;
    g_assert_false(upload(client, 5000, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE);
    g_error_free(error);
    varve_http_client.close(client);
    server_stop(&server);
}

/* --- tokens ----------------------------------------------------------------------------------- */

static void
test_token(void)
{
    Server server = {.answer = OK "Content-Length: 2\r\n\r\n{}"};
    server_start(&server);
    g_autofree char *file = g_build_filename(server.folder, "token", NULL);
    const VarveHttpClientPeer peer = {
        .name = "crude", .address = server.path, .token_file = file, .idle_seconds = 1};
    g_assert_true(
        g_file_set_contents_full(file, "a-secret\n", -1, G_FILE_SET_CONTENTS_NONE, 0644, NULL));
    VarveHttpClient *client = varve_http_client.open(&peer, NULL, NULL);
    GError *error = NULL;
    g_assert_null(varve_http_client.call(client, "GET", "/", NULL, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
    g_clear_error(&error);
    g_assert_cmpint(g_chmod(file, 0600), ==, 0);
    json_auto_t *value G_GNUC_UNUSED = varve_http_client.call(client, "GET", "/", NULL, &error);
    g_assert_no_error(error);
    g_assert_true(json_is_object(value));
    varve_http_client.close(client);
    server_wait(&server);
    g_assert_nonnull(strstr(server.request->str, "\r\nAuthorization: Bearer a-secret\r\n"));
    g_unlink(file);
    server_stop(&server);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/http-client/call", test_call);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strconcat("/http-client/bad/", cases[i].name, NULL);
        g_test_add_data_func(path, &cases[i], test_bad_answer);
    }
    g_test_add_func("/http-client/bad/long head", test_long_head);
    g_test_add_func("/http-client/no-server", test_no_server);
    g_test_add_func("/http-client/read", test_read);
    g_test_add_func("/http-client/short-read", test_short_read);
    g_test_add_func("/http-client/stalled", test_stalled);
    g_test_add_func("/http-client/cancelled", test_cancelled);
    g_test_add_func("/http-client/upload", test_upload);
    g_test_add_func("/http-client/refused-upload", test_refused_upload);
    g_test_add_func("/http-client/cut-upload", test_cut_upload);
    g_test_add_func("/http-client/token", test_token);
    return g_test_run();
}
