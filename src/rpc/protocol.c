/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/internal.h"
#include <string.h>

/* The words of https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md */

#define MAX_STATUS_MESSAGE 8192 /* bytes; a longer one is cut, since peers limit their headers */

gboolean
varve_grpc_parse_timeout(const char *text, gint64 *usec)
{
    static const struct {
        char letter;
        gint64 multiply, divide; /* to microseconds */
    } units[] = {
        {'H', 3600000000, 1}, {'M', 60000000, 1}, {'S', 1000000, 1},
        {'m', 1000, 1},       {'u', 1, 1},        {'n', 1, 1000},
    };

    gsize digits = strspn(text, "0123456789");
    if (digits < 1 || digits > 8 || text[digits] == '\0' || text[digits + 1] != '\0')
        return FALSE;
    gint64 number = g_ascii_strtoll(text, NULL, 10);
    for (gsize i = 0; i < G_N_ELEMENTS(units); i++) {
        if (units[i].letter == text[digits]) {
            *usec = number * units[i].multiply / units[i].divide;
            return TRUE;
        }
    }
    return FALSE;
}

gboolean
varve_grpc_is_content_type(const char *text)
{
    static const char type[] = "application/grpc", subtype[] = "+proto";

    if (strncmp(text, type, strlen(type)) != 0)
        return FALSE;
    text += strlen(type);
    if (strncmp(text, subtype, strlen(subtype)) == 0)
        text += strlen(subtype);
    return *text == '\0' || *text == ';';
}

char *
varve_grpc_encode_message(const char *message)
{
    g_autofree char *valid =
        g_utf8_make_valid(message, (gssize)strnlen(message, MAX_STATUS_MESSAGE));
    GString *encoded = g_string_new(NULL);
    for (const char *c = valid; *c != '\0'; c++) {
        if (*c >= ' ' && *c <= '~' && *c != '%')
            g_string_append_c(encoded, *c);
        else
            g_string_append_printf(encoded, "%%%02X", (guint)(guint8)*c);
    }
    return g_string_free(encoded, FALSE);
}

const char *
varve_grpc_status_text(int status)
{
    static const char *const texts[] = {
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
    };
    enum { UNKNOWN = 2 };
    return texts[status >= 0 && status < (int)G_N_ELEMENTS(texts) ? status : UNKNOWN];
}
