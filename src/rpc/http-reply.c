/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http-internal.h"
#include <string.h>

/* The words that Flynn's clients know (pkg/httphelper in flynn), and more of that kind for what
 * they do not. */
static const char *const words[] = {
    [VARVE_ERROR_INVALID_ARGUMENT] = "validation_error",
    [VARVE_ERROR_NOT_FOUND] = "object_not_found",
    [VARVE_ERROR_ALREADY_EXISTS] = "object_exists",
    [VARVE_ERROR_FAILED_PRECONDITION] = "precondition_failed",
    [VARVE_ERROR_UNAVAILABLE] = "service_unavailable",
    [VARVE_ERROR_NOT_IMPLEMENTED] = "not_implemented",
    [VARVE_ERROR_PERMISSION_DENIED] = "forbidden",
    [VARVE_ERROR_NO_SPACE] = "no_space",
    [VARVE_ERROR_BUSY] = "conflict",
    [VARVE_ERROR_CORRUPT] = "corrupt",
    [VARVE_ERROR_CANCELLED] = "cancelled",
    [VARVE_ERROR_INTERNAL] = "unknown_error",
};

void
varve_http_reply_response(VarveHttpRequest *request, guint status, const char *type,
                          struct MHD_Response *response)
{
    g_assert(request->response == NULL);
    if (type != NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    request->response = response;
    request->status = status;
}

/* text is malloc's, and taken. */
static void
reply_taken(VarveHttpRequest *request, guint status, const char *type, char *text)
{
    gsize length = strlen(text);
    pthread_mutex_lock(&request->server->lock);
    request->server->stats.bytes_out += length;
    pthread_mutex_unlock(&request->server->lock);
    varve_http_reply_response(request, status, type,
                              MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE));
}

void
varve_http_reply_text(VarveHttpRequest *request, const char *type, char *text)
{
    reply_taken(request, MHD_HTTP_OK, type, text); /* GLib's allocator is malloc */
}

void
varve_http_reply_json(VarveHttpRequest *request, guint status, json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT) : strdup("");
    json_decref(value);
    if (text != NULL)
        reply_taken(request, status, value != NULL ? "application/json" : NULL, text);
    else
        varve_http_reply_error(request, g_error_new(VARVE_ERROR, VARVE_ERROR_INTERNAL,
                                                    "the answer cannot be written as JSON"));
}

static void
reply_problem(VarveHttpRequest *request, guint status, const char *code, const char *message,
              const char *kind, gboolean retry)
{
    g_autofree char *valid = g_utf8_make_valid(message, -1);
    json_t *value = json_object();
    json_object_set_new(value, "code", json_string(code));
    json_object_set_new(value, "message", json_string(valid));
    if (kind != NULL) {
        json_t *detail = json_object();
        json_object_set_new(detail, "error", json_string(kind));
        json_object_set_new(value, "detail", detail);
    }
    json_object_set_new(value, "retry", json_boolean(retry));
    varve_http_reply_json(request, status, value);
}

void
varve_http_reply_problem(VarveHttpRequest *request, guint status, const char *code,
                         const char *message)
{
    reply_problem(request, status, code, message, NULL, FALSE);
}

void
varve_http_reply_error(VarveHttpRequest *request, GError *error)
{
    VarveErrorCode code = error->domain == VARVE_ERROR && (guint)error->code < G_N_ELEMENTS(words)
                              ? (VarveErrorCode)error->code
                              : VARVE_ERROR_INTERNAL;
    pthread_mutex_lock(&request->server->lock);
    request->server->stats.errors[code]++;
    pthread_mutex_unlock(&request->server->lock);
    reply_problem(request, (guint)varve_error_http_status(error),
                  request->malformed ? "syntax_error" : words[code], error->message,
                  varve_error_name(error),
                  code == VARVE_ERROR_UNAVAILABLE || code == VARVE_ERROR_BUSY);
    g_error_free(error);
}
