/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/changes.h"

const char *
varve_change_kind_name(VarveChangeKind kind)
{
    static const char *const names[] = {
        [VARVE_CHANGE_ADDED] = "added",     [VARVE_CHANGE_MODIFIED] = "modified",
        [VARVE_CHANGE_DELETED] = "deleted", [VARVE_CHANGE_REPLACED] = "replaced",
        [VARVE_CHANGE_RENAMED] = "renamed",
    };
    return (gsize)kind < G_N_ELEMENTS(names) ? names[kind] : "unknown";
}

/* --- telling ---------------------------------------------------------------------------------- */

gboolean
varve_changes_tell(VarveChangeSink *sink, const VarveChange *change, GError **error)
{
    g_autoptr(GError) failure = NULL;
    if (!varve_check_cancelled(sink->cancelled, error))
        return FALSE;
    if (sink->func(change, sink->data, &failure))
        return TRUE;
    if (failure == NULL)
        sink->enough = TRUE;
    else
        g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

gboolean
varve_changes_ended(const VarveChangeSink *sink, gboolean ok)
{
    return ok || sink->enough;
}

/* --- order ------------------------------------------------------------------------------------ */

/* A component that ends comes before one that goes on, whatever byte that goes on with. */
static int
weight(char c)
{
    return c == '\0' ? -1 : c == '/' ? 0 : (guint8)c;
}

int
varve_changes_order(const char *a, const char *b)
{
    for (; *a == *b && *a != '\0'; a++, b++)
        continue;
    return weight(*a) - weight(*b);
}

/* --- lists ------------------------------------------------------------------------------------ */

struct VarveChangeList {
    GArray *changes; /* of VarveChange; path and from are in strings */
    GStringChunk *strings;
};

VarveChangeList *
varve_change_list_new(void)
{
    VarveChangeList *list = g_new0(VarveChangeList, 1);
    list->changes = g_array_new(FALSE, FALSE, sizeof(VarveChange));
    list->strings = g_string_chunk_new(4096);
    return list;
}

void
varve_change_list_free(VarveChangeList *list)
{
    if (list == NULL)
        return;
    g_array_unref(list->changes);
    g_string_chunk_free(list->strings);
    g_free(list);
}

gboolean
varve_change_list_add(const VarveChange *change, gpointer data, GError **error)
{
    VarveChangeList *list = data;
    VarveChange copy = *change;
    copy.path = g_string_chunk_insert(list->strings, change->path);
    if (change->from != NULL)
        copy.from = g_string_chunk_insert(list->strings, change->from);
    g_array_append_val(list->changes, copy);
    return TRUE;
}

/* One path may be told twice: what was there is deleted, and something else is there now. */
static int
order_of(gconstpointer a, gconstpointer b)
{
    const VarveChange *first = a, *second = b;
    int order = varve_changes_order(first->path, second->path);
    return order != 0
               ? order
               : (second->kind == VARVE_CHANGE_DELETED) - (first->kind == VARVE_CHANGE_DELETED);
}

gboolean
varve_change_list_tell(VarveChangeList *list, VarveChangeSink *sink, GError **error)
{
    g_array_sort(list->changes, order_of);
    for (guint i = 0; i < list->changes->len; i++) {
        if (!varve_changes_tell(sink, &g_array_index(list->changes, VarveChange, i), error))
            return FALSE;
    }
    return TRUE;
}
