/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http-client-internal.h"
#include <string.h>

#define MAX_MESSAGE 4096

/* --- answers that are no success -------------------------------------------------------------- */

/* What a status means where the answer does not tell more: it is no Varve that answers. */
static const struct {
    long status;
    VarveErrorCode code;
} statuses[] = {
    {400, VARVE_ERROR_INVALID_ARGUMENT},
    {401, VARVE_ERROR_PERMISSION_DENIED},
    {403, VARVE_ERROR_PERMISSION_DENIED},
    {404, VARVE_ERROR_NOT_FOUND},
    {405, VARVE_ERROR_NOT_IMPLEMENTED},
    {409, VARVE_ERROR_ALREADY_EXISTS},
    {412, VARVE_ERROR_FAILED_PRECONDITION},
    {413, VARVE_ERROR_INVALID_ARGUMENT},
    {422, VARVE_ERROR_CORRUPT},
    {501, VARVE_ERROR_NOT_IMPLEMENTED},
    {502, VARVE_ERROR_UNAVAILABLE},
    {503, VARVE_ERROR_UNAVAILABLE},
    {504, VARVE_ERROR_UNAVAILABLE},
    {507, VARVE_ERROR_NO_SPACE},
};

static VarveErrorCode
code_of_status(long status)
{
    for (gsize i = 0; i < G_N_ELEMENTS(statuses); i++)
        if (statuses[i].status == status)
            return statuses[i].code;
    return VARVE_ERROR_INTERNAL;
}

/* The codes have names, by which the other side tells them. */
static gboolean
code_of_name(const char *name, VarveErrorCode *code)
{
    for (int i = 0; name != NULL && i <= VARVE_ERROR_INTERNAL; i++) {
        const GError error = {VARVE_ERROR, i, NULL};
        if (g_str_equal(name, varve_error_name(&error))) {
            *code = (VarveErrorCode)i;
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
fail_as_told(const VarveHttpClient *client, GError **error)
{
    VarveErrorCode code = code_of_status(client->status);
    json_auto_t *body = varve_json_parse((const char *)client->in->data, client->in->len,
                                         VARVE_HTTP_MAX_ERROR, JSON_OBJECT, NULL);
    const char *message = json_string_value(json_object_get(body, "message"));
    const json_t *detail = json_object_get(body, "detail");
    (void)code_of_name(json_string_value(json_object_get(detail, "error")), &code);
    if (code == VARVE_ERROR_CANCELLED) /* it is being stopped: nobody here asked for that */
        code = VARVE_ERROR_UNAVAILABLE;
    if (client->status == 401)
        return varve_error_set(error, code,
                               "host '%s' lets us in neither by certificate nor by token: check "
                               "certificate, key and token-file of [host %s]",
                               client->peer.name, client->peer.name);
    if (message == NULL)
        return varve_error_set(error, code, "host '%s' answers with status %ld and no reason",
                               client->peer.name, client->status);
    return varve_error_set(error, code, "host '%s': %.*s", client->peer.name, MAX_MESSAGE, message);
}

/* --- no answer -------------------------------------------------------------------------------- */

typedef struct {
    CURLcode result;
    VarveErrorCode code;
    const char *hint;
} Judgement;

/* What libcurl's results mean; those that are not here: unavailable. */
static const Judgement judgements[] = {
    {CURLE_COULDNT_RESOLVE_HOST, VARVE_ERROR_UNAVAILABLE, "; check its address"},
    {CURLE_COULDNT_CONNECT, VARVE_ERROR_UNAVAILABLE, "; is varved running there?"},
    {CURLE_PEER_FAILED_VERIFICATION, VARVE_ERROR_PERMISSION_DENIED,
     "; its certificate must be signed by what the setting ca names"},
    {CURLE_SSL_CACERT_BADFILE, VARVE_ERROR_FAILED_PRECONDITION, "; check the setting ca"},
    {CURLE_SSL_CERTPROBLEM, VARVE_ERROR_FAILED_PRECONDITION,
     "; check the settings certificate and key"},
    {CURLE_UNSUPPORTED_PROTOCOL, VARVE_ERROR_CORRUPT, "; is it a varved?"},
    {CURLE_URL_MALFORMAT, VARVE_ERROR_INVALID_ARGUMENT, ""},
    {CURLE_OUT_OF_MEMORY, VARVE_ERROR_CORRUPT, "; a header of its answer is too long"},
    {CURLE_WEIRD_SERVER_REPLY, VARVE_ERROR_CORRUPT, ""},
};

static const Judgement *
judge(CURLcode result)
{
    static const Judgement other = {CURLE_OK, VARVE_ERROR_UNAVAILABLE, ""};
    for (gsize i = 0; i < G_N_ELEMENTS(judgements); i++)
        if (judgements[i].result == result)
            return &judgements[i];
    return &other;
}

/* The alert of TLS 1.3 by which a server refuses a client's certificate comes after the client took
 * the connection for whole (RFC 8446, 4.4.2.4 and 6.2), so libcurl has no result of its own for it.
 */
static gboolean
is_refused_certificate(const char *text)
{
    return strstr(text, "alert") != NULL &&
           (strstr(text, "certificate") != NULL || strstr(text, "unknown ca") != NULL);
}

gboolean
varve_http_client_check(VarveHttpClient *client, GError **error)
{
    if (client->refused != NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "host '%s': %s", client->peer.name,
                               client->refused);
    if (client->status != 0 && client->status / 100 != 2)
        return fail_as_told(client, error);
    if (client->result == CURLE_OK && client->status != 0)
        return TRUE;
    if (client->result == CURLE_OK)
        return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                               "host '%s': the connection ended before its answer did",
                               client->peer.name);
    const char *text =
        client->errors[0] != '\0' ? client->errors : curl_easy_strerror(client->result);
    const Judgement *judgement = judge(client->result);
    if (is_refused_certificate(text))
        judgement = judge(CURLE_SSL_CERTPROBLEM);
    g_autofree char *shown = g_utf8_make_valid(text, -1);
    return varve_error_set(error, judgement->code, "host '%s': %s%s", client->peer.name, shown,
                           judgement->hint);
}
