/* SPDX-License-Identifier: Apache-2.0 */
/* What requests say before their body: any bytes are refused or give texts that are whole. The
 * first line is a path, the second a header's value, the rest a file of tokens. */
#include "rpc/http-auth.h"
#include "rpc/http-parse.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *bytes, gsize n);

static const char *const patterns[] = {"/", "/images/:name", "/storage/volumes/:id/snapshot",
                                       "/:a/:b/:c"};

static void
try_path(const char *path)
{
    for (gsize i = 0; i < G_N_ELEMENTS(patterns); i++) {
        GHashTableIter j;
        gpointer value;
        g_autoptr(GHashTable) params =
            g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        varve_http_match(patterns[i], path, params);
        g_hash_table_iter_init(&j, params);
        while (g_hash_table_iter_next(&j, NULL, &value)) {
            g_assert(*(char *)value != '\0' && g_utf8_validate(value, -1, NULL));
            g_assert(strlen(value) <= strlen(path));
        }
    }
    g_autofree char *query = varve_http_decode(path, strlen(path), TRUE);
    g_assert(query == NULL || g_utf8_validate(query, -1, NULL));
}

int
LLVMFuzzerTestOneInput(const guint8 *bytes, gsize n)
{
    g_autofree char *problem = NULL, *text = g_strndup((const char *)bytes, n);
    g_auto(GStrv) parts = g_strsplit(text, "\n", 3);
    if (g_strv_length(parts) < 3)
        return 0;
    try_path(parts[0]);
    const char *token = varve_http_bearer(parts[1]);
    g_assert(token == NULL || *token != '\0');
    gboolean accepted = varve_http_accepts(parts[1], "text/event-stream");
    g_assert(!accepted || strlen(parts[1]) >= strlen("text/event-stream"));
    gboolean good =
        varve_http_tokens_check(parts[2], token != NULL ? token : "", G_MAXINT32, &problem);
    g_assert(!good || (token != NULL && problem == NULL && strstr(parts[2], token) != NULL));
    return 0;
}
