/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/status.h"

enum { UNKNOWN = 2, LAST = 16 };

int
varve_grpc_status_parse(const char *text)
{
    guint64 number;
    return g_ascii_string_to_unsigned(text, 10, 0, LAST, &number, NULL) ? (int)number : UNKNOWN;
}

/* What only looks like an escape stays as it is, as the protocol wants. */
char *
varve_grpc_status_decode(const char *text)
{
    g_autoptr(GString) plain = g_string_new(NULL);
    for (const char *at = text; *at != '\0'; at++) {
        int high = *at == '%' ? g_ascii_xdigit_value(at[1]) : -1;
        int low = high >= 0 ? g_ascii_xdigit_value(at[2]) : -1;
        int byte = low >= 0 ? high * 16 + low : 0;
        g_string_append_c(plain, byte > 0 ? (char)byte : *at);
        at += byte > 0 ? 2 : 0;
    }
    return g_utf8_make_valid(plain->str, (gssize)plain->len);
}

VarveErrorCode
varve_grpc_status_code(int status)
{
    static const struct {
        int status;
        VarveErrorCode code;
    } codes[] = {
        {1, VARVE_ERROR_CANCELLED},        {3, VARVE_ERROR_INVALID_ARGUMENT},
        {4, VARVE_ERROR_UNAVAILABLE},      {5, VARVE_ERROR_NOT_FOUND},
        {6, VARVE_ERROR_ALREADY_EXISTS},   {7, VARVE_ERROR_PERMISSION_DENIED},
        {8, VARVE_ERROR_NO_SPACE},         {9, VARVE_ERROR_FAILED_PRECONDITION},
        {10, VARVE_ERROR_UNAVAILABLE},     {11, VARVE_ERROR_FAILED_PRECONDITION},
        {12, VARVE_ERROR_NOT_IMPLEMENTED}, {14, VARVE_ERROR_UNAVAILABLE},
        {15, VARVE_ERROR_CORRUPT},         {16, VARVE_ERROR_PERMISSION_DENIED},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(codes); i++) {
        if (codes[i].status == status)
            return codes[i].code;
    }
    return VARVE_ERROR_INTERNAL;
}
