/* SPDX-License-Identifier: Apache-2.0 */
#include "store/internal.h"
#include <string.h>

/* Keys, and single records in a transaction. */

gboolean
varve_store_error(VarveStoreTxn *txn, int rc, const char *what, GError **error)
{
    switch (rc) {
    case MDB_MAP_FULL:
        if (txn != NULL)
            txn->full = TRUE;
        return varve_error_set(error, VARVE_ERROR_NO_SPACE, "%s: the map is full", what);
    case MDB_READERS_FULL:
        return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                               "%s: too many readers of the store at once", what);
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_VERSION_MISMATCH:
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "%s: %s", what, mdb_strerror(rc));
    case MDB_PANIC:
        return varve_error_set(error, VARVE_ERROR_INTERNAL,
                               "%s: an earlier write failed; open the store again", what);
    default:
        if (rc > 0)
            return varve_error_set_errno(error, rc, "%s", what);
        return varve_error_set(error, VARVE_ERROR_INTERNAL, "%s: %s", what, mdb_strerror(rc));
    }
}

void
varve_key_begin(VarveKey *key, guint8 kind)
{
    key->bytes[0] = kind;
    key->size = 1;
}

void
varve_key_add_bytes(VarveKey *key, const void *bytes, gsize size)
{
    g_assert(size <= sizeof(key->bytes) - key->size);
    memcpy(key->bytes + key->size, bytes, size);
    key->size += size;
}

void
varve_key_add_u32(VarveKey *key, guint32 number)
{
    number = GUINT32_TO_BE(number);
    varve_key_add_bytes(key, &number, sizeof(number));
}

void
varve_key_add_u64(VarveKey *key, guint64 number)
{
    number = GUINT64_TO_BE(number);
    varve_key_add_bytes(key, &number, sizeof(number));
}

void
varve_superblock_key(VarveKey *key)
{
    varve_key_begin(key, KIND_META);
    varve_key_add_bytes(key, "superblock", strlen("superblock"));
}

static MDB_val
key_value(const VarveKey *key)
{
    return (MDB_val){key->size, (void *)key->bytes};
}

gboolean
varve_store_get(VarveStoreTxn *txn, const VarveKey *key, MDB_val *value, GError **error)
{
    MDB_val k = key_value(key);
    int rc = mdb_get(txn->txn, txn->store->tree, &k, value);
    if (rc == MDB_NOTFOUND)
        *value = (MDB_val){0, NULL};
    else if (rc != 0)
        return varve_store_error(txn, rc, "reading the store", error);
    return TRUE;
}

gboolean
varve_store_put(VarveStoreTxn *txn, const VarveKey *key, const void *bytes, gsize size,
                GError **error)
{
    MDB_val k = key_value(key), value = {size, (void *)bytes};
    if (!txn->room && key->bytes[0] != KIND_REMOVAL)
        return varve_error_set_errno(error, ENOSPC, "writing the store");
    txn->wrote = TRUE;
    int rc = mdb_put(txn->txn, txn->store->tree, &k, &value, 0);
    return rc == 0 || varve_store_error(txn, rc, "writing the store", error);
}

gboolean
varve_store_del(VarveStoreTxn *txn, const VarveKey *key, GError **error)
{
    MDB_val k = key_value(key);
    txn->wrote = TRUE;
    int rc = mdb_del(txn->txn, txn->store->tree, &k, NULL);
    return rc == 0 || rc == MDB_NOTFOUND || varve_store_error(txn, rc, "writing the store", error);
}

gboolean
varve_store_open_cursor(VarveStoreTxn *txn, MDB_cursor **cursor, GError **error)
{
    int rc = mdb_cursor_open(txn->txn, txn->store->tree, cursor);
    return rc == 0 || varve_store_error(txn, rc, "reading the store", error);
}

gboolean
varve_store_scan(VarveStoreTxn *txn, const VarveKey *from, const VarveKey *prefix,
                 gboolean (*visit)(const MDB_val *key, const MDB_val *value, gpointer data,
                                   GError **error),
                 gpointer data, GError **error)
{
    MDB_cursor *cursor;
    MDB_val key = {from->size, (void *)from->bytes}, value;
    if (!varve_store_open_cursor(txn, &cursor, error))
        return FALSE;

    gboolean go_on = TRUE;
    GError *failure = NULL;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && go_on && key.mv_size >= prefix->size &&
           memcmp(key.mv_data, prefix->bytes, prefix->size) == 0) {
        go_on = visit(&key, &value, data, &failure);
        if (go_on)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (failure != NULL) {
        g_propagate_error(error, failure);
        return FALSE;
    }
    return rc == 0 || rc == MDB_NOTFOUND || varve_store_error(txn, rc, "reading the store", error);
}
