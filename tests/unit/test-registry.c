/* SPDX-License-Identifier: Apache-2.0 */
/* What registries answer, and Docker's configuration, taken apart (src/image/registry/parse.h). */
#include "image/registry/parse.h"
#include <string.h>

/* --- WWW-Authenticate ------------------------------------------------------------------------- */

static void
test_challenges(void)
{
    static const struct {
        const char *header;
        VarveRegistryAuth auth;
        const char *realm, *service, *scope;
    } cases[] = {
        {"Basic realm=\"x\"", VARVE_REGISTRY_AUTH_BASIC, "x", NULL, NULL},
        {"basic", VARVE_REGISTRY_AUTH_BASIC, NULL, NULL, NULL},
        {"Bearer realm=\"https://a/token\",service=\"s\",scope=\"repository:x:pull,push\"",
         VARVE_REGISTRY_AUTH_BEARER, "https://a/token", "s", "repository:x:pull,push"},
        {"BEARER  realm = https , Service=s", VARVE_REGISTRY_AUTH_BEARER, "https", "s", NULL},
        {"Bearer realm=\"a \\\"quoted\\\" \\\\ one\",unknown=\"y\"", VARVE_REGISTRY_AUTH_BEARER,
         "a \"quoted\" \\ one", NULL, NULL},
        {"Basic realm=\"b\", Bearer realm=\"a\"", VARVE_REGISTRY_AUTH_BEARER, "a", NULL, NULL},
        {"Bearer realm=\"a\", Basic realm=\"b\"", VARVE_REGISTRY_AUTH_BEARER, "a", NULL, NULL},
        {"Negotiate, Basic realm=\"b\"", VARVE_REGISTRY_AUTH_BASIC, "b", NULL, NULL},
        {"Negotiate YWJj==, Basic realm=\"b\"", VARVE_REGISTRY_AUTH_BASIC, "b", NULL, NULL},
        {" , ,Basic realm=\"b\",", VARVE_REGISTRY_AUTH_BASIC, "b", NULL, NULL},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(VarveRegistryChallenge) challenge =
            varve_registry_challenge_parse(cases[i].header, &error);
        g_assert_no_error(error);
        g_assert_cmpint(challenge->auth, ==, cases[i].auth);
        g_assert_cmpstr(challenge->realm, ==, cases[i].realm);
        g_assert_cmpstr(challenge->service, ==, cases[i].service);
        g_assert_cmpstr(challenge->scope, ==, cases[i].scope);
    }
}

static void
test_bad_challenges(void)
{
    static const char *const cases[] = {
        "",
        ",",
        "Negotiate",
        "Bearer",
        "Bearer service=\"no realm\"",
        "Bearer realm=\"open",
        "Bearer realm=\"open\\",
        "Bearer realm=\"a\",realm=\"b\"",
        "Bearer realm=\"a\" service=\"no comma\"",
        "Bearer realm=",
        "Bearer=realm",
        "\"Basic\"",
        "Basic realm=\"a\", Bearer realm=\"open",
        "Basic realm=\"a\nb\"",
        "Bearer realm=\"a\"x",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(varve_registry_challenge_parse(cases[i], &error));
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NOT_IMPLEMENTED);
    }
}

/* --- other headers ---------------------------------------------------------------------------- */

static void
test_links(void)
{
    static const struct {
        const char *header, *next;
    } cases[] = {
        {"</v2/x/tags/list?n=1&last=a>; rel=\"next\"", "/v2/x/tags/list?n=1&last=a"},
        {"<a>; rel=next", "a"},
        {"<a>; rel=\"prev\", <b>; title=\"x, y\"; rel=\"last next\"", "b"},
        {"<a>", NULL},
        {"<a>; rel=prev", NULL},
        {"<a; rel=next", NULL},
        {"a; rel=next", NULL},
        {"<a>; rel", NULL},
        {"", NULL},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *next = varve_registry_link_next(cases[i].header);
        g_assert_cmpstr(next, ==, cases[i].next);
    }
}

