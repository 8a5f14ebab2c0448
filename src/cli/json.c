/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/text.h"
#include <stdio.h>
#include <string.h>

static json_t *
new_string(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    return json_string(valid);
}

static json_t *
new_base64(const char *text)
{
    g_autofree char *encoded = g_base64_encode((const guchar *)text, strlen(text));
    return json_string(encoded);
}

void
cli_json_set(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, text == NULL ? json_null() : new_string(text));
    if (text != NULL && !g_utf8_validate(text, -1, NULL)) {
        g_autofree char *base64_key = g_strconcat(key, "_base64", NULL);
        json_object_set_new(object, base64_key, new_base64(text));
    }
}

void
cli_json_set_int(json_t *object, const char *key, guint64 value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

void
cli_json_set_time(json_t *object, const char *key, gint64 time)
{
    g_autofree char *text = cli_format_time(time);
    json_object_set_new(object, key, json_string(text));
}

/* Takes both; raw is left out when it is empty. */
static void
set_both(json_t *object, const char *key, json_t *valid, json_t *raw)
{
    json_object_set_new(object, key, valid);
    g_autofree char *base64_key = g_strconcat(key, "_base64", NULL);
    if (json_array_size(raw) > 0)
        json_object_set_new(object, base64_key, raw);
    else
        json_decref(raw);
}

void
cli_json_set_pairs(json_t *object, const char *key, GHashTable *pairs)
{
    json_t *valid = json_object(), *raw = json_array();
    g_autofree const char **names = cli_sorted_keys(pairs);
    for (gsize i = 0; names[i] != NULL; i++) {
        const char *name = names[i], *value = g_hash_table_lookup(pairs, name);
        g_autofree char *valid_name = g_utf8_make_valid(name, -1);
        json_object_set_new(valid, valid_name, new_string(value));
        if (!g_utf8_validate(name, -1, NULL) || !g_utf8_validate(value, -1, NULL))
            json_array_append_new(raw, json_pack("[o, o]", new_base64(name), new_base64(value)));
    }
    set_both(object, key, valid, raw);
}

void
cli_json_set_strings(json_t *object, const char *key, char **strings)
{
    json_t *valid = json_array(), *raw = json_array();
    gboolean lossy = FALSE;
    for (; *strings != NULL; strings++) {
        json_array_append_new(valid, new_string(*strings));
        json_array_append_new(raw, new_base64(*strings));
        lossy |= !g_utf8_validate(*strings, -1, NULL);
    }
    if (!lossy)
        json_array_clear(raw);
    set_both(object, key, valid, raw);
}

void
cli_json_print(json_t *value)
{
    (void)json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    putchar('\n');
    json_decref(value);
}

void
cli_json_list_add(gsize *count, json_t *element)
{
    fputs((*count)++ == 0 ? "[\n  " : ",\n  ", stdout);
    (void)json_dumpf(element, stdout, JSON_ENSURE_ASCII);
    json_decref(element);
}

void
cli_json_list_end(const gsize *count)
{
    puts(*count == 0 ? "[]" : "\n]");
}
