/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authorization of requests. Nothing is sent before the registry asks (RFC 9110, 11): the first
 * answer with status 401 tells how, from then on every request to the endpoint has the header at
 * once. Tokens are got as https://distribution.github.io/distribution/spec/auth/token/ and
 * .../auth/oauth/ (for refresh tokens) say, one for each set of scopes, by one thread while the
 * others wait for it.
 */
#include "image/registry/internal.h"
#include <string.h>

#define MARGIN     (5 * G_USEC_PER_SEC) /* before a token's end, when it counts as expired */
#define WAIT       (100 * 1000)
#define FORM_TYPE  "application/x-www-form-urlencoded"
#define MAX_ANSWER (256 * 1024)

/* What was found out for a set of scopes. */
typedef struct {
    char *header;   /* NULL: there are no credentials to make one of */
    char *tried;    /* in words */
    gint64 expires; /* monotonic */
} Token;

static void
token_free(Token *token)
{
    varve_registry_secret_free(token->header);
    g_free(token->tried);
    g_free(token);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Token, token_free)

void
varve_registry_auth_init(VarveRegistryEndpoint *endpoint)
{
    endpoint->tokens =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)token_free);
    endpoint->wider = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

void
varve_registry_auth_clear(VarveRegistryEndpoint *endpoint)
{
    g_hash_table_unref(endpoint->tokens);
    g_hash_table_unref(endpoint->wider);
    g_clear_pointer(&endpoint->challenge, varve_registry_challenge_free);
    varve_registry_secret_free(endpoint->refresh_token);
}

/* --- scopes ----------------------------------------------------------------------------------- */

/* Whether a scope "TYPE:NAME:ACTIONS" grants all that another one does. */
static gboolean
grants(const char *scope, const char *other)
{
    const char *actions = strrchr(scope, ':'), *others = strrchr(other, ':');
    if (actions == NULL || others == NULL || actions - scope != others - other ||
        strncmp(scope, other, (gsize)(actions - scope)) != 0)
        return g_str_equal(scope, other);
    g_auto(GStrv) have = g_strsplit(actions + 1, ",", -1);
    g_auto(GStrv) want = g_strsplit(others + 1, ",", -1);
    for (char **action = want; *action != NULL; action++)
        if (!g_strv_contains((const char *const *)have, *action))
            return FALSE;
    return TRUE;
}

/* Adds to scopes those of wanted that they do not grant. */
static char *
widen(const char *scopes, const char *wanted)
{
    g_auto(GStrv) have = g_strsplit(scopes, " ", -1);
    g_auto(GStrv) want = g_strsplit(wanted, " ", -1);
    g_autoptr(GString) all = g_string_new(scopes);
    for (char **scope = want; *scope != NULL; scope++) {
        gboolean granted = **scope == '\0';
        for (char **own = have; *own != NULL && !granted; own++)
            granted = grants(*own, *scope);
        if (!granted)
            g_string_append_printf(all, " %s", *scope);
    }
    return g_string_free(g_steal_pointer(&all), FALSE);
}

/* --- getting a token -------------------------------------------------------------------------- */

/* One token to be got. */
typedef struct {
    VarveRegistry *registry;
    VarveRegistryEndpoint *endpoint;
    const char *realm, *service, *scopes;
    const gint *cancelled;
    VarveRegistryCredentials *credentials; /* or NULL */
    const char *identity;                  /* the refresh token, or NULL */
    char *tried;
} Order;

static char *
basic_header(const VarveRegistryCredentials *credentials)
{
    char *pair = g_strconcat(credentials->username, ":", credentials->password, NULL);
    char *encoded = g_base64_encode((const guchar *)pair, strlen(pair));
    char *header = g_strconcat("Basic ", encoded, NULL);
    varve_registry_secret_free(pair);
    varve_registry_secret_free(encoded);
    return header;
}

