/* SPDX-License-Identifier: Apache-2.0 */
#include "image/registry/parse.h"
#include <curl/curl.h>
#include <string.h>

#define TOKEN_MARKS   "!#$%&'*+-.^_`|~" /* beside letters and digits; RFC 9110, 5.6.2 */
#define TOKEN68_MARKS "-._~+/"

/* --- scanning --------------------------------------------------------------------------------- */

static void
skip_blanks(const char **at)
{
    *at += strspn(*at, " \t");
}

static gsize
span(const char *text, const char *marks)
{
    gsize n = 0;
    while (text[n] != '\0' && (g_ascii_isalnum(text[n]) || strchr(marks, text[n]) != NULL))
        n++;
    return n;
}

static char *
scan_token(const char **at)
{
    gsize n = span(*at, TOKEN_MARKS);
    char *token = n == 0 ? NULL : g_strndup(*at, n);
    *at += n;
    return token;
}

/* A quoted-string, without its quotes and backslashes. */
static char *
scan_quoted(const char **at)
{
    g_autoptr(GString) text = g_string_new(NULL);
    const char *p = *at;
    for (p++; *p != '"'; p++) {
        if (*p == '\\')
            p++;
        if (*p == '\0' || (g_ascii_iscntrl(*p) && *p != '\t'))
            return NULL;
        g_string_append_c(text, *p);
    }
    *at = p + 1;
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static gboolean
scan_char(const char **at, char wanted)
{
    skip_blanks(at);
    if (**at != wanted)
        return FALSE;
    (*at)++;
    skip_blanks(at);
    return TRUE;
}

/* name = value; leaves *at alone when there is none. */
static gboolean
scan_parameter(const char **at, char **name, char **value)
{
    const char *p = *at;
    g_autofree char *key = scan_token(&p);
    if (key == NULL || !scan_char(&p, '='))
        return FALSE;
    g_autofree char *text = *p == '"' ? scan_quoted(&p) : scan_token(&p);
    if (text == NULL)
        return FALSE;
    *name = g_steal_pointer(&key);
    *value = g_steal_pointer(&text);
    *at = p;
    return TRUE;
}

/* --- WWW-Authenticate ------------------------------------------------------------------------- */

void
varve_registry_challenge_free(VarveRegistryChallenge *challenge)
{
    g_free(challenge->realm);
    g_free(challenge->service);
    g_free(challenge->scope);
    g_free(challenge->error);
    g_free(challenge);
}

/* The field that a parameter is kept in, or NULL. */
static char **
field_of(VarveRegistryChallenge *challenge, const char *name)
{
    const struct {
        const char *name;
        char **field;
    } fields[] = {
        {"realm", &challenge->realm},
        {"service", &challenge->service},
        {"scope", &challenge->scope},
        {"error", &challenge->error},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(fields); i++)
        if (g_ascii_strcasecmp(name, fields[i].name) == 0)
            return fields[i].field;
    return NULL;
}

/* Parameters up to the next challenge or the end. FALSE: malformed, or one stands there twice. */
static gboolean
scan_parameters(const char **at, VarveRegistryChallenge *challenge)
{
    for (;;) {
        g_autofree char *name = NULL, *value = NULL;
        if (!scan_parameter(at, &name, &value))
            return FALSE;
        char **field = field_of(challenge, name);
        if (field != NULL && *field != NULL)
            return FALSE;
        if (field != NULL)
            *field = g_steal_pointer(&value);

        skip_blanks(at);
        if (**at == '\0')
            return TRUE;
        if (**at != ',')
            return FALSE;
        const char *next = *at + strspn(*at, ", \t"), *probe = next;
        g_autofree char *other_name = NULL, *other_value = NULL;
        if (!scan_parameter(&probe, &other_name, &other_value))
            return TRUE; /* a scheme, or nothing */
        *at = next;
    }
}

/* One challenge: a scheme alone, with parameters, or with a token68, which no scheme that we know
 * has. */
static VarveRegistryChallenge *
scan_challenge(const char **at, char **scheme)
{
    g_autoptr(VarveRegistryChallenge) challenge = g_new0(VarveRegistryChallenge, 1);
    *scheme = scan_token(at);
    if (*scheme == NULL)
        return NULL;
    gboolean blank = **at == ' ' || **at == '\t';
    skip_blanks(at);
    if (**at == '\0' || **at == ',')
        return g_steal_pointer(&challenge);
    if (!blank)
        return NULL;
    const char *probe = *at + span(*at, TOKEN68_MARKS);
    probe += strspn(probe, "=");
    skip_blanks(&probe);
    if (*probe == '\0' || *probe == ',')
        *at = probe;
    else if (!scan_parameters(at, challenge))
        return NULL;
    return g_steal_pointer(&challenge);
}

static VarveRegistryAuth
auth_of(const char *scheme, const VarveRegistryChallenge *challenge)
{
    if (g_ascii_strcasecmp(scheme, "bearer") == 0 && challenge->realm != NULL)
        return VARVE_REGISTRY_AUTH_BEARER;
    if (g_ascii_strcasecmp(scheme, "basic") == 0)
        return VARVE_REGISTRY_AUTH_BASIC;
    return VARVE_REGISTRY_AUTH_NONE;
}

VarveRegistryChallenge *
varve_registry_challenge_parse(const char *header, GError **error)
{
    g_autoptr(VarveRegistryChallenge) best = NULL;
    for (const char *at = header + strspn(header, ", \t"); *at != '\0'; at += strspn(at, ", \t")) {
        g_autofree char *scheme = NULL;
        g_autoptr(VarveRegistryChallenge) challenge = scan_challenge(&at, &scheme);
        skip_blanks(&at);
        if (challenge == NULL || (*at != '\0' && *at != ',')) {
            g_clear_pointer(&best, varve_registry_challenge_free);
            break;
        }
        challenge->auth = auth_of(scheme, challenge);
        if (best == NULL || challenge->auth > best->auth) {
            g_clear_pointer(&best, varve_registry_challenge_free);
            best = g_steal_pointer(&challenge);
        }
    }
    if (best != NULL && best->auth != VARVE_REGISTRY_AUTH_NONE)
        return g_steal_pointer(&best);
    g_autofree char *shown = varve_registry_text_clean(header, -1);
    varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                    "it wants a kind of login that is not understood: '%s'", shown);
    return NULL;
}

