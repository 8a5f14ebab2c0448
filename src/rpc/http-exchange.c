/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http-internal.h"
#include "rpc/http-parse.h"
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

/* --- who may -------------------------------------------------------------------------------- */

/* Whether the peer has shown a certificate of the authority that was set, for clients, and in its
 * time. */
static gboolean
has_certificate(const VarveHttpRequest *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (varve_http_auth_client_ca(request->port->auth) == NULL || info == NULL ||
        info->tls_session == NULL)
        return FALSE;
    guint status = 0;
    gnutls_typed_vdata_st purpose = {GNUTLS_DT_KEY_PURPOSE_OID, (guchar *)GNUTLS_KP_TLS_WWW_CLIENT,
                                     0};
    return gnutls_certificate_verify_peers(info->tls_session, &purpose, 1, &status) == 0 &&
           status == 0;
}

static gboolean
has_token(const VarveHttpRequest *request)
{
    const char *value = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                    MHD_HTTP_HEADER_AUTHORIZATION);
    const char *token = value != NULL ? varve_http_bearer(value) : NULL;
    return token != NULL && varve_http_auth_check_token(request->port->auth, token);
}

static gboolean
may_enter(VarveHttpRequest *request)
{
    if (request->port->auth == NULL || has_certificate(request) || has_token(request))
        return TRUE;
    pthread_mutex_lock(&request->server->lock);
    request->server->stats.refused++;
    pthread_mutex_unlock(&request->server->lock);
    varve_http_reply_problem(request, MHD_HTTP_UNAUTHORIZED, "unauthorized",
                             "this needs a client certificate of the authority that varved trusts, "
                             "or a token from its file (Authorization: Bearer TOKEN), and either "
                             "in its time");
    MHD_add_response_header(request->response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    return FALSE;
}

/* --- where to ------------------------------------------------------------------------------- */

static GError *
malformed_text(const char *where)
{
    return g_error_new(VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                       "the %s has a %%-escape that is none, or bytes that are no text in UTF-8",
                       where);
}

static enum MHD_Result
add_query(void *data, enum MHD_ValueKind kind, const char *key, const char *value)
{
    VarveHttpRequest *request = data;
    char *name = varve_http_decode(key, strlen(key), TRUE);
    char *text =
        varve_http_decode(value != NULL ? value : "", value != NULL ? strlen(value) : 0, TRUE);
    if (name != NULL && text != NULL) {
        g_hash_table_replace(request->query, name, text);
        return MHD_YES;
    }
    g_free(name);
    g_free(text);
    varve_http_reply_error(request, malformed_text("query"));
    return MHD_NO;
}

/* A pattern without parameters stands before those with one that it would match. */
static void
find_service(VarveHttpRequest *request, const char *method, const char *path)
{
    for (guint i = 0; i < request->server->services->len; i++) {
        VarveHttpService *service = request->server->services->pdata[i];
        g_hash_table_remove_all(request->params);
        if (g_str_equal(service->route->method, method) &&
            varve_http_match(service->route->pattern, path, request->params) == VARVE_HTTP_MATCH) {
            request->service = service;
            return;
        }
    }
}

/* Says why there is no service: the path is none, or has other methods. */
static void
refuse_place(VarveHttpRequest *request, const char *path)
{
    gboolean malformed = FALSE;
    g_autoptr(GString) allowed = g_string_new(NULL);
    for (guint i = 0; i < request->server->services->len; i++) {
        const VarveHttpRoute *route =
            ((VarveHttpService *)request->server->services->pdata[i])->route;
        VarveHttpMatch match = varve_http_match(route->pattern, path, request->params);
        malformed |= match == VARVE_HTTP_MALFORMED;
        if (match == VARVE_HTTP_MATCH)
            g_string_append_printf(allowed, "%s%s", allowed->len > 0 ? ", " : "", route->method);
    }
    if (allowed->len > 0) {
        varve_http_reply_problem(request, MHD_HTTP_METHOD_NOT_ALLOWED, "method_not_allowed",
                                 "this path has other methods");
        MHD_add_response_header(request->response, MHD_HTTP_HEADER_ALLOW, allowed->str);
    } else if (malformed) {
        varve_http_reply_error(request, malformed_text("path"));
    } else {
        varve_http_reply_problem(request, MHD_HTTP_NOT_FOUND, "not_found",
                                 "there is nothing at this path");
    }
}

/* --- its life ------------------------------------------------------------------------------- */

static VarveHttpRequest *
new_request(VarveHttpPort *port, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    VarveHttpRequest *request = g_new0(VarveHttpRequest, 1);
    request->server = port->server;
    request->port = port;
    request->connection = connection;
    request->peer = info != NULL ? info->socket_context : NULL;
    request->params = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    request->query = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    request->body = g_string_new(NULL);
    request->begun = g_get_monotonic_time();
    pthread_mutex_lock(&port->server->lock);
    port->server->stats.active++;
    pthread_mutex_unlock(&port->server->lock);
    return request;
}

static gboolean
is_stopping(VarveHttpServer *server)
{
    pthread_mutex_lock(&server->lock);
    gboolean stopping = server->stopping;
    pthread_mutex_unlock(&server->lock);
    return stopping;
}

static gboolean
announces_too_much(const VarveHttpRequest *request)
{
    guint64 length = 0;
    const char *value = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                    MHD_HTTP_HEADER_CONTENT_LENGTH);
    return value != NULL && !(request->service->route->flags & VARVE_HTTP_UPLOAD) &&
           (!g_ascii_string_to_unsigned(value, 10, 0, G_MAXINT64, &length, NULL) ||
            length > request->server->limits.body);
}