static VarveRegistryUrl *
query_url(const Order *order, const VarveRegistryUrl *realm, GError **error)
{
    g_autoptr(GString) text = g_string_new(realm->text);
    g_auto(GStrv) scopes = g_strsplit(order->scopes, " ", -1);
    if (order->service != NULL)
        varve_registry_url_add(text, "service", order->service);
    for (char **scope = scopes; *scope != NULL; scope++)
        if (**scope != '\0')
            varve_registry_url_add(text, "scope", *scope);
    if (order->credentials != NULL && order->credentials->username != NULL)
        varve_registry_url_add(text, "account", order->credentials->username);
    return varve_registry_url_parse(NULL, text->str, error);
}

static gssize
read_form(gpointer data, guint64 offset, void *buffer, gsize size, GError **error)
{
    const GString *form = data;
    gsize n = MIN(size, form->len - (gsize)offset);
    memcpy(buffer, form->str + offset, n);
    return (gssize)n;
}

static GString *
refresh_form(const Order *order)
{
    const struct {
        const char *name, *value;
    } fields[] = {
        {"grant_type", "refresh_token"},    {"client_id", "varve"},
        {"service", order->service},        {"scope", order->scopes},
        {"refresh_token", order->identity},
    };
    GString *form = g_string_sized_new(4096);
    for (gsize i = 0; i < G_N_ELEMENTS(fields); i++) {
        if (fields[i].value == NULL)
            continue;
        char *value = g_uri_escape_string(fields[i].value, NULL, FALSE);
        g_string_append_printf(form, "%s%s=%s", form->len > 0 ? "&" : "", fields[i].name, value);
        varve_registry_secret_free(value);
    }
    return form;
}

/* Where tokens are got. In the clear only on this machine, or from a registry that is spoken to in
 * the clear itself, and then without credentials. */
static VarveRegistryUrl *
realm_url(Order *order, GError **error)
{
    g_autoptr(VarveRegistryUrl) url = varve_registry_url_parse(NULL, order->realm, error);
    if (url == NULL) {
        g_prefix_error(error, "where tokens are got: ");
        return NULL;
    }
    if (varve_registry_url_is_safe(url))
        return g_steal_pointer(&url);
    g_mutex_lock(&order->endpoint->lock);
    gboolean plain = order->endpoint->plain;
    g_mutex_unlock(&order->endpoint->lock);
    if (!plain) {
        varve_error_set(error, VARVE_ERROR_PERMISSION_DENIED,
                        "it wants tokens to be got from '%s' in the clear: that is refused",
                        url->origin);
        return NULL;
    }
    if (order->credentials != NULL || order->identity != NULL) {
        g_autofree char *found = order->tried;
        order->tried = g_strdup_printf("none; those of %s are not sent without TLS", found);
        order->identity = NULL;
        g_clear_pointer(&order->credentials, varve_registry_credentials_free);
    }
    return g_steal_pointer(&url);
}

static gboolean
ask_realm(const Order *order, const VarveRegistryUrl *realm, VarveRegistryAnswer *answer,
          VarveRegistryFailure *failure, GError **error)
{
    const VarveRegistryTls *tls = varve_registry_tls(order->registry, realm->authority, error);
    g_autoptr(VarveRegistryUrl) url = query_url(order, realm, error);
    if (tls == NULL || url == NULL)
        return FALSE;
    VarveRegistryExchange exchange = {.method = "GET",
                                      .url = url,
                                      .tls = tls,
                                      .limit = MAX_ANSWER,
                                      .cancelled = order->cancelled};
    if (order->identity != NULL) {
        GString *form = refresh_form(order);
        VarveRegistryContent content = {read_form, form};
        VarveRegistryBody body = {&content, 0, form->len, FORM_TYPE};
        exchange.method = "POST";
        exchange.url = realm;
        exchange.body = &body;
        gboolean good =
            varve_registry_exchange(order->registry->lines, &exchange, answer, failure, error);
        varve_registry_secret_free(g_string_free(form, FALSE));
        return good;
    }
    char *header = order->credentials != NULL && order->credentials->username != NULL
                       ? basic_header(order->credentials)
                       : NULL;
    exchange.authorization = header;
    gboolean good =
        varve_registry_exchange(order->registry->lines, &exchange, answer, failure, error);
    varve_registry_secret_free(header);
    return good;
}

