/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/identity.h"
#include "base/uuid.h"
#include "snapshot/internal.h"

#define MAX_DEPTH 100000

gboolean
varve_uuid_check(const char *text, GError **error)
{
    gboolean lower = TRUE;
    for (const char *at = text; *at != '\0'; at++)
        lower = lower && !g_ascii_isupper(*at);
    if (lower && g_uuid_string_is_valid(text))
        return TRUE;
    g_autofree char *shown = varve_key_display(text);
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "'%s' is no universal id (a UUID)",
                           shown);
}

/* --- one snapshot ----------------------------------------------------------------------------- */

typedef struct {
    VarvePool *pool;
    const char *name;
    char *fresh; /* what it gets if it has none */
    char *uuid;
} Identity;

static const char *
uuid_in(const VarveSnapshotRecord *record)
{
    for (gsize i = 0; i < record->n_labels; i++) {
        if (g_str_equal(record->labels[i]->key, VARVE_LABEL_UUID))
            return record->labels[i]->value;
    }
    return NULL;
}

static gboolean
look_up(VarveStoreTxn *txn, Identity *of, guint64 *id, VarveSnapshotRecord **record, GError **error)
{
    g_clear_pointer(&of->uuid, g_free); /* the transaction may run twice */
    if (!varve_lookup(txn, of->pool, of->name, id, record, error))
        return FALSE;
    if ((*record)->kind != VARVE_KIND_COMMITTED)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "it is not committed, but %s",
                               varve_kind_name((VarveKind)(*record)->kind));
    of->uuid = g_strdup(uuid_in(*record));
    return TRUE;
}

static gboolean
read_uuid(VarveStoreTxn *txn, gpointer data, GError **error)
{
    guint64 id;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    return look_up(txn, data, &id, &record, error);
}

static gboolean
give_uuid(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Identity *of = data;
    guint64 id;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!look_up(txn, of, &id, &record, error) || of->uuid != NULL)
        return of->uuid != NULL;
    g_autoptr(GHashTable) table = varve_labels_unpack(record->labels, record->n_labels);
    g_hash_table_replace(table, g_strdup(VARVE_LABEL_UUID), g_strdup(of->fresh));
    g_auto(VarveLabels) labels;
    varve_labels_pack(table, &labels);
    VarveSnapshotRecord updated = *record;
    updated.labels = labels.pointers;
    updated.n_labels = labels.n;
    of->uuid = g_strdup(of->fresh);
    return varve_record_replace(txn, id, record, &updated, error);
}

char *
varve_identity_of(VarvePool *pool, const char *name, GError **error)
{
    VarveStore *store = pool->engine->store;
    g_autofree char *fresh = varve_uuid_new();
    Identity of = {.pool = pool, .name = name, .fresh = fresh};
    gboolean ok =
        varve_check_key("name", name, error) && varve_store_read(store, read_uuid, &of, error);
    if (ok && of.uuid == NULL)
        ok = varve_store_write(store, VARVE_STORE_DURABLE, give_uuid, &of, error);
    if (ok && varve_uuid_check(of.uuid, error))
        return of.uuid;
    g_free(of.uuid);
    return NULL;
}

/* --- looking ---------------------------------------------------------------------------------- */

static gboolean
take_name(const VarveSnapshotInfo *info, gpointer name, GError **error)
{
    *(char **)name = g_strdup(info->name);
    return FALSE;
}

gboolean
varve_identity_find(VarvePool *pool, const char *uuid, char **name, GError **error)
{
    *name = NULL;
    if (!varve_uuid_check(uuid, error))
        return FALSE;
    g_autofree char *filter =
        g_strdup_printf("kind==committed,labels.\"" VARVE_LABEL_UUID "\"==%s", uuid);
    const char *const filters[] = {filter, NULL};
    return varve_snapshot_walk(pool, filters, take_name, name, error);
}

typedef struct {
    VarvePool *pool;
    const char *name;
    GPtrArray *found;
} Lineage;

static void
ancestor_free(gpointer data)
{
    VarveAncestor *ancestor = data;
    g_free(ancestor->name);
    g_free(ancestor->uuid);
    g_free(ancestor);
}

static gboolean
read_lineage(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Lineage *l = data;
    guint64 id;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    g_ptr_array_set_size(l->found, 0);
    if (!varve_lookup(txn, l->pool, l->name, &id, &record, error))
        return FALSE;
    while (record != NULL && l->found->len < MAX_DEPTH) {
        VarveAncestor *ancestor = g_new(VarveAncestor, 1);
        *ancestor = (VarveAncestor){g_strdup(record->name), g_strdup(uuid_in(record)),
                                    record->usage != NULL ? (gint64)record->usage->bytes : -1};
        g_ptr_array_add(l->found, ancestor);
        id = record->parent;
        g_clear_pointer(&record, varve_snapshot_record_free);
        if (id != 0 && !varve_record_get(txn, id, &record, error))
            return FALSE;
    }
    return TRUE;
}

GPtrArray *
varve_identity_lineage(VarvePool *pool, const char *name, GError **error)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(ancestor_free);
    Lineage l = {pool, name, found};
    return varve_store_read(pool->engine->store, read_lineage, &l, error) ? g_steal_pointer(&found)
                                                                          : NULL;
}
