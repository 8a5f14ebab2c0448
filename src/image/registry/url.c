/* SPDX-License-Identifier: Apache-2.0 */
#include "image/registry/parse.h"
#include <arpa/inet.h>
#include <curl/curl.h>
#include <string.h>

#define MAX_URL 8192

typedef CURLU Parts;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Parts, curl_url_cleanup)

void
varve_registry_url_free(VarveRegistryUrl *url)
{
    g_free(url->text);
    g_free(url->origin);
    g_free(url->authority);
    g_free(url);
}

/* A part of a URL, or NULL when it has none. */
static char *
part(Parts *parts, CURLUPart which)
{
    char *text = NULL;
    if (curl_url_get(parts, which, &text, CURLU_DEFAULT_PORT) != CURLUE_OK)
        return NULL;
    char *copy = g_strdup(text);
    curl_free(text);
    return copy;
}

/* The URL as it was written, without a port that it did not name. */
static char *
whole(Parts *parts)
{
    char *text = NULL;
    if (curl_url_get(parts, CURLUPART_URL, &text, 0) != CURLUE_OK)
        return NULL;
    char *copy = g_strdup(text);
    curl_free(text);
    return copy;
}

gboolean
varve_registry_host_is_loopback(const char *host)
{
    g_autofree char *bare =
        host[0] == '[' ? g_strndup(host + 1, strcspn(host + 1, "]")) : g_strdup(host);
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, bare, &four) == 1)
        return (ntohl(four.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, bare, &six) == 1)
        return IN6_IS_ADDR_LOOPBACK(&six);
    return g_ascii_strcasecmp(bare, "localhost") == 0;
}

/* A name or an address and nothing that libcurl would decode. Stores' names may have a "_". */
static gboolean
is_host(const char *host)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyz0123456789-._";
    gsize n = strlen(host);
    if (host[0] == '[')
        return n > 2 && host[n - 1] == ']' && strspn(host + 1, "0123456789abcdef:.") == n - 2;
    return n > 0 && strspn(host, name) == n;
}

static VarveRegistryUrl *
take_apart(Parts *parts)
{
    g_autofree char *scheme = part(parts, CURLUPART_SCHEME);
    g_autofree char *host = part(parts, CURLUPART_HOST);
    g_autofree char *port = part(parts, CURLUPART_PORT);
    g_autofree char *user = part(parts, CURLUPART_USER);
    g_autofree char *password = part(parts, CURLUPART_PASSWORD);
    g_autofree char *zone = part(parts, CURLUPART_ZONEID);
    g_autofree char *text = whole(parts);
    if (scheme == NULL || host == NULL || port == NULL || text == NULL || user != NULL ||
        password != NULL || zone != NULL)
        return NULL;
    gboolean tls = g_ascii_strcasecmp(scheme, "https") == 0;
    if (!tls && g_ascii_strcasecmp(scheme, "http") != 0)
        return NULL;

    g_autofree char *small = g_ascii_strdown(host, -1);
    if (!is_host(small))
        return NULL;

    VarveRegistryUrl *url = g_new0(VarveRegistryUrl, 1);
    url->origin = g_strdup_printf("%s://%s:%s", tls ? "https" : "http", small, port);
    gboolean usual = g_str_equal(port, tls ? "443" : "80");
    url->authority = usual ? g_strdup(small) : g_strdup_printf("%s:%s", small, port);
    url->text = g_steal_pointer(&text);
    url->tls = tls;
    url->loopback = varve_registry_host_is_loopback(host);
    return url;
}

/* No blanks, control characters or bytes beyond ASCII: none may reach a request line. */
static gboolean
is_clean(const char *text)
{
    gsize n = 0;
    for (; n <= MAX_URL && text[n] != '\0'; n++)
        if (text[n] <= ' ' || text[n] >= 0x7f)
            return FALSE;
    return n <= MAX_URL;
}

VarveRegistryUrl *
varve_registry_url_parse(const char *base, const char *reference, GError **error)
{
    g_autoptr(Parts) parts = curl_url();
    VarveRegistryUrl *url = NULL;
    if (is_clean(reference) && reference[0] != '\0' &&
        (base == NULL || curl_url_set(parts, CURLUPART_URL, base, 0) == CURLUE_OK) &&
        curl_url_set(parts, CURLUPART_URL, reference, 0) == CURLUE_OK &&
        curl_url_set(parts, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK)
        url = take_apart(parts);
    if (url == NULL) {
        g_autofree char *shown = varve_registry_text_clean(reference, -1);
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                        "'%s' is not a usable http or https URL", shown);
    }
    return url;
}

void
varve_registry_url_add(GString *url, const char *name, const char *value)
{
    g_autofree char *escaped = g_uri_escape_string(value, NULL, FALSE);
    g_string_append_printf(url, "%c%s=%s", strchr(url->str, '?') != NULL ? '&' : '?', name,
                           escaped);
}
