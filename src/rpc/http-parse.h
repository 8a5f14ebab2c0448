/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_HTTP_PARSE_H
#define VARVE_RPC_HTTP_PARSE_H

/* What a request says before its body, as far as libmicrohttpd leaves it to its user
 * (https://www.rfc-editor.org/rfc/rfc9110, rfc3986, rfc6750). */

#include <glib.h>

typedef enum {
    VARVE_HTTP_NO_MATCH,
    VARVE_HTTP_MATCH,
    VARVE_HTTP_MALFORMED, /* it matches, but a parameter cannot be decoded */
} VarveHttpMatch;

/* Compares the path of a request, not decoded, to a pattern such as "/pools/:id/files". A parameter
 * (":id") takes one segment, which is not empty; params, of char* to char*, gets it decoded. */
VarveHttpMatch varve_http_match(const char *pattern, const char *path, GHashTable *params);

/* Undoes percent-encoding, and, in a query, "+" for a space. NULL: an escape is none, or what comes
 * of it is no UTF-8, or has control characters. */
char *varve_http_decode(const char *text, gsize length, gboolean query);

/* The token in an Authorization header's value; NULL: it is another scheme, or no token. Points
 * into the value. */
const char *varve_http_bearer(const char *authorization);

/* Whether an Accept header's value names the type itself, not with a weight of 0; "*" does not
 * count. */
gboolean varve_http_accepts(const char *accept, const char *type);

#endif
