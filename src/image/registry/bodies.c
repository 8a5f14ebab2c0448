/* SPDX-License-Identifier: Apache-2.0 */
#include "image/reference.h"
#include "image/registry/parse.h"
#include <jansson.h>
#include <string.h>

#define MAX_SHOWN    300           /* bytes of a foreign text in a message */
#define MAX_TAGS     (1024 * 1024) /* of one repository */
#define MAX_TOKEN    (64 * 1024)   /* servers refuse longer headers anyway */
#define MIN_LIFETIME 60            /* seconds; what a token has that does not say */
#define MAX_LIFETIME (24 * 3600)

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)

static json_t *
load(const void *bytes, gsize n)
{
    return json_loadb(bytes, n, JSON_REJECT_DUPLICATES, NULL);
}

char *
varve_registry_text_clean(const char *text, gssize n)
{
    gsize length = n < 0 ? strlen(text) : (gsize)n;
    g_autofree char *valid = g_utf8_make_valid(text, (gssize)MIN(length, MAX_SHOWN));
    g_autoptr(GString) shown = g_string_new(NULL);
    for (const char *p = valid; *p != '\0'; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        if (g_unichar_isprint(c))
            g_string_append_unichar(shown, c);
        else if (shown->len > 0 && shown->str[shown->len - 1] != ' ')
            g_string_append_c(shown, ' ');
    }
    g_strchomp(shown->str);
    return g_strconcat(shown->str, length > MAX_SHOWN ? "..." : "", NULL);
}

/* https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#error-codes */
char *
varve_registry_error_parse(const void *bytes, gsize n, char **code)
{
    *code = NULL;
    g_autoptr(json_t) document = load(bytes, n);
    json_t *first = json_array_get(json_object_get(document, "errors"), 0);
    const char *name = json_string_value(json_object_get(first, "code"));
    const char *message = json_string_value(json_object_get(first, "message"));
    if (name == NULL)
        return NULL;
    *code = varve_registry_text_clean(name, -1);
    if (message == NULL || message[0] == '\0')
        return g_strdup(*code);
    g_autofree char *shown = varve_registry_text_clean(message, -1);
    return g_strdup_printf("%s: %s", *code, shown);
}

void
varve_registry_secret_free(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    g_free(secret);
}

void
varve_registry_token_free(VarveRegistryToken *token)
{
    varve_registry_secret_free(token->token);
    varve_registry_secret_free(token->refresh_token);
    g_free(token);
}

/* Fit to stand in a header: what is printed and no blank. */
static gboolean
is_token(const char *text)
{
    gsize n = 0;
    for (; n <= MAX_TOKEN && text[n] != '\0'; n++)
        if (!g_ascii_isgraph(text[n]))
            return FALSE;
    return n > 0 && n <= MAX_TOKEN;
}

/* https://distribution.github.io/distribution/spec/auth/token/ ("token" or "access_token") and
 * .../auth/oauth/ ("access_token") */
VarveRegistryToken *
varve_registry_token_parse(const void *bytes, gsize n, GError **error)
{
    g_autoptr(json_t) document = load(bytes, n);
    const char *text = json_string_value(json_object_get(document, "token"));
    if (text == NULL || text[0] == '\0')
        text = json_string_value(json_object_get(document, "access_token"));
    if (text == NULL || !is_token(text)) {
        varve_error_set(error, VARVE_ERROR_CORRUPT, "its answer holds no usable token");
        return NULL;
    }
    VarveRegistryToken *token = g_new0(VarveRegistryToken, 1);
    token->token = g_strdup(text);
    token->refresh_token = g_strdup(json_string_value(json_object_get(document, "refresh_token")));
    json_int_t lifetime = json_integer_value(json_object_get(document, "expires_in"));
    token->lifetime = lifetime <= 0 ? MIN_LIFETIME : MIN((guint64)lifetime, MAX_LIFETIME);
    return token;
}

gboolean
varve_registry_tags_parse(const void *bytes, gsize n, GPtrArray *tags, GError **error)
{
    g_autoptr(json_t) document = load(bytes, n);
    json_t *list = json_object_get(document, "tags"), *tag;
    if (list == NULL || (!json_is_array(list) && !json_is_null(list)))
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "the answer is no list of tags");
    size_t i;
    json_array_foreach(list, i, tag)
    {
        const char *text = json_string_value(tag);
        if (text == NULL || !varve_reference_is_tag(text))
            return varve_error_set(error, VARVE_ERROR_CORRUPT, "the answer names what is no tag");
        if (tags->len >= MAX_TAGS)
            return varve_error_set(error, VARVE_ERROR_CORRUPT, "there are more than %d tags",
                                   MAX_TAGS);
        g_ptr_array_add(tags, g_strdup(text));
    }
    return TRUE;
}

char *
varve_registry_media_type_parse(const void *bytes, gsize n)
{
    g_autoptr(json_t) document = json_loadb(bytes, n, 0, NULL);
    const char *type = json_string_value(json_object_get(document, "mediaType"));
    return type != NULL && strlen(type) <= 255 ? g_strdup(type) : NULL;
}