/* --- Link ------------------------------------------------------------------------------------- */

static gboolean
is_next(const char *relations)
{
    g_auto(GStrv) words = g_strsplit(relations, " ", -1);
    for (char **word = words; *word != NULL; word++)
        if (g_ascii_strcasecmp(*word, "next") == 0)
            return TRUE;
    return FALSE;
}

char *
varve_registry_link_next(const char *header)
{
    const char *at = header;
    for (at += strspn(at, ", \t"); *at == '<'; at += strspn(at, ", \t")) {
        const char *end = strchr(at, '>');
        if (end == NULL)
            return NULL;
        g_autofree char *target = g_strndup(at + 1, (gsize)(end - at - 1));
        gboolean next = FALSE;
        at = end + 1;
        while (scan_char(&at, ';')) {
            g_autofree char *name = NULL, *value = NULL;
            if (!scan_parameter(&at, &name, &value))
                return NULL;
            next |= g_ascii_strcasecmp(name, "rel") == 0 && is_next(value);
        }
        if (next)
            return g_steal_pointer(&target);
    }
    return NULL;
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* Digits at *at. */
static gboolean
scan_number(const char **at, guint64 *number)
{
    guint64 value = 0;
    const char *p = *at;
    for (; g_ascii_isdigit(*p); p++) {
        guint64 digit = (guint64)(*p - '0');
        if (value > (G_MAXUINT64 - digit) / 10)
            return FALSE;
        value = value * 10 + digit;
    }
    if (p == *at)
        return FALSE;
    *at = p;
    *number = value;
    return TRUE;
}

gboolean
varve_registry_number(const char *text, guint64 *number)
{
    return scan_number(&text, number) && *text == '\0';
}

static gboolean
scan_range(const char **at, guint64 *first, guint64 *last)
{
    if (!scan_number(at, first) || **at != '-')
        return FALSE;
    (*at)++;
    return scan_number(at, last) && *last >= *first && *last != G_MAXUINT64;
}

gboolean
varve_registry_content_range(const char *header, guint64 *first, guint64 *last, guint64 *total)
{
    if (g_ascii_strncasecmp(header, "bytes ", 6) != 0)
        return FALSE;
    const char *at = header + 6;
    if (!scan_range(&at, first, last) || *at++ != '/')
        return FALSE;
    *total = G_MAXUINT64;
    return g_str_equal(at, "*") || (varve_registry_number(at, total) && *last < *total);
}

gboolean
varve_registry_upload_range(const char *header, guint64 *size)
{
    const char *at = header;
    if (g_str_has_prefix(at, "bytes="))
        at += strlen("bytes=");
    guint64 first, last;
    if (!scan_range(&at, &first, &last) || *at != '\0' || first != 0)
        return FALSE;
    *size = last == 0 ? 0 : last + 1;
    return TRUE;
}

gboolean
varve_registry_retry_after(const char *header, gint64 now, guint64 *seconds)
{
    if (varve_registry_number(header, seconds))
        return TRUE;
    time_t date = curl_getdate(header, NULL);
    if (date == (time_t)-1)
        return FALSE;
    *seconds = date > now ? (guint64)(date - now) : 0;
    return TRUE;
}

gboolean
varve_registry_rate(const char *header, guint64 *number, guint64 *window)
{
    const char *at = header;
    *window = 0;
    if (!scan_number(&at, number))
        return FALSE;
    while (scan_char(&at, ';')) {
        g_autofree char *name = NULL, *value = NULL;
        if (!scan_parameter(&at, &name, &value))
            return FALSE;
        if (g_str_equal(name, "w") && !varve_registry_number(value, window))
            return FALSE;
    }
    return *at == '\0' || *at == ',';
}
