/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of registries: the first byte says which part of one the rest is. What comes out must be
 * fit for where it goes: into requests, and to the user's terminal. */
#include "image/reference.h"
#include "image/registry/parse.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *bytes, gsize n);

static void
assert_shown(const char *text)
{
    g_assert(g_utf8_validate(text, -1, NULL));
    for (const char *p = text; *p != '\0'; p = g_utf8_next_char(p))
        g_assert(g_unichar_isprint(g_utf8_get_char(p)));
}

static void
fuzz_challenge(const char *text, gsize n)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveRegistryChallenge) challenge = varve_registry_challenge_parse(text, &error);
    g_assert((challenge == NULL) == (error != NULL));
    if (challenge == NULL)
        assert_shown(error->message);
    else
        g_assert(challenge->auth == VARVE_REGISTRY_AUTH_BASIC || challenge->realm != NULL);
}

static void
fuzz_link(const char *text, gsize n)
{
    g_autofree char *next = varve_registry_link_next(text);
    g_assert(next == NULL || strstr(text, next) != NULL);
}

static void
fuzz_location(const char *text, gsize n)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveRegistryUrl) url = varve_registry_url_parse("https://h:1/v2/x", text, &error);
    g_assert((url == NULL) == (error != NULL));
    if (url == NULL)
        return;
    g_assert(g_str_has_prefix(url->origin, url->tls ? "https://" : "http://"));
    g_assert(strpbrk(url->text, " \r\n\t") == NULL);
    g_autoptr(VarveRegistryUrl) again = varve_registry_url_parse(NULL, url->text, NULL);
    g_assert(again != NULL && g_str_equal(again->origin, url->origin));
}

static void
fuzz_numbers(const char *text, gsize n)
{
    guint64 a, b, c;
    if (varve_registry_content_range(text, &a, &b, &c))
        g_assert(a <= b && b < c);
    if (varve_registry_upload_range(text, &a))
        g_assert(a != 1);
    (void)varve_registry_retry_after(text, 1000, &a);
    (void)varve_registry_rate(text, &a, &b);
}

static void
fuzz_error(const char *text, gsize n)
{
    g_autofree char *code = NULL, *shown = varve_registry_error_parse(text, n, &code);
    g_assert((shown == NULL) == (code == NULL));
    if (shown != NULL)
        assert_shown(shown);
    g_autofree char *clean = varve_registry_text_clean(text, (gssize)n);
    assert_shown(clean);
}

static void
fuzz_token(const char *text, gsize n)
{
    g_autoptr(VarveRegistryToken) token = varve_registry_token_parse(text, n, NULL);
    g_assert(token == NULL || strpbrk(token->token, " \r\n") == NULL);
}

static void
fuzz_tags(const char *text, gsize n)
{
    g_autoptr(GPtrArray) tags = g_ptr_array_new_with_free_func(g_free);
    (void)varve_registry_tags_parse(text, n, tags, NULL);
    for (guint i = 0; i < tags->len; i++)
        g_assert(varve_reference_is_tag(g_ptr_array_index(tags, i)));
    g_autofree char *type = varve_registry_media_type_parse(text, n);
    g_assert(type == NULL || strlen(type) < 256);
}

static void
fuzz_config(const char *text, gsize n)
{
    static const char *const hosts[] = {"h", "https://h/v1/", NULL};
    g_autofree char *helper = NULL, *server = NULL;
    g_autoptr(VarveRegistryCredentials) credentials = NULL;
    (void)varve_registry_config_parse(text, n, hosts, "a/b", &helper, &server, &credentials, NULL);
    g_assert(helper == NULL || strchr(helper, '/') == NULL);
    g_autoptr(VarveRegistryCredentials) other = varve_registry_helper_parse(text, n, NULL);
    g_assert(other == NULL || (other->password != NULL) != (other->identity != NULL));
}

int
LLVMFuzzerTestOneInput(const guint8 *bytes, gsize n)
{
    static void (*const parts[])(const char *text, gsize n) = {
        fuzz_challenge, fuzz_link,  fuzz_location, fuzz_numbers,
        fuzz_error,     fuzz_token, fuzz_tags,     fuzz_config,
    };
    if (n == 0)
        return 0;
    g_autofree char *text = g_strndup((const char *)bytes + 1, n - 1);
    parts[bytes[0] % G_N_ELEMENTS(parts)](text, strlen(text));
    return 0;
}
