/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include <stdlib.h>
#include <string.h>

static const char *
type_name(json_type type)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array",  [JSON_STRING] = "a string",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a fraction", [JSON_TRUE] = "a boolean",
        [JSON_FALSE] = "a boolean",  [JSON_NULL] = "null",
    };
    return names[type];
}

/* jansson's own bound is 2048 levels, each a call on the stack. */
static gboolean
check_depth(const char *text, gsize size, GError **error)
{
    guint depth = 0;
    gboolean quoted = FALSE;
    for (gsize i = 0; i < size; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && (text[i] == '{' || text[i] == '['))
            depth++;
        else if (!quoted && (text[i] == '}' || text[i] == ']') && depth > 0)
            depth--;
        if (depth > VARVE_JSON_MAX_DEPTH)
            return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                                   "the JSON is nested deeper than %d levels",
                                   VARVE_JSON_MAX_DEPTH);
    }
    return TRUE;
}

json_t *
varve_json_parse(const char *text, gsize size, gsize max_size, json_type type, GError **error)
{
    if (size > max_size) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                        "the JSON is %zu bytes long, at most %zu are allowed", size, max_size);
        return NULL;
    }
    if (!check_depth(text, size, error))
        return NULL;
    json_error_t where;
    json_auto_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    if (value == NULL) {
        g_autofree char *why = g_utf8_make_valid(where.text, -1);
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                        "the JSON is not valid at line %d, column %d: %s", where.line, where.column,
                        why);
        return NULL;
    }
    if (json_typeof(value) != type) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "the JSON must be %s, not %s",
                        type_name(type), type_name(json_typeof(value)));
        return NULL;
    }
    return g_steal_pointer(&value);
}

/* The value of a key, NULL when it is absent or null. */
static json_t *
look_up(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static gboolean
wrong_type(const char *key, const json_t *value, json_type type, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "%s: must be %s, not %s", key,
                           type_name(type), type_name(json_typeof(value)));
}

static gboolean
get_typed(const json_t *object, const char *key, json_type type, json_t **value, GError **error)
{
    *value = look_up(object, key);
    return *value == NULL || json_typeof(*value) == type || wrong_type(key, *value, type, error);
}

gboolean
varve_json_get_string(const json_t *object, const char *key, const char **value, GError **error)
{
    json_t *found;
    if (!get_typed(object, key, JSON_STRING, &found, error))
        return FALSE;
    *value = json_string_value(found);
    return TRUE;
}

gboolean
varve_json_get_integer(const json_t *object, const char *key, gint64 min, gint64 max, gint64 *value,
                       GError **error)
{
    json_t *found;
    if (!get_typed(object, key, JSON_INTEGER, &found, error))
        return FALSE;
    if (found == NULL)
        return TRUE;
    *value = json_integer_value(found);
    if (*value >= min && *value <= max)
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "%s: must be between %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT
                           ", not %" G_GINT64_FORMAT,
                           key, min, max, *value);
}

gboolean
varve_json_get_boolean(const json_t *object, const char *key, gboolean *value, GError **error)
{
    json_t *found = look_up(object, key);
    if (found != NULL && !json_is_boolean(found))
        return wrong_type(key, found, JSON_TRUE, error);
    if (found != NULL)
        *value = json_is_true(found);
    return TRUE;
}

static gboolean
check_count(const char *key, gsize count, gsize max, GError **error)
{
    return count <= max ||
           varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "%s: has %zu items, at most %zu are allowed", key, count, max);
}

gboolean
varve_json_get_object(const json_t *object, const char *key, json_t **value, GError **error)
{
    return get_typed(object, key, JSON_OBJECT, value, error);
}

gboolean
varve_json_get_array(const json_t *object, const char *key, gsize max_items, json_t **value,
                     GError **error)
{
    return get_typed(object, key, JSON_ARRAY, value, error) &&
           check_count(key, json_array_size(*value), max_items, error);
}

gboolean
varve_json_get_strings(const json_t *object, const char *key, gsize max_items, char ***value,
                       GError **error)
{
    json_t *array, *item;
    gsize i;
    *value = NULL;
    if (!varve_json_get_array(object, key, max_items, &array, error))
        return FALSE;
    if (array == NULL)
        return TRUE;
    g_auto(GStrv) list = g_new0(char *, json_array_size(array) + 1);
    json_array_foreach(array, i, item)
    {
        if (!json_is_string(item))
            return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                                   "%s[%zu]: must be a string, not %s", key, i,
                                   type_name(json_typeof(item)));
        list[i] = g_strdup(json_string_value(item));
    }
    *value = g_steal_pointer(&list);
    return TRUE;
}

gboolean
varve_json_get_pairs(const json_t *object, const char *key, gsize max_items, GHashTable **value,
                     GError **error)
{
    json_t *pairs, *item;
    const char *name;
    if (!varve_json_get_object(object, key, &pairs, error) ||
        !check_count(key, json_object_size(pairs), max_items, error))
        return FALSE;
    g_autoptr(GHashTable) table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    json_object_foreach(pairs, name, item)
    {
        if (!json_is_string(item))
            return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                                   "%s[\"%s\"]: must be a string, not %s", key, name,
                                   type_name(json_typeof(item)));
        g_hash_table_replace(table, g_strdup(name), g_strdup(json_string_value(item)));
    }
    *value = g_steal_pointer(&table);
    return TRUE;
}

static int
compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

gboolean
varve_json_get_keys(const json_t *object, const char *key, gsize max_items, char ***value,
                    GError **error)
{
    json_t *found, *item;
    const char *name;
    *value = NULL;
    if (!varve_json_get_object(object, key, &found, error) ||
        !check_count(key, json_object_size(found), max_items, error))
        return FALSE;
    if (found == NULL)
        return TRUE;
    gsize n = 0;
    *value = g_new0(char *, json_object_size(found) + 1);
    json_object_foreach(found, name, item)(*value)[n++] = g_strdup(name);
    qsort(*value, n, sizeof(char *), compare_strings);
    return TRUE;
}

gboolean
varve_json_missing(const char *key, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "%s: is missing", key);
}

gboolean
varve_json_within(GError **error, const char *format, ...)
{
    if (error != NULL && *error != NULL) {
        va_list args;
        va_start(args, format);
        g_autofree char *way = g_strdup_vprintf(format, args);
        va_end(args);
        g_prefix_error(error, "%s", way);
    }
    return FALSE;
}

json_t *
varve_json_new_strings(char **texts, gsize most)
{
    json_t *list = json_array();
    for (gsize i = 0; i < most && texts[i] != NULL; i++)
        json_array_append_new(list, json_string(texts[i]));
    return list;
}
