/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http-parse.h"
#include <string.h>

/* --- paths ---------------------------------------------------------------------------------- */

/* One byte of the text at *at, which is moved past it; -1: the escape is none. */
static int
decode_byte(const char **at, const char *end, gboolean query)
{
    char first = *(*at)++;
    if (first == '+' && query)
        return ' ';
    if (first != '%')
        return (guchar)first;
    if (end - *at < 2)
        return -1;
    int high = g_ascii_xdigit_value((*at)[0]), low = g_ascii_xdigit_value((*at)[1]);
    *at += 2;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

char *
varve_http_decode(const char *text, gsize length, gboolean query)
{
    g_autoptr(GString) plain = g_string_sized_new(length);
    const char *end = text + length;
    while (text < end) {
        int byte = decode_byte(&text, end, query);
        if (byte < 0x20 || byte == 0x7f)
            return NULL;
        g_string_append_c(plain, (char)byte);
    }
    if (!g_utf8_validate(plain->str, (gssize)plain->len, NULL))
        return NULL;
    return g_string_free(g_steal_pointer(&plain), FALSE);
}

VarveHttpMatch
varve_http_match(const char *pattern, const char *path, GHashTable *params)
{
    VarveHttpMatch result = VARVE_HTTP_MATCH;
    while (*pattern == '/' && *path == '/') {
        gsize name = strcspn(++pattern, "/"), value = strcspn(++path, "/");
        if (*pattern != ':') {
            if (name != value || memcmp(pattern, path, name) != 0)
                return VARVE_HTTP_NO_MATCH;
        } else {
            char *decoded = value > 0 ? varve_http_decode(path, value, FALSE) : NULL;
            if (decoded == NULL)
                result = value > 0 ? VARVE_HTTP_MALFORMED : VARVE_HTTP_NO_MATCH;
            else
                g_hash_table_replace(params, g_strndup(pattern + 1, name - 1), decoded);
            if (result == VARVE_HTTP_NO_MATCH)
                return result;
        }
        pattern += name;
        path += value;
    }
    return *pattern == '\0' && *path == '\0' ? result : VARVE_HTTP_NO_MATCH;
}

/* --- headers -------------------------------------------------------------------------------- */

const char *
varve_http_bearer(const char *authorization)
{
    static const char scheme[] = "bearer ";
    if (g_ascii_strncasecmp(authorization, scheme, strlen(scheme)) != 0)
        return NULL;
    const char *token = authorization + strlen(scheme);
    token += strspn(token, " ");
    for (const char *at = token; *at != '\0'; at++) {
        if (!g_ascii_isalnum(*at) && strchr("-._~+/=", *at) == NULL)
            return NULL;
    }
    return *token != '\0' ? token : NULL;
}

/* Whether there is a parameter q that is 0: "q=0", "q=0.000". */
static gboolean
is_refused(char **parameters)
{
    for (; *parameters != NULL; parameters++) {
        const char *parameter = g_strstrip(*parameters);
        if (g_ascii_strncasecmp(parameter, "q=", 2) == 0)
            return strspn(parameter + 2, "0.") == strlen(parameter + 2);
    }
    return FALSE;
}

gboolean
varve_http_accepts(const char *accept, const char *type)
{
    g_auto(GStrv) ranges = g_strsplit(accept, ",", -1);
    for (char **range = ranges; *range != NULL; range++) {
        g_auto(GStrv) parts = g_strsplit(*range, ";", -1);
        if (parts[0] != NULL && g_ascii_strcasecmp(g_strstrip(parts[0]), type) == 0)
            return !is_refused(parts + 1);
    }
    return FALSE;
}
