/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "rpc/http-client-internal.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_IDLE   60
#define MAX_CONNECT_MS (30 * 1000L)
#define BUFFER         (256 * 1024L)
#define AHEAD          (1024 * 1024) /* of a body that is read piece by piece */
#define MAX_TOKEN      4096

/* --- life ------------------------------------------------------------------------------------- */

static VarveHttpClient *
open_client(const VarveHttpClientPeer *peer, const gint *cancelled, GError **error)
{
    static gsize once;
    if (g_once_init_enter(&once)) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        g_once_init_leave(&once, 1);
    }
    VarveHttpClient *client = g_new0(VarveHttpClient, 1);
    client->peer = *peer;
    client->cancelled = cancelled;
    if (client->peer.idle_seconds == 0)
        client->peer.idle_seconds = DEFAULT_IDLE;
    client->in = g_byte_array_new();
    client->multi = curl_multi_init();
    client->easy = curl_easy_init();
    if (client->multi != NULL && client->easy != NULL)
        return client;
    varve_error_set(error, VARVE_ERROR_INTERNAL, "libcurl does not work");
    varve_http_client.close(client);
    return NULL;
}

static void
close_client(VarveHttpClient *client)
{
    if (client == NULL)
        return;
    if (client->easy != NULL)
        varve_http_client_stop(client);
    curl_easy_cleanup(client->easy);
    curl_multi_cleanup(client->multi);
    g_byte_array_unref(client->in);
    g_free(client);
}

/* --- setting up ------------------------------------------------------------------------------- */

static gboolean
check_token_file(int fd, const char *file, GError **error)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return varve_error_set_errno(error, errno, "looking at %s", file);
    return (st.st_mode & 077) == 0 ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "%s can be read by others: 'chmod 600' it", file);
}

static gboolean
add_token(VarveHttpClient *client, GError **error)
{
    char text[MAX_TOKEN + 1] = "";
    const char *file = client->peer.token_file;
    if (file == NULL)
        return TRUE;
    varve_autofd fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return varve_error_set_errno(error, errno, "opening %s", file);
    if (!check_token_file(fd, file, error))
        return FALSE;
    gssize n = read(fd, text, MAX_TOKEN);
    if (n < 0)
        return varve_error_set_errno(error, errno, "reading %s", file);
    gsize length = strcspn(text, " \t\r\n");
    gboolean good = length > 0 && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"
                                               "yz0123456789-._~+/=") >= length;
    if (good) {
        g_autofree char *header = g_strdup_printf("Authorization: Bearer %.*s", (int)length, text);
        client->headers = curl_slist_append(client->headers, header);
        explicit_bzero(header, strlen(header));
    }
    explicit_bzero(text, sizeof(text));
    return good || varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                                   "%s does not begin with a token", file);
}

static void
set_address(VarveHttpClient *client, const char *path)
{
    gboolean is_socket = client->peer.address[0] == '/';
    g_autofree char *url =
        g_strconcat(is_socket ? "http://varve" : client->peer.address, path, NULL);
    curl_easy_setopt(client->easy, CURLOPT_URL, url);
    if (is_socket)
        curl_easy_setopt(client->easy, CURLOPT_UNIX_SOCKET_PATH, client->peer.address);
}

static void
set_tls(VarveHttpClient *client)
{
    CURL *easy = client->easy;
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (client->peer.ca != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, client->peer.ca);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* that one alone, not the system's */
    }
    curl_easy_setopt(easy, CURLOPT_SSLCERT, client->peer.certificate);
    curl_easy_setopt(easy, CURLOPT_SSLKEY, client->peer.key);
}

static gboolean
prepare(VarveHttpClient *client, const char *method, const char *path, GError **error)
{
    CURL *easy = client->easy;
    varve_http_client_stop(client);
    set_address(client, path);
    set_tls(client);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "varve/" VARVE_VERSION);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* a slow resolver is not waited for */
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     MIN(MAX_CONNECT_MS, (long)client->peer.idle_seconds * 1000));
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, (long)MAX(1, client->peer.idle_seconds / 3));
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, (long)MAX(1, client->peer.idle_seconds / 6));
    client->headers = curl_slist_append(client->headers, "Expect:");
    return add_token(client, error);
}

/* --- what comes ------------------------------------------------------------------------------- */

static gboolean
has_head(const VarveHttpClient *client)
{
    return client->status / 100 == 2;
}

static gboolean
has_bytes(const VarveHttpClient *client)
{
    return client->in->len > client->in_read;
}

