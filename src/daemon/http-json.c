/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/http-json.h"

#define NANOSECONDS 1000000000

static json_t *
new_string(const char *text)
{
    json_t *string = json_string(text); /* NULL: it is no UTF-8 */
    if (string != NULL)
        return string;
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    return json_string(valid);
}

void
varve_http_set(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, text == NULL ? json_null() : new_string(text));
}

void
varve_http_set_int(json_t *object, const char *key, guint64 value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

void
varve_http_set_time(json_t *object, const char *key, gint64 time)
{
    g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(time / NANOSECONDS);
    g_autofree char *seconds = utc != NULL ? g_date_time_format(utc, "%Y-%m-%dT%H:%M:%S")
                                           : g_strdup("1970-01-01T00:00:00");
    g_autofree char *text =
        g_strdup_printf("%s.%09" G_GINT64_FORMAT "Z", seconds, MAX(time, 0) % NANOSECONDS);
    varve_http_set(object, key, text);
}

void
varve_http_set_pairs(json_t *object, const char *key, GHashTable *pairs)
{
    GHashTableIter i;
    gpointer name, value;
    json_t *table = json_object();
    g_hash_table_iter_init(&i, pairs);
    while (g_hash_table_iter_next(&i, &name, &value)) {
        g_autofree char *valid = g_utf8_make_valid(name, -1);
        varve_http_set(table, valid, value);
    }
    json_object_set_new(object, key, table);
}
