/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_HTTP_JSON_H
#define VARVE_DAEMON_HTTP_JSON_H

/* What the HTTP API writes as JSON. */

#include "rpc/http.h"

/* text NULL: null. What is no UTF-8 is replaced. */
void varve_http_set(json_t *object, const char *key, const char *text);
void varve_http_set_int(json_t *object, const char *key, guint64 value);
/* time in nanoseconds since the epoch; as RFC 3339 has it. */
void varve_http_set_time(json_t *object, const char *key, gint64 time);
/* pairs: char* to char*. */
void varve_http_set_pairs(json_t *object, const char *key, GHashTable *pairs);

#endif
