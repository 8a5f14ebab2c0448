/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Docker's config.json and the answers of its credential helpers:
 * https://docs.docker.com/reference/cli/docker/login/ and
 * https://github.com/docker/docker-credential-helpers. The keys of `auths` may be URLs (the Hub's
 * is), and in containers-auth.json(5) they may go on with a path, the longest of which wins.
 */
#include "image/registry/parse.h"
#include <jansson.h>
#include <string.h>

#define MAX_SECRET (64 * 1024)

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)

void
varve_registry_credentials_free(VarveRegistryCredentials *credentials)
{
    g_free(credentials->username);
    varve_registry_secret_free(credentials->password);
    varve_registry_secret_free(credentials->identity);
    varve_registry_secret_free(credentials->bearer);
    g_free(credentials->from);
    g_free(credentials);
}

static gboolean
malformed(GError **error, const char *where)
{
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "%s is malformed", where);
}

/* A string member: NULL when it is missing or empty. */
static const char *
member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL || text[0] == '\0' || strlen(text) > MAX_SECRET ? NULL : text;
}

VarveRegistryCredentials *
varve_registry_helper_parse(const char *output, gsize n, GError **error)
{
    g_autoptr(json_t) document = json_loadb(output, n, 0, NULL);
    if (!json_is_object(document)) {
        malformed(error, "what it printed");
        return NULL;
    }
    const char *user = member(document, "Username"), *secret = member(document, "Secret");
    if (secret == NULL)
        return NULL;
    VarveRegistryCredentials *credentials = g_new0(VarveRegistryCredentials, 1);
    if (user == NULL || g_str_equal(user, "<token>")) {
        credentials->identity = g_strdup(secret);
    } else {
        credentials->username = g_strdup(user);
        credentials->password = g_strdup(secret);
    }
    return credentials;
}

/* "user:password", in base64. */
static gboolean
take_auth(const char *encoded, VarveRegistryCredentials *credentials, GError **error)
{
    gsize n;
    guchar *decoded = g_base64_decode(encoded, &n);
    char *text = g_strndup((const char *)decoded, n);
    if (n > 0)
        explicit_bzero(decoded, n);
    g_free(decoded);
    char *colon = strchr(text, ':');
    if (colon != NULL && colon != text) {
        credentials->username = g_strndup(text, (gsize)(colon - text));
        credentials->password = g_strdup(colon + 1);
    }
    varve_registry_secret_free(text);
    return credentials->username != NULL || malformed(error, "the member 'auth' of a host");
}

/* What an entry of `auths` holds; nothing, when a helper keeps it. */
static gboolean
take_entry(const json_t *entry, VarveRegistryCredentials **result, GError **error)
{
    g_autoptr(VarveRegistryCredentials) credentials = g_new0(VarveRegistryCredentials, 1);
    credentials->identity = g_strdup(member(entry, "identitytoken"));
    credentials->bearer = g_strdup(member(entry, "registrytoken"));
    const char *auth = member(entry, "auth");
    if (credentials->identity == NULL && credentials->bearer == NULL && auth != NULL &&
        !take_auth(auth, credentials, error))
        return FALSE;
    if (credentials->identity != NULL || credentials->bearer != NULL ||
        credentials->username != NULL)
        *result = g_steal_pointer(&credentials);
    return TRUE;
}

/* The host, or the host and path, that a key of `auths` stands for. */
static char *
key_place(const char *key)
{
    const char *start = strstr(key, "://");
    if (start == NULL) {
        char *place = g_strdup(key);
        if (place[0] != '\0' && place[strlen(place) - 1] == '/')
            place[strlen(place) - 1] = '\0';
        return place;
    }
    return g_strndup(start + 3, strcspn(start + 3, "/"));
}

/* How well a key fits: 0 not at all, else its length. */
static gsize
fits(const char *key, const char *host, const char *repository)
{
    if (g_str_equal(key, host))
        return strlen(key);
    g_autofree char *place = key_place(key);
    g_autofree char *whole = g_strconcat(host, "/", repository, NULL);
    gsize n = strlen(place);
    if (n < strlen(host) || n > strlen(whole) || strncmp(place, whole, n) != 0)
        return 0;
    return whole[n] == '\0' || whole[n] == '/' ? n : 0;
}

static json_t *
best_entry(json_t *auths, const char *const *hosts, const char *repository)
{
    json_t *best = NULL, *entry;
    gsize best_fit = 0;
    const char *key;
    for (; *hosts != NULL && best == NULL; hosts++) {
        json_object_foreach(auths, key, entry)
        {
            gsize fit = fits(key, *hosts, repository);
            if (fit > best_fit) {
                best_fit = fit;
                best = entry;
            }
        }
    }
    return best;
}

/* The helper for the host: its own, or the one for all. */
static const char *
helper_of(json_t *config, const char *const *hosts, const char **server)
{
    json_t *helpers = json_object_get(config, "credHelpers");
    for (const char *const *host = hosts; *host != NULL; host++) {
        const char *helper = member(helpers, *host);
        if (helper != NULL) {
            *server = *host;
            return helper;
        }
    }
    *server = hosts[0];
    return member(config, "credsStore");
}

static gboolean
is_helper_name(const char *name)
{
    return name[0] != '.' && strlen(name) < 200 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
               strlen(name);
}

gboolean
varve_registry_config_parse(const char *bytes, gsize n, const char *const *hosts,
                            const char *repository, char **helper, char **server,
                            VarveRegistryCredentials **credentials, GError **error)
{
    *helper = *server = NULL;
    *credentials = NULL;
    g_autoptr(json_t) config = json_loadb(bytes, n, 0, NULL);
    if (!json_is_object(config))
        return malformed(error, "it");
    const char *its_server = NULL, *its_helper = helper_of(config, hosts, &its_server);
    if (its_helper != NULL && !is_helper_name(its_helper))
        return malformed(error, "the name of a credential helper in it");
    json_t *entry = best_entry(json_object_get(config, "auths"), hosts, repository);
    if (its_helper == NULL)
        return entry == NULL || take_entry(entry, credentials, error);
    *helper = g_strdup(its_helper);
    *server = g_strdup(its_server);
    return TRUE;
}