static void
refuse_size(VarveHttpRequest *request)
{
    g_autofree char *message =
        g_strdup_printf("the body is too long: at most %zu bytes", request->server->limits.body);
    varve_http_reply_problem(request, MHD_HTTP_CONTENT_TOO_LARGE, "request_body_too_big", message);
}

/* Judges the head. There is a response when it is refused. A stranger is not told what there is. */
static void
judge(VarveHttpRequest *request, const char *method, const char *path)
{
    find_service(request, method, path);
    gboolean guarded =
        request->service == NULL || !(request->service->route->flags & VARVE_HTTP_UNGUARDED);
    if (is_stopping(request->server))
        varve_http_reply_error(request, g_error_new(VARVE_ERROR, VARVE_ERROR_UNAVAILABLE,
                                                    "varved is stopping; try again"));
    else if (guarded && !may_enter(request))
        return;
    else if (request->service == NULL)
        refuse_place(request, path);
    else if (announces_too_much(request))
        refuse_size(request);
    else
        MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, add_query, request);
}

/* The handler answers, whatever it does. */
static void
handle(VarveHttpRequest *request)
{
    request->service->route->handler(request, request->service->data);
    if (request->response == NULL)
        varve_http_reply_error(request, g_error_new(VARVE_ERROR, VARVE_ERROR_INTERNAL,
                                                    "nothing was answered to this"));
}

static gpointer
handle_upload(gpointer data)
{
    VarveHttpRequest *request = data;
    handle(request);
    varve_http_channel_abandon(request->upload); /* what still comes is thrown away */
    return NULL;
}

static void
count_reply(VarveHttpRequest *request)
{
    gint64 took = g_get_monotonic_time() - request->begun;
    if (request->service == NULL)
        return;
    VarveHttpRouteStats *stats = &request->service->stats;
    pthread_mutex_lock(&request->server->lock);
    stats->statuses[MIN(request->status / 100, G_N_ELEMENTS(stats->statuses) - 1)]++;
    stats->microseconds += (guint64)took;
    for (gsize i = 0; i < VARVE_HTTP_BUCKETS; i++) {
        if (took <= varve_http_buckets[i]) {
            stats->buckets[i]++;
            break;
        }
    }
    pthread_mutex_unlock(&request->server->lock);
}

static enum MHD_Result
send_reply(VarveHttpRequest *request)
{
    count_reply(request);
    varve_http_peer_expect(request->server, request->peer, 0);
    if (is_stopping(request->server))
        MHD_add_response_header(request->response, MHD_HTTP_HEADER_CONNECTION, "close");
    return MHD_queue_response(request->connection, request->status, request->response);
}

static enum MHD_Result
begin(VarveHttpRequest *request, const char *method, const char *path)
{
    judge(request, method, path);
    if (request->response != NULL)
        return send_reply(request);
    if (!(request->service->route->flags & VARVE_HTTP_UPLOAD)) {
        varve_http_peer_expect(request->server, request->peer,
                               request->server->limits.request_seconds);
        return MHD_YES;
    }
    varve_http_peer_expect(request->server, request->peer, 0);
    request->upload = varve_http_channel_new(VARVE_HTTP_CHANNEL);
    request->uploading = g_thread_new("http-upload", handle_upload, request);
    return MHD_YES;
}

static enum MHD_Result
take_body(VarveHttpRequest *request, const char *data, gsize size)
{
    VarveHttpServer *server = request->server;
    pthread_mutex_lock(&server->lock);
    server->stats.bytes_in += size;
    pthread_mutex_unlock(&server->lock);
    if (request->upload != NULL)
        varve_http_channel_write(request->upload, data, size);
    else if (request->body->len <= server->limits.body) /* what is too much is not kept */
        g_string_append_len(request->body, data, (gssize)size);
    return MHD_YES;
}

static enum MHD_Result
end_body(VarveHttpRequest *request)
{
    varve_http_peer_expect(request->server, request->peer, 0);
    if (request->upload != NULL) {
        varve_http_channel_end(request->upload, TRUE);
        g_thread_join(g_steal_pointer(&request->uploading));
    } else if (request->body->len > request->server->limits.body) {
        refuse_size(request);
    } else {
        handle(request);
    }
    return send_reply(request);
}

enum MHD_Result
varve_http_exchange(void *port, struct MHD_Connection *connection, const char *url,
                    const char *method, const char *version, const char *data, size_t *size,
                    void **request)
{
    if (*request == NULL) {
        *request = new_request(port, connection);
        return begin(*request, method, url);
    }
    if (*size == 0)
        return end_body(*request);
    enum MHD_Result result = take_body(*request, data, *size);
    *size = 0;
    return result;
}

void
varve_http_exchange_ended(void *port, struct MHD_Connection *connection, void **data,
                          enum MHD_RequestTerminationCode how)
{
    VarveHttpRequest *request = *data;
    if (request == NULL)
        return;
    *data = NULL;
    VarveHttpServer *server = request->server;
    if (request->uploading != NULL) {
        varve_http_channel_end(request->upload, FALSE);
        g_thread_join(request->uploading);
    }
    varve_http_peer_expect(server, request->peer,
                           server->limits.idle_seconds + server->limits.request_seconds);
    pthread_mutex_lock(&server->lock);
    server->stats.active -= request->listening ? 0 : 1;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    g_clear_pointer(&request->response, MHD_destroy_response);
    varve_http_channel_free(request->upload);
    g_hash_table_unref(request->params);
    g_hash_table_unref(request->query);
    g_string_free(request->body, TRUE);
    g_free(request);
}
