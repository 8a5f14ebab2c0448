/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request to an endpoint: found the scheme that it speaks, authorized, followed where it leads.
 *
 * Redirects are followed here and not by libcurl: what is secret goes to the endpoint's own origin
 * only, and nothing that came by TLS leads to where there is none.
 */
#include "image/registry/internal.h"
#include <string.h>

#define MAX_REDIRECTS 8
#define MAX_ROUNDS    3 /* of authorization: unknown, an expired token, a wider scope */

gboolean
varve_registry_url_is_safe(const VarveRegistryUrl *url)
{
    return url->tls || url->loopback;
}

void
varve_registry_request_clear(VarveRegistryRequest *request)
{
    g_clear_pointer(&request->tried, g_free);
    g_clear_pointer(&request->effective, g_free);
}

/* --- where answers lead ----------------------------------------------------------------------- */

/* Whether one URL may lead to another: not out of TLS, and in the clear only to this machine or
 * where the endpoint itself is spoken to so. */
static gboolean
check_step(const VarveRegistryRequest *request, const VarveRegistryUrl *from,
           const VarveRegistryUrl *to, GError **error)
{
    if (to->tls || (!from->tls && (to->loopback || request->endpoint->may_be_plain)))
        return TRUE;
    return varve_error_set(
        error, VARVE_ERROR_PERMISSION_DENIED,
        "%s leads to '%s', where there is no TLS: that is refused; a proxy before the registry "
        "may have to be told to pass on X-Forwarded-Proto",
        from->authority, to->origin);
}

VarveRegistryUrl *
varve_registry_link(const VarveRegistryRequest *request, const char *text, GError **error)
{
    g_autoptr(VarveRegistryUrl) from = varve_registry_url_parse(NULL, request->effective, error);
    if (from == NULL)
        return NULL;
    g_autoptr(VarveRegistryUrl) to = varve_registry_url_parse(from->text, text, NULL);
    if (to != NULL)
        return check_step(request, from, to, error) ? g_steal_pointer(&to) : NULL;
    g_autofree char *shown = varve_registry_text_clean(text, -1);
    varve_error_set(error, VARVE_ERROR_CORRUPT,
                    "%s leads to '%s', which is no usable http or https URL", from->authority,
                    shown);
    return NULL;
}

VarveRegistryUrl *
varve_registry_location(const VarveRegistryRequest *request, const VarveRegistryAnswer *answer,
                        GError **error)
{
    const char *text = varve_registry_answer_header(answer, "Location");
    if (text != NULL)
        return varve_registry_link(request, text, error);
    varve_error_set(error, VARVE_ERROR_CORRUPT,
                    "its answer with status %ld lacks the header Location", answer->status);
    return NULL;
}

/* --- one exchange ----------------------------------------------------------------------------- */

static gboolean
is_own(const VarveRegistryRequest *request, const VarveRegistryUrl *url)
{
    g_autofree char *own =
        g_strdup_printf("%s://%s", url->tls ? "https" : "http", request->endpoint->authority);
    g_autoptr(VarveRegistryUrl) home = varve_registry_url_parse(NULL, own, NULL);
    return home != NULL && g_str_equal(home->origin, url->origin);
}

static gboolean
exchange_at(VarveRegistry *registry, VarveRegistryRequest *request, const VarveRegistryUrl *url,
            const char *authorization, VarveRegistryAnswer *answer, VarveRegistryFailure *failure,
            GError **error)
{
    const VarveRegistryTls *tls = varve_registry_tls(registry, url->authority, error);
    if (tls == NULL)
        return FALSE;
    VarveRegistryExchange exchange = {
        .method = request->method,
        .url = url,
        .tls = tls,
        .headers = request->headers,
        .authorization = authorization,
        .body = request->body,
        .sink = request->sink,
        .limit = request->limit,
        .cancelled = varve_registry_cancelled(request->watch),
        .sent = request->sent,
        .sent_data = request->sent_data,
    };
    g_free(request->effective);
    request->effective = g_strdup(url->text);
    if (varve_registry_exchange(registry->lines, &exchange, answer, failure, error))
        return TRUE;
    g_prefix_error(error, "%s: ", url->authority);
    return FALSE;
}

/* --- authorization ---------------------------------------------------------------------------- */

/* Repeats the exchange until the endpoint is content with the authorization, or nothing new can be
 * offered to it. */
static gboolean
exchange_authorized(VarveRegistry *registry, VarveRegistryRequest *request,
                    const VarveRegistryUrl *url, VarveRegistryAnswer *answer,
                    VarveRegistryFailure *failure, GError **error)
{
    char *sent = NULL;
    gboolean good = TRUE;
    for (guint round = 0; good && round < MAX_ROUNDS; round++) {
        char *authorization = NULL;
        good = varve_registry_authorize(registry, request, &authorization, failure, error);
        if (authorization != NULL && !varve_registry_url_is_safe(url)) {
            g_clear_pointer(&authorization, varve_registry_secret_free);
            g_autofree char *found = request->tried;
            request->tried = g_strdup_printf("none; those of %s are not sent without TLS", found);
        }
        gboolean same = round > 0 && g_strcmp0(authorization, sent) == 0;
        varve_registry_secret_free(sent);
        sent = authorization;
        if (!good || same)
            break;
        good = exchange_at(registry, request, url, sent, answer, failure, error);
        if (!good || answer->status != 401)
            break;
        good = varve_registry_challenged(registry, request, answer, sent, error);
    }
    varve_registry_secret_free(sent);
    return good;
}

