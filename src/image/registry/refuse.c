/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer of no use means, to the program and to the user. */
#include "image/registry/internal.h"
#include <string.h>
#include <time.h>

#define LONG_WINDOW 600 /* seconds: a limit over more than this is not waited for */

typedef struct {
    long status;
    VarveErrorCode code;
    gboolean again;
    const char *hint;
} Meaning;

static const Meaning meanings[] = {
    {400, VARVE_ERROR_INVALID_ARGUMENT, FALSE, NULL},
    {401, VARVE_ERROR_PERMISSION_DENIED, FALSE, "log in with an account that may do this"},
    {403, VARVE_ERROR_PERMISSION_DENIED, FALSE, "log in with an account that may do this"},
    {404, VARVE_ERROR_NOT_FOUND, FALSE,
     "check the name; what one may not see is often said not to be there"},
    {405, VARVE_ERROR_NOT_IMPLEMENTED, FALSE, "it may be a mirror, or read-only"},
    {408, VARVE_ERROR_UNAVAILABLE, TRUE, NULL},
    {413, VARVE_ERROR_INVALID_ARGUMENT, FALSE,
     "it, or a proxy before it, takes no body of this size: push in smaller chunks"},
    {429, VARVE_ERROR_UNAVAILABLE, TRUE, NULL},
    {501, VARVE_ERROR_NOT_IMPLEMENTED, FALSE, NULL},
    {505, VARVE_ERROR_NOT_IMPLEMENTED, FALSE, NULL},
};

static Meaning
meaning_of(long status)
{
    for (gsize i = 0; i < G_N_ELEMENTS(meanings); i++)
        if (meanings[i].status == status)
            return meanings[i];
    if (status / 100 == 5)
        return (Meaning){status, VARVE_ERROR_UNAVAILABLE, TRUE, NULL};
    if (status / 100 == 4)
        return (Meaning){status, VARVE_ERROR_INVALID_ARGUMENT, FALSE, NULL};
    return (Meaning){status, VARVE_ERROR_INTERNAL, FALSE, "no such answer was expected"};
}

/* Tells a rate limit in words, from the headers of
 * https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers as the Hub sends them
 * (https://docs.docker.com/docker-hub/usage/). */
static void
explain_rate(const VarveRegistryAnswer *answer, Meaning *meaning, GString *text)
{
    const char *limit = varve_registry_answer_header(answer, "RateLimit-Limit");
    const char *remaining = varve_registry_answer_header(answer, "RateLimit-Remaining");
    const char *source = varve_registry_answer_header(answer, "Docker-RateLimit-Source");
    guint64 number, window, left = 0, ignored;
    if (limit == NULL || !varve_registry_rate(limit, &number, &window)) {
        g_string_append(text, "; too many requests were made: wait, or log in");
        return;
    }
    g_string_append_printf(text, "; it allows %" G_GUINT64_FORMAT " requests", number);
    if (window > 0)
        g_string_append_printf(text, " in %" G_GUINT64_FORMAT " s", window);
    if (remaining != NULL && varve_registry_rate(remaining, &left, &ignored))
        g_string_append_printf(text, ", of which %" G_GUINT64_FORMAT " are left", left);
    if (source != NULL) {
        g_autofree char *shown = varve_registry_text_clean(source, -1);
        g_string_append_printf(text, ", counted for %s", shown);
    }
    g_string_append(text, ": wait, or log in with an account that may do more");
    if (left == 0 && window > LONG_WINDOW)
        meaning->again = FALSE;
}

/* The registry's own words: of an error document, or the beginning of whatever text it sent. */
static void
quote(const VarveRegistryAnswer *answer, GString *text)
{
    g_autofree char *code = NULL;
    const char *body = (const char *)answer->body->data;
    g_autofree char *own = varve_registry_error_parse(body, answer->body->len, &code);
    const char *type = varve_registry_answer_header(answer, "Content-Type");
    if (own == NULL && type != NULL && g_str_has_prefix(type, "text/plain"))
        own = varve_registry_text_clean(body != NULL ? body : "", (gssize)answer->body->len);
    if (own != NULL && own[0] != '\0')
        g_string_append_printf(text, " (%s)", own);
}

void
varve_registry_refuse(const char *who, const char *tried, const VarveRegistryAnswer *answer,
                      VarveRegistryFailure *failure, GError **error)
{
    Meaning meaning = meaning_of(answer->status);
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_append_printf(text, "%s answered %ld", who, answer->status);
    quote(answer, text);
    if (answer->status == 429)
        explain_rate(answer, &meaning, text);
    if (meaning.code == VARVE_ERROR_PERMISSION_DENIED || meaning.code == VARVE_ERROR_NOT_FOUND)
        g_string_append_printf(text, "; credentials used: %s",
                               tried != NULL ? tried : "none, it asked for none");
    if (meaning.hint != NULL)
        g_string_append_printf(text, "; %s", meaning.hint);

    const char *after = varve_registry_answer_header(answer, "Retry-After");
    failure->wait = 0;
    if (meaning.again && after != NULL)
        (void)varve_registry_retry_after(after, time(NULL), &failure->wait);
    failure->again = meaning.again;
    failure->status = answer->status;
    varve_error_set(error, meaning.code, "%s", text->str);
}