/* A registry may give a new refresh token with a token; it takes the place of the one before. */
static void
keep_refresh_token(VarveRegistryEndpoint *endpoint, const char *refresh_token)
{
    if (refresh_token == NULL)
        return;
    g_mutex_lock(&endpoint->lock);
    varve_registry_secret_free(endpoint->refresh_token);
    endpoint->refresh_token = g_strdup(refresh_token);
    g_mutex_unlock(&endpoint->lock);
}

static Token *
bearer_token(Order *order, VarveRegistryFailure *failure, GError **error)
{
    g_autoptr(VarveRegistryUrl) realm = realm_url(order, error);
    g_autoptr(VarveRegistryAnswer) answer = varve_registry_answer_new();
    if (realm == NULL)
        return NULL;
    gint64 asked = g_get_monotonic_time();
    gboolean good = ask_realm(order, realm, answer, failure, error);
    if (good && answer->status / 100 != 2) {
        varve_registry_refuse(realm->authority, order->tried, answer, failure, error);
        good = FALSE;
    }
    g_autoptr(VarveRegistryToken) got =
        good ? varve_registry_token_parse(answer->body->data, answer->body->len, error) : NULL;
    if (answer->body->len > 0)
        explicit_bzero(answer->body->data, answer->body->len);
    if (got == NULL) {
        g_prefix_error(error, "getting a token from '%s': ", realm->authority);
        return NULL;
    }
    if (order->identity != NULL)
        keep_refresh_token(order->endpoint, got->refresh_token);
    Token *token = g_new0(Token, 1);
    token->header = g_strconcat("Bearer ", got->token, NULL);
    token->expires = asked + (gint64)got->lifetime * G_USEC_PER_SEC;
    return token;
}

/* --- what a request shall have ---------------------------------------------------------------- */

static Token *
lasting_token(char *header)
{
    Token *token = g_new0(Token, 1);
    token->header = header;
    token->expires = G_MAXINT64;
    return token;
}

static Token *
make_token(Order *order, VarveRegistryAuth auth, const char *refreshed,
           VarveRegistryFailure *failure, GError **error)
{
    const VarveRegistryCredentials *credentials = order->credentials;
    if (auth == VARVE_REGISTRY_AUTH_BEARER) {
        if (credentials != NULL && credentials->bearer != NULL)
            return lasting_token(g_strconcat("Bearer ", credentials->bearer, NULL));
        if (credentials != NULL && credentials->identity != NULL)
            order->identity = refreshed != NULL ? refreshed : credentials->identity;
        return bearer_token(order, failure, error);
    }
    return lasting_token(
        credentials != NULL && credentials->username != NULL ? basic_header(credentials) : NULL);
}

/* Gets what the challenge wants, without the lock. */
static Token *
get_token(VarveRegistry *registry, VarveRegistryRequest *request,
          const VarveRegistryChallenge *challenge, const char *scopes, const char *refreshed,
          VarveRegistryFailure *failure, GError **error)
{
    GError *problem = NULL;
    Order order = {.registry = registry,
                   .endpoint = request->endpoint,
                   .realm = challenge->realm,
                   .service = challenge->service,
                   .scopes = scopes,
                   .cancelled = varve_registry_cancelled(request->watch)};
    order.credentials = varve_registry_credentials(registry, request->endpoint, request->repository,
                                                   order.cancelled, &order.tried, &problem);
    Token *token =
        problem != NULL ? NULL : make_token(&order, challenge->auth, refreshed, failure, &problem);
    if (token != NULL)
        token->tried = g_strdup(order.tried);
    if (problem != NULL)
        g_propagate_error(error, problem);
    if (order.credentials != NULL)
        varve_registry_credentials_free(order.credentials);
    g_free(order.tried);
    return token;
}

static VarveRegistryChallenge *
challenge_copy(const VarveRegistryChallenge *challenge)
{
    VarveRegistryChallenge *copy = g_new0(VarveRegistryChallenge, 1);
    copy->auth = challenge->auth;
    copy->realm = g_strdup(challenge->realm);
    copy->service = g_strdup(challenge->service);
    return copy;
}

/* Under the lock: what tokens for the request are kept under. Basic credentials may differ by
 * repository, as the configuration may. */