static gboolean
exchange_suitably(VarveRegistry *registry, VarveRegistryRequest *request,
                  const VarveRegistryUrl *url, VarveRegistryAnswer *answer,
                  VarveRegistryFailure *failure, GError **error)
{
    if (is_own(request, url))
        return exchange_authorized(registry, request, url, answer, failure, error);
    g_free(request->tried);
    request->tried = g_strdup("none, since it is not the registry's own host");
    return exchange_at(registry, request, url, NULL, answer, failure, error);
}

/* --- redirects -------------------------------------------------------------------------------- */

static gboolean
is_redirect(const VarveRegistryRequest *request, const VarveRegistryAnswer *answer)
{
    switch (answer->status) {
    case 307:
    case 308:
        return TRUE;
    case 301:
    case 302:
    case 303: /* would become a GET */
        return g_str_equal(request->method, "GET") || g_str_equal(request->method, "HEAD");
    default:
        return FALSE;
    }
}

static gboolean
follow(VarveRegistry *registry, VarveRegistryRequest *request, const char *start,
       VarveRegistryAnswer *answer, VarveRegistryFailure *failure, GError **error)
{
    g_autoptr(VarveRegistryUrl) url = varve_registry_url_parse(NULL, start, error);
    for (guint steps = 0; url != NULL; steps++) {
        if (!exchange_suitably(registry, request, url, answer, failure, error))
            return FALSE;
        if (request->no_redirects || !is_redirect(request, answer))
            return TRUE;
        if (steps == MAX_REDIRECTS)
            return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                                   "%s redirects more than %d times", url->authority,
                                   MAX_REDIRECTS);
        g_autoptr(VarveRegistryUrl) next = varve_registry_location(request, answer, error);
        if (next == NULL)
            return FALSE;
        varve_registry_url_free(url);
        url = g_steal_pointer(&next);
    }
    return FALSE;
}

/* --- the scheme ------------------------------------------------------------------------------- */

static gboolean
request_by(VarveRegistry *registry, VarveRegistryRequest *request, gboolean plain,
           VarveRegistryAnswer *answer, VarveRegistryFailure *failure, GError **error)
{
    g_autofree char *url =
        request->url != NULL
            ? g_strdup(request->url)
            : g_strdup_printf("%s://%s%s/v2/%s", plain ? "http" : "https",
                              request->endpoint->authority, request->endpoint->path, request->path);
    return follow(registry, request, url, answer, failure, error);
}

static void
learn_scheme(VarveRegistryEndpoint *endpoint, gboolean plain)
{
    g_mutex_lock(&endpoint->lock);
    if (!endpoint->scheme_known) {
        endpoint->scheme_known = TRUE;
        endpoint->plain = plain;
    }
    g_mutex_unlock(&endpoint->lock);
}

/* A host that may be spoken to in the clear is tried with TLS first, so that a user learns of a
 * certificate's problem and secrets are kept where they can be. */
static gboolean
request_somehow(VarveRegistry *registry, VarveRegistryRequest *request, VarveRegistryAnswer *answer,
                VarveRegistryFailure *failure, GError **error)
{
    VarveRegistryEndpoint *endpoint = request->endpoint;
    g_mutex_lock(&endpoint->lock);
    gboolean known = endpoint->scheme_known, plain = endpoint->plain;
    g_mutex_unlock(&endpoint->lock);
    if (known || request->url != NULL)
        return request_by(registry, request, plain, answer, failure, error);

    g_autoptr(GError) problem = NULL;
    gboolean good = request_by(registry, request, FALSE, answer, failure, &problem);
    if (good)
        learn_scheme(endpoint, FALSE);
    if (!good && !failure->no_tls && !failure->connection)
        g_propagate_error(error, g_steal_pointer(&problem));
    if (good || (!failure->no_tls && !failure->connection))
        return good;
    *failure = (VarveRegistryFailure){0};
    good = request_by(registry, request, TRUE, answer, failure, error);
    if (good)
        learn_scheme(endpoint, TRUE);
    return good;
}

static gboolean
is_taken(const VarveRegistryRequest *request, long status)
{
    for (const int *one = request->statuses; one != NULL && *one != 0; one++)
        if (*one == status)
            return TRUE;
    return status / 100 == 2;
}

gboolean
varve_registry_request(VarveRegistry *registry, VarveRegistryRequest *request,
                       VarveRegistryAnswer *answer, VarveRegistryFailure *failure, GError **error)
{
    *failure = (VarveRegistryFailure){0};
    if (!request_somehow(registry, request, answer, failure, error))
        return FALSE;
    failure->status = answer->status;
    if (is_taken(request, answer->status))
        return TRUE;
    g_autoptr(VarveRegistryUrl) url = varve_registry_url_parse(NULL, request->effective, NULL);
    varve_registry_refuse(url->authority, request->tried, answer, failure, error);
    return FALSE;
}
