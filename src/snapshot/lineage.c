/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"
#include <string.h>

#define MAX_DEPTH 100000 /* more than any driver takes; a cycle must end somewhere */
#define MAX_SHOWN 200

void
varve_lineage_clear(VarveLineage *lineage)
{
    g_clear_pointer(&lineage->parents, g_array_unref);
}

static gboolean
parent_of(VarveStoreTxn *txn, guint64 id, guint64 *parent, GError **error)
{
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_record_get(txn, id, &record, error))
        return FALSE;
    if (record == NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "parent %" G_GUINT64_FORMAT " has no record", id);
    *parent = record->parent;
    return TRUE;
}

gboolean
varve_lineage_load(VarveStoreTxn *txn, guint64 id, VarveKind kind, guint64 parent,
                   VarveLineage *lineage, GError **error)
{
    varve_lineage_clear(lineage); /* the transaction may run twice */
    lineage->parents = g_array_new(FALSE, FALSE, sizeof(guint64));
    while (parent != 0) {
        g_array_append_val(lineage->parents, parent);
        if (lineage->parents->len > MAX_DEPTH)
            return varve_error_set(error, VARVE_ERROR_CORRUPT,
                                   "the parents of snapshot %" G_GUINT64_FORMAT " do not end", id);
        if (!parent_of(txn, parent, &parent, error))
            return FALSE;
    }
    lineage->snapshot = (VarveDriverSnapshot){
        .id = id,
        .kind = kind,
        .parents = (const guint64 *)(void *)lineage->parents->data,
        .n_parents = lineage->parents->len,
    };
    return TRUE;
}

gboolean
varve_lookup(VarveStoreTxn *txn, VarvePool *pool, const char *key, guint64 *id,
             VarveSnapshotRecord **record, GError **error)
{
    if (!varve_record_find(txn, pool->number, key, id, error))
        return FALSE;
    if (*id != 0 && !varve_record_get(txn, *id, record, error))
        return FALSE;
    if (*id == 0 || *record == NULL) {
        g_autofree char *shown = varve_key_display(key);
        return varve_error_set(error, VARVE_ERROR_NOT_FOUND, "there is no snapshot '%s'", shown);
    }
    return TRUE;
}

char *
varve_key_display(const char *key)
{
    GString *shown = g_string_new(NULL);
    for (const char *p = key; *p != '\0'; p++) {
        if (shown->len >= MAX_SHOWN && ((guchar)*p & 0xc0) != 0x80) {
            g_string_append(shown, "...");
            break;
        }
        if ((guchar)*p < 0x20 || *p == 0x7f)
            g_string_append_printf(shown, "\\x%02x", (guchar)*p);
        else
            g_string_append_c(shown, *p);
    }
    return g_string_free(shown, FALSE);
}

gboolean
varve_prefix_operation(GError **error, const char *doing, VarvePool *pool, const char *key)
{
    g_autofree char *shown = varve_key_display(key != NULL ? key : "");
    g_prefix_error(error, "%s '%s' in pool '%s': ", doing, shown, pool->name);
    return FALSE;
}
