/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_JSON_H
#define VARVE_BASE_JSON_H

/*
 * JSON from outside, on jansson: bounded in size and depth, strict about duplicate keys and types.
 *
 * The getters take a key of an object. One that is absent, or null (Go writes null for empty
 * lists), leaves the value as NULL, 0 or what the caller says; anything else of another type, or
 * beyond its bound, is VARVE_ERROR_INVALID_ARGUMENT. A message begins with the field, and
 * varve_json_within() puts the way to it in front:
 *
 *     layers[3].digest: must be a string, not a number
 *
 * Strings that are got belong to the JSON value, unless the result is a list or table.
 */

#include "base/error.h"
#include <jansson.h>

#define VARVE_JSON_MAX_DEPTH 64

/* Parses a whole text of at most max_size bytes, whose outermost value must be an object
 * (JSON_OBJECT) or array (JSON_ARRAY). */
VARVE_SHARED json_t *varve_json_parse(const char *text, gsize size, gsize max_size, json_type type,
                                      GError **error);

VARVE_SHARED gboolean varve_json_get_string(const json_t *object, const char *key,
                                            const char **value, GError **error);
VARVE_SHARED gboolean varve_json_get_integer(const json_t *object, const char *key, gint64 min,
                                             gint64 max, gint64 *value, GError **error);
VARVE_SHARED gboolean varve_json_get_boolean(const json_t *object, const char *key, gboolean *value,
                                             GError **error);

/* An object, or an array of at most max_items. */
VARVE_SHARED gboolean varve_json_get_object(const json_t *object, const char *key, json_t **value,
                                            GError **error);
VARVE_SHARED gboolean varve_json_get_array(const json_t *object, const char *key, gsize max_items,
                                           json_t **value, GError **error);

/* An array of strings; NULL when absent. */
VARVE_SHARED gboolean varve_json_get_strings(const json_t *object, const char *key, gsize max_items,
                                             char ***value, GError **error);

/* An object whose values are strings, as a table of char* to char*; empty when absent. */
VARVE_SHARED gboolean varve_json_get_pairs(const json_t *object, const char *key, gsize max_items,
                                           GHashTable **value, GError **error);

/* The keys of an object, sorted, whatever its values are; NULL when absent. */
VARVE_SHARED gboolean varve_json_get_keys(const json_t *object, const char *key, gsize max_items,
                                          char ***value, GError **error);

/* Sets "KEY: is missing". Returns FALSE. */
VARVE_SHARED gboolean varve_json_missing(const char *key, GError **error);

/* Puts the way in front of an error's field: "config." or "layers[3].". Returns FALSE. */
VARVE_SHARED gboolean varve_json_within(GError **error, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

/* The first most strings of a list that NULL ends. */
VARVE_SHARED json_t *varve_json_new_strings(char **texts, gsize most);

#endif
