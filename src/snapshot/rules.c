/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"

/*
 * Rules that more than one operation asks (SPEC rows S1 to S5), each inside a transaction. An
 * operation asks them twice: before it touches the disk, so that what cannot succeed costs nothing,
 * and again in the transaction that publishes.
 */

gint64
varve_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (gint64)ts.tv_sec * G_GINT64_CONSTANT(1000000000) + ts.tv_nsec;
}

gboolean
varve_rule_free(VarveStoreTxn *txn, VarvePool *pool, const char *what, const char *name,
                GError **error)
{
    guint64 id;
    if (!varve_record_find(txn, pool->number, name, &id, error))
        return FALSE;
    if (id == 0)
        return TRUE;
    g_autofree char *shown = varve_key_display(name);
    return varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS, "the %s '%s' is taken", what, shown);
}

gboolean
varve_rule_parent(VarveStoreTxn *txn, VarvePool *pool, const char *parent, VarveErrorCode wrong,
                  guint64 *id, GError **error)
{
    *id = 0;
    if (parent == NULL || *parent == '\0')
        return TRUE;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_lookup(txn, pool, parent, id, &record, error)) {
        g_prefix_error(error, "parent: ");
        return FALSE;
    }
    if (record->kind == VARVE_KIND_COMMITTED)
        return TRUE;
    g_autofree char *shown = varve_key_display(parent);
    return varve_error_set(error, wrong, "parent '%s' is not committed, it is %s", shown,
                           varve_kind_name((VarveKind)record->kind));
}

gboolean
varve_rule_pool(VarveStoreTxn *txn, VarvePool *pool, GError **error)
{
    g_autoptr(VarvePoolRecord) record = NULL;
    if (!varve_record_get_pool(txn, pool->name, &record, error))
        return FALSE;
    return (record != NULL && record->number == pool->number) ||
           varve_error_set(error, VARVE_ERROR_NOT_FOUND, "the pool was removed");
}
