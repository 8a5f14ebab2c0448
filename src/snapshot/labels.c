/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"
#include <string.h>

#define MAX_KEY   4096
#define MAX_LABEL 4096 /* key and value together, as in containerd's labels package */

gboolean
varve_check_key(const char *what, const char *key, GError **error)
{
    if (key == NULL || *key == '\0')
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "the %s is empty", what);
    gsize length = strlen(key);
    if (length > MAX_KEY)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the %s is %zu bytes long, at most %d are allowed", what, length,
                               MAX_KEY);
    return TRUE;
}

gboolean
varve_check_labels(GHashTable *labels, GError **error)
{
    GHashTableIter iter;
    gpointer key, value;
    if (labels == NULL)
        return TRUE;
    g_hash_table_iter_init(&iter, labels);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        gsize length = strlen(key) + strlen(value);
        if (length > MAX_LABEL) {
            g_autofree char *shown = varve_key_display(key);
            return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                                   "label '%s' and its value are %zu bytes long, at most %d are "
                                   "allowed",
                                   shown, length, MAX_LABEL);
        }
    }
    return TRUE;
}

static int
compare_pairs(gconstpointer a, gconstpointer b)
{
    const Varve__Store__Pair *const *pa = a, *const *pb = b;
    return strcmp((*pa)->key, (*pb)->key);
}

void
varve_labels_pack(GHashTable *table, VarveLabels *labels)
{
    *labels = (VarveLabels){0};
    guint size = table != NULL ? g_hash_table_size(table) : 0;
    if (size == 0)
        return;
    labels->pairs = g_new(Varve__Store__Pair, size);
    labels->pointers = g_new(Varve__Store__Pair *, size);

    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, table);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        if (*(const char *)value == '\0')
            continue; /* as containerd keeps them */
        Varve__Store__Pair *pair = &labels->pairs[labels->n];
        varve__store__pair__init(pair);
        pair->key = key;
        pair->value = value;
        labels->pointers[labels->n++] = pair;
    }
    qsort(labels->pointers, labels->n, sizeof(labels->pointers[0]), compare_pairs);
}

void
varve_labels_clear(VarveLabels *labels)
{
    g_clear_pointer(&labels->pairs, g_free);
    g_clear_pointer(&labels->pointers, g_free);
    labels->n = 0;
}

GHashTable *
varve_labels_unpack(Varve__Store__Pair *const *pairs, gsize n)
{
    GHashTable *table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (gsize i = 0; i < n; i++)
        g_hash_table_replace(table, g_strdup(pairs[i]->key), g_strdup(pairs[i]->value));
    return table;
}