static char *
key_of(const VarveRegistryRequest *request)
{
    const VarveRegistryEndpoint *endpoint = request->endpoint;
    if (endpoint->challenge->auth == VARVE_REGISTRY_AUTH_BASIC)
        return g_strconcat("basic ", request->repository, NULL);
    const char *wider = g_hash_table_lookup(endpoint->wider, request->scopes);
    return g_strdup(wider != NULL ? wider : request->scopes);
}

/* Under the lock. */
static const Token *
find_token(const VarveRegistryRequest *request, const char *key)
{
    const Token *token = g_hash_table_lookup(request->endpoint->tokens, key);
    return token != NULL && token->expires - MARGIN > g_get_monotonic_time() ? token : NULL;
}

static void
use_token(VarveRegistryRequest *request, const Token *token, char **authorization)
{
    *authorization = g_strdup(token->header);
    g_free(request->tried);
    request->tried = g_strdup(token->tried);
}

/* Under the lock, which is released meanwhile. */
static Token *
fetch_token(VarveRegistry *registry, VarveRegistryRequest *request, const char *key,
            VarveRegistryFailure *failure, GError **error)
{
    VarveRegistryEndpoint *endpoint = request->endpoint;
    g_autoptr(VarveRegistryChallenge) challenge = challenge_copy(endpoint->challenge);
    char *refreshed = g_strdup(endpoint->refresh_token);
    endpoint->fetching = TRUE;
    g_mutex_unlock(&endpoint->lock);
    Token *token = get_token(registry, request, challenge, key, refreshed, failure, error);
    varve_registry_secret_free(refreshed);
    g_mutex_lock(&endpoint->lock);
    endpoint->fetching = FALSE;
    g_cond_broadcast(&endpoint->changed);
    return token;
}

gboolean
varve_registry_authorize(VarveRegistry *registry, VarveRegistryRequest *request,
                         char **authorization, VarveRegistryFailure *failure, GError **error)
{
    VarveRegistryEndpoint *endpoint = request->endpoint;
    const gint *cancelled = varve_registry_cancelled(request->watch);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&endpoint->lock);
    *authorization = NULL;
    while (endpoint->challenge != NULL) {
        g_autofree char *key = key_of(request);
        const Token *token = find_token(request, key);
        if (token != NULL) {
            use_token(request, token, authorization);
            return TRUE;
        }
        if (!varve_check_cancelled(cancelled, error))
            return FALSE;
        if (endpoint->fetching) {
            g_cond_wait_until(&endpoint->changed, &endpoint->lock, g_get_monotonic_time() + WAIT);
            continue;
        }
        Token *fetched = fetch_token(registry, request, key, failure, error);
        if (fetched == NULL)
            return FALSE;
        use_token(request, fetched, authorization);
        g_hash_table_insert(endpoint->tokens, g_steal_pointer(&key), fetched);
        return TRUE;
    }
    return TRUE;
}

static gboolean
has_header(gpointer key, gpointer value, gpointer header)
{
    const Token *token = value;
    return g_strcmp0(token->header, header) == 0;
}

gboolean
varve_registry_challenged(VarveRegistry *registry, VarveRegistryRequest *request,
                          const VarveRegistryAnswer *answer, const char *sent, GError **error)
{
    VarveRegistryEndpoint *endpoint = request->endpoint;
    g_autofree char *header = varve_registry_answer_headers(answer, "WWW-Authenticate");
    if (header == NULL)
        return TRUE;
    VarveRegistryChallenge *challenge = varve_registry_challenge_parse(header, error);
    if (challenge == NULL)
        return FALSE;

    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&endpoint->lock);
    if (challenge->auth == VARVE_REGISTRY_AUTH_BEARER && challenge->scope != NULL) {
        const char *wider = g_hash_table_lookup(endpoint->wider, request->scopes);
        char *scopes = widen(wider != NULL ? wider : request->scopes, challenge->scope);
        g_hash_table_replace(endpoint->wider, g_strdup(request->scopes), scopes);
    }
    if (sent != NULL)
        g_hash_table_foreach_remove(endpoint->tokens, has_header, (gpointer)sent);
    g_clear_pointer(&endpoint->challenge, varve_registry_challenge_free);
    endpoint->challenge = challenge;
    return TRUE;
}
