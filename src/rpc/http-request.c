/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http-internal.h"
#include "rpc/http-parse.h"
#include <string.h>

const char *
varve_http_request_param(VarveHttpRequest *request, const char *name)
{
    return g_hash_table_lookup(request->params, name);
}

const char *
varve_http_request_query(VarveHttpRequest *request, const char *name)
{
    return g_hash_table_lookup(request->query, name);
}

gboolean
varve_http_request_accepts(VarveHttpRequest *request, const char *type)
{
    const char *accept =
        MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    return accept != NULL && varve_http_accepts(accept, type);
}

json_t *
varve_http_request_json(VarveHttpRequest *request, json_type type, GError **error)
{
    const GString *body = request->body;
    if (body->len == 0)
        return type == JSON_ARRAY ? json_array() : json_object();
    json_t *value =
        varve_json_parse(body->str, body->len, request->server->limits.body, type, error);
    request->malformed = value == NULL;
    return value;
}

json_type
varve_http_request_json_type(VarveHttpRequest *request)
{
    const char *text = request->body->str;
    return text[strspn(text, " \t\r\n")] == '[' ? JSON_ARRAY : JSON_OBJECT;
}

static gssize
read_upload(gpointer data, void *buffer, gsize size, GError **error)
{
    gssize n = varve_http_channel_read(((VarveHttpRequest *)data)->upload, buffer, size);
    if (n < 0)
        varve_error_set(error, VARVE_ERROR_UNAVAILABLE, "the sender went away before the end");
    return n;
}

VarveSource
varve_http_request_source(VarveHttpRequest *request)
{
    return (VarveSource){read_upload, request};
}