static void
test_content_ranges(void)
{
    guint64 first, last, total;
    g_assert_true(varve_registry_content_range("bytes 5-9/10", &first, &last, &total));
    g_assert_cmpuint(first, ==, 5);
    g_assert_cmpuint(last, ==, 9);
    g_assert_cmpuint(total, ==, 10);
    g_assert_true(varve_registry_content_range("Bytes 0-0/*", &first, &last, &total));
    g_assert_cmpuint(total, ==, G_MAXUINT64);

    static const char *const bad[] = {
        "",
        "bytes",
        "bytes 5-9",
        "bytes 9-5/10",
        "bytes 5-10/10",
        "bytes */10",
        "bytes -9/10",
        "items 5-9/10",
        "bytes 5-9/10 ",
        "bytes 5-9/",
        "bytes 5-9/x",
        "bytes +5-9/10",
        "bytes 0-18446744073709551615/*",
        "bytes 0-18446744073709551616/*",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(varve_registry_content_range(bad[i], &first, &last, &total));
}

static void
test_upload_ranges(void)
{
    guint64 size;
    g_assert_true(varve_registry_upload_range("0-1023", &size));
    g_assert_cmpuint(size, ==, 1024);
    g_assert_true(varve_registry_upload_range("bytes=0-9", &size));
    g_assert_cmpuint(size, ==, 10);
    g_assert_true(varve_registry_upload_range("0-0", &size));
    g_assert_cmpuint(size, ==, 0);
    g_assert_false(varve_registry_upload_range("1-2", &size));
    g_assert_false(varve_registry_upload_range("0-", &size));
    g_assert_false(varve_registry_upload_range("0--1", &size));
    g_assert_false(varve_registry_upload_range("0-18446744073709551615", &size));
}

static void
test_waits(void)
{
    guint64 seconds, number, window;
    g_assert_true(varve_registry_retry_after("120", 0, &seconds));
    g_assert_cmpuint(seconds, ==, 120);
    const gint64 then = 784111777; /* RFC 9110's example of a date */
    g_assert_true(varve_registry_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", then - 7, &seconds));
    g_assert_cmpuint(seconds, ==, 7);
    g_assert_true(varve_registry_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", then + 7, &seconds));
    g_assert_cmpuint(seconds, ==, 0);
    g_assert_false(varve_registry_retry_after("soon", 0, &seconds));
    g_assert_false(varve_registry_retry_after("-5", 0, &seconds));

    g_assert_true(varve_registry_rate("100;w=21600", &number, &window));
    g_assert_cmpuint(number, ==, 100);
    g_assert_cmpuint(window, ==, 21600);
    g_assert_true(varve_registry_rate("7", &number, &window));
    g_assert_cmpuint(window, ==, 0);
    g_assert_false(varve_registry_rate("many", &number, &window));
    g_assert_false(varve_registry_rate("1;w=x", &number, &window));
}

/* --- URLs ------------------------------------------------------------------------------------- */

static void
test_urls(void)
{
    static const struct {
        const char *base, *reference, *text, *origin;
        gboolean loopback;
    } cases[] = {
        {NULL, "https://Example.ORG/a?b", "https://Example.ORG/a?b", "https://example.org:443",
         FALSE},
        {"https://h/v2/x", "/y?z=1", "https://h/y?z=1", "https://h:443", FALSE},
        {"https://h/v2/x", "https://h:443/y", "https://h:443/y", "https://h:443", FALSE},
        {"https://h/v2/x", "//other/y", "https://other/y", "https://other:443", FALSE},
        {NULL, "http://127.1.2.3:5000/", "http://127.1.2.3:5000/", "http://127.1.2.3:5000", TRUE},
        {NULL, "http://[::1]:5000/", "http://[::1]:5000/", "http://[::1]:5000", TRUE},
        {NULL, "http://LocalHost/", "http://LocalHost/", "http://localhost:80", TRUE},
        {NULL, "http://localhost.example/", "http://localhost.example/",
         "http://localhost.example:80", FALSE},
        {NULL, "https://127.0.0.1.example/", "https://127.0.0.1.example/",
         "https://127.0.0.1.example:443", FALSE},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(VarveRegistryUrl) url =
            varve_registry_url_parse(cases[i].base, cases[i].reference, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(url->text, ==, cases[i].text);
        g_assert_cmpstr(url->origin, ==, cases[i].origin);
        g_assert_cmpint(url->loopback, ==, cases[i].loopback);
        g_assert_cmpint(url->tls, ==, g_str_has_prefix(cases[i].origin, "https"));
    }

    static const char *const bad[] = {"",
                                      "relative",
                                      "ftp://h/",
                                      "file:///etc/passwd",
                                      "https://user:password@h/",
                                      "https://user@h/",
                                      "https://h/a b",
                                      "https://h/a\r\nX: y",
                                      "https://h/\x80",
                                      "https://",
                                      "https://a%25b/",
                                      "https://[fe80::1%25eth0]/",
                                      "https://h:99999/"};
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(varve_registry_url_parse(NULL, bad[i], &error));
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
    }
}

static void
test_query(void)
{
    g_autoptr(GString) url = g_string_new("https://h/x");
    varve_registry_url_add(url, "scope", "repository:a/b:pull,push");
    varve_registry_url_add(url, "n", "a&b=c d");
    g_assert_cmpstr(url->str, ==,
                    "https://h/x?scope=repository%3Aa%2Fb%3Apull%2Cpush&n=a%26b%3Dc%20d");
}

/* --- bodies ----------------------------------------------------------------------------------- */

static void
test_errors(void)
{
    static const char document[] = "{\"errors\": [{\"code\": \"DENIED\", \"message\": \"no\\u001b"
                                   "[2J\\nway\"}, {\"code\": \"OTHER\"}]}";
    g_autofree char *code = NULL,
                    *text = varve_registry_error_parse(document, sizeof document - 1, &code);
    g_assert_cmpstr(code, ==, "DENIED");
    g_assert_cmpstr(text, ==, "DENIED: no [2J way");
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "{\"errors\":[]}",
                                      "{\"errors\":[{}]}",
                                      "{\"errors\":{\"code\":\"x\"}}",
                                      "<html>"};
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *none = NULL;
        g_assert_null(varve_registry_error_parse(bad[i], strlen(bad[i]), &none));
        g_assert_null(none);
    }

    g_autofree char *long_text = g_strnfill(1000, 'x');
    g_autofree char *shown = varve_registry_text_clean(long_text, -1);
    g_assert_cmpuint(strlen(shown), ==, 303);
    g_autofree char *bytes = varve_registry_text_clean("a\xff\xfe"
                                                       "b\x7f",
                                                       -1);
    g_assert_true(g_utf8_validate(bytes, -1, NULL));
}

static VarveRegistryToken *
token(const char *text)
{
    return varve_registry_token_parse(text, strlen(text), NULL);
}

static void
test_tokens(void)
{
    g_autoptr(VarveRegistryToken) both =
        token("{\"token\": \"t\", \"access_token\": \"a\", \"expires_in\": 300}");
    g_assert_cmpstr(both->token, ==, "t");
    g_assert_cmpuint(both->lifetime, ==, 300);
    g_autoptr(VarveRegistryToken) oauth = token("{\"access_token\":\"a\",\"refresh_token\":\"r\"}");
    g_assert_cmpstr(oauth->token, ==, "a");
    g_assert_cmpstr(oauth->refresh_token, ==, "r");
    g_assert_cmpuint(oauth->lifetime, ==, 60);
    g_autoptr(VarveRegistryToken) past = token("{\"token\":\"t\",\"expires_in\":-5}");
    g_assert_cmpuint(past->lifetime, ==, 60);

    g_assert_null(token(""));
    g_assert_null(token("{}"));
    g_assert_null(token("{\"token\": \"\"}"));
    g_assert_null(token("{\"token\": 5}"));
    g_assert_null(token("{\"token\": \"a b\"}"));
    g_assert_null(token("{\"token\": \"a\\r\\nX-Header: y\"}"));
}

/* --- credentials ------------------------------------------------------------------------------ */

#define ALICE "YWxpY2U6c2VjcmV0OnRvbw==" /* alice:secret:too */

static const char *const hosts[] = {"h:5000", NULL};
static const char *const hub[] = {"https://index.docker.io/v1/", "docker.io", NULL};

typedef struct {
    char *helper, *server;
    VarveRegistryCredentials *credentials;
} Found;

static gboolean
find(const char *config, const char *const *names, Found *found)
{
    *found = (Found){0};
    return varve_registry_config_parse(config, strlen(config), names, "a/b", &found->helper,
                                       &found->server, &found->credentials, NULL);
}

static void
found_clear(Found *found)
{
    g_clear_pointer(&found->helper, g_free);
    g_clear_pointer(&found->server, g_free);
    g_clear_pointer(&found->credentials, varve_registry_credentials_free);
}

static void
assert_user(const char *config, const char *const *names, const char *user, const char *password)
{
    Found found;
    g_assert_true(find(config, names, &found));
    g_assert_null(found.helper);
    g_assert_cmpint(found.credentials != NULL, ==, user != NULL);
    if (user != NULL) {
        g_assert_cmpstr(found.credentials->username, ==, user);
        g_assert_cmpstr(found.credentials->password, ==, password);
    }
    found_clear(&found);
}

static void
test_config_auths(void)
{
    assert_user("{\"auths\":{\"h:5000\":{\"auth\":\"" ALICE "\"}}}", hosts, "alice", "secret:too");
    assert_user("{\"auths\":{\"https://h:5000/v1/\":{\"auth\":\"" ALICE "\"}}}", hosts, "alice",
                "secret:too");
    assert_user("{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"" ALICE "\"}}}", hub,
                "alice", "secret:too");
    assert_user("{\"auths\":{\"h\":{\"auth\":\"" ALICE "\"},\"h:50001\":{\"auth\":\"" ALICE
                "\"},\"h:5000/a/bc\":{\"auth\":\"" ALICE "\"}}}",
                hosts, NULL, NULL);
    assert_user("{\"auths\":{\"h:5000\":{}}}", hosts, NULL, NULL);
    assert_user("{}", hosts, NULL, NULL);
    /* containers-auth.json(5): the most specific one */
    assert_user("{\"auths\":{\"h:5000/a/b\":{\"auth\":\"Yjpi\"},\"h:5000/a\":{\"auth\":\"YTph\"},"
                "\"h:5000\":{\"auth\":\"" ALICE "\"}}}",
                hosts, "b", "b");
}

static void
test_config_helpers(void)
{
    Found found;
    g_assert_true(
        find("{\"credsStore\":\"all\",\"credHelpers\":{\"h:5000\":\"own\"}}", hosts, &found));
    g_assert_cmpstr(found.helper, ==, "own");
    g_assert_cmpstr(found.server, ==, "h:5000");
    found_clear(&found);
    g_assert_true(find("{\"credsStore\":\"all\",\"credHelpers\":{\"x\":\"own\"}}", hub, &found));
    g_assert_cmpstr(found.helper, ==, "all");
    g_assert_cmpstr(found.server, ==, "https://index.docker.io/v1/");
    found_clear(&found);
    g_assert_true(find("{\"auths\":{\"h:5000\":{\"auth\":\"" ALICE "\",\"identitytoken\":\"i\"}}}",
                       hosts, &found));
    g_assert_cmpstr(found.credentials->identity, ==, "i");
    found_clear(&found);

    static const char *const bad[] = {
        "",
        "[]",
        "{\"credsStore\":\"../x\"}",
        "{\"credsStore\":\"a b\"}",
        "{\"auths\":{\"h:5000\":{\"auth\":\"bm9jb2xvbg==\"}}}",
        "{\"auths\":{\"h:5000\":{\"auth\":\"!\"}}}",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(find(bad[i], hosts, &found));
}

static void
test_helper_output(void)
{
    static const char user[] = "{\"ServerURL\":\"h\",\"Username\":\"u\",\"Secret\":\"s\"}";
    static const char identity[] = "{\"Username\":\"<token>\",\"Secret\":\"s\"}";
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveRegistryCredentials) one =
        varve_registry_helper_parse(user, sizeof user - 1, &error);
    g_assert_cmpstr(one->username, ==, "u");
    g_assert_cmpstr(one->password, ==, "s");
    g_autoptr(VarveRegistryCredentials) other =
        varve_registry_helper_parse(identity, sizeof identity - 1, &error);
    g_assert_null(other->username);
    g_assert_cmpstr(other->identity, ==, "s");
    g_assert_null(varve_registry_helper_parse("{}", 2, &error));
    g_assert_no_error(error);
    g_assert_null(varve_registry_helper_parse("x", 1, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/registry/challenge/good", test_challenges);
    g_test_add_func("/registry/challenge/bad", test_bad_challenges);
    g_test_add_func("/registry/link", test_links);
    g_test_add_func("/registry/content-range", test_content_ranges);
    g_test_add_func("/registry/upload-range", test_upload_ranges);
    g_test_add_func("/registry/wait", test_waits);
    g_test_add_func("/registry/url", test_urls);
    g_test_add_func("/registry/query", test_query);
    g_test_add_func("/registry/error", test_errors);
    g_test_add_func("/registry/token", test_tokens);
    g_test_add_func("/registry/config/auths", test_config_auths);
    g_test_add_func("/registry/config/helpers", test_config_helpers);
    g_test_add_func("/registry/helper", test_helper_output);
    return g_test_run();
}
