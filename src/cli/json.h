/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_JSON_H
#define VARVE_CLI_JSON_H

/*
 * JSON for programs, with every character beyond ASCII escaped.
 *
 * Names and labels are any bytes, JSON strings are not: what is no valid UTF-8 is replaced by
 * U+FFFD, and the bytes themselves stand beside it in base64, under the same key with "_base64"
 * after it. So a program that sees "name_base64" takes that one.
 */

#include <glib.h>
#include <jansson.h>

/* Sets object[key] to the text; NULL is null. */
void cli_json_set(json_t *object, const char *key, const char *text);
void cli_json_set_int(json_t *object, const char *key, guint64 value);

/* A time in nanoseconds since the epoch, as RFC 3339 has it. */
void cli_json_set_time(json_t *object, const char *key, gint64 time);

/* Sets object[key] to an object of the pairs (char* to char*); where some are not valid UTF-8, also
 * object[key + "_base64"] to an array of [key, value] of those. */
void cli_json_set_pairs(json_t *object, const char *key, GHashTable *pairs);

/* The same for a list of strings that ends with NULL: arrays. */
void cli_json_set_strings(json_t *object, const char *key, char **strings);

/* Prints a value to stdout and releases it. */
void cli_json_print(json_t *value);

/* An array that is printed while it is made, one element to a line, so that its length does not
 * matter. *count begins as 0; add releases the element. */
void cli_json_list_add(gsize *count, json_t *element);
void cli_json_list_end(const gsize *count);

#endif