static gboolean
never(const VarveHttpClient *client)
{
    return FALSE;
}

/* Drives it, and judges its end if that has come. */
static gboolean
advance(VarveHttpClient *client, gboolean (*until)(const VarveHttpClient *client), GError **error)
{
    return varve_http_client_drive(client, until, error) &&
           (!client->ended || varve_http_client_check(client, error));
}

static gboolean
begin_exchange(VarveHttpClient *client, const char *method, const char *path, const json_t *body,
               GError **error)
{
    if (!prepare(client, method, path, error))
        return FALSE;
    if (body != NULL) {
        client->sent_json = json_dumps(body, JSON_COMPACT);
        if (client->sent_json == NULL)
            return varve_error_set(error, VARVE_ERROR_INTERNAL, "the request is no JSON");
        curl_easy_setopt(client->easy, CURLOPT_POSTFIELDS, client->sent_json);
        client->headers = curl_slist_append(client->headers, "Content-Type: application/json");
    }
    client->in_limit = AHEAD;
    varve_http_client_start(client);
    return TRUE;
}

static gboolean
begin(VarveHttpClient *client, const char *method, const char *path, const json_t *body,
      GError **error)
{
    return begin_exchange(client, method, path, body, error) && advance(client, has_head, error);
}

static gssize
read_body(VarveHttpClient *client, void *buffer, gsize size, GError **error)
{
    if (!has_bytes(client)) {
        g_byte_array_set_size(client->in, 0);
        client->in_read = 0;
        if (!client->ended && !varve_http_client_drive(client, has_bytes, error))
            return -1;
    }
    gsize n = MIN(size, client->in->len - client->in_read);
    if (n == 0)
        return varve_http_client_check(client, error) ? 0 : -1;
    memcpy(buffer, client->in->data + client->in_read, n);
    client->in_read += n;
    return (gssize)n;
}

static json_t *
collect(VarveHttpClient *client, GError **error)
{
    if (!advance(client, never, error))
        return NULL;
    if (client->in->len == 0)
        return json_null();
    const char *text = (const char *)client->in->data;
    json_type type = text[0] == '[' ? JSON_ARRAY : JSON_OBJECT;
    json_t *value = varve_json_parse(text, client->in->len, VARVE_HTTP_MAX_ANSWER, type, error);
    if (value == NULL && error != NULL && *error != NULL) {
        (*error)->code = VARVE_ERROR_CORRUPT; /* it is not the caller's argument */
        g_prefix_error(error, "host '%s': its answer: ", client->peer.name);
    }
    return value;
}

static json_t *
call(VarveHttpClient *client, const char *method, const char *path, const json_t *body,
     GError **error)
{
    if (!begin_exchange(client, method, path, body, error))
        return NULL;
    client->collect = TRUE;
    client->in_limit = VARVE_HTTP_MAX_ANSWER;
    return collect(client, error);
}

/* --- what goes -------------------------------------------------------------------------------- */

static gboolean
begin_upload(VarveHttpClient *client, const char *method, const char *path, const char *type,
             GError **error)
{
    if (!prepare(client, method, path, error))
        return FALSE;
    g_autofree char *header = g_strconcat("Content-Type: ", type, NULL);
    client->headers = curl_slist_append(client->headers, header);
    client->headers = curl_slist_append(client->headers, "Transfer-Encoding: chunked");
    curl_easy_setopt(client->easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(client->easy, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER);
    client->uploading = client->collect = TRUE;
    client->in_limit = VARVE_HTTP_MAX_ANSWER;
    varve_http_client_start(client);
    return TRUE;
}

static gboolean
all_is_sent(const VarveHttpClient *client)
{
    return client->out_left == 0;
}

static gboolean
write_body(VarveHttpClient *client, const void *bytes, gsize size, GError **error)
{
    client->out = bytes;
    client->out_left = size;
    gboolean sent = advance(client, all_is_sent, error);
    client->out = NULL;
    if (!sent || client->out_left == 0)
        return sent;
    client->out_left = 0;
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "host '%s' answers before it has all of what is sent",
                           client->peer.name);
}

static json_t *
finish(VarveHttpClient *client, GError **error)
{
    client->out_end = TRUE;
    return collect(client, error);
}

const VarveHttpClientFunctions varve_http_client = {
    .open = open_client,
    .close = close_client,
    .call = call,
    .begin = begin,
    .read = read_body,
    .begin_upload = begin_upload,
    .write = write_body,
    .finish = finish,
};
