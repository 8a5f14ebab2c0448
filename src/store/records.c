/* SPDX-License-Identifier: Apache-2.0 */
#include "store/records.h"
#include "store/internal.h"
#include <openssl/sha.h>
#include <string.h>

/* Names are found by a key of at most 511 bytes, LMDB's limit: the pool's number (big endian, so
 * that a pool's names stand together), then the name, if it is short; else its first bytes and the
 * SHA-256 of it all. A short name cannot look like a long one's key: that is longer. */
#define SHORT_NAME 400

void
varve_snapshot_record_free(VarveSnapshotRecord *record)
{
    if (record != NULL)
        varve__store__snapshot__free_unpacked(record, NULL);
}

void
varve_pool_record_free(VarvePoolRecord *record)
{
    if (record != NULL)
        varve__store__pool__free_unpacked(record, NULL);
}

/* Where the names of a pool begin. */
static void
names_key(VarveKey *key, guint32 pool)
{
    varve_key_begin(key, KIND_NAME);
    varve_key_add_u32(key, pool);
}

static void
name_key(VarveKey *key, guint32 pool, const char *name)
{
    gsize length = strlen(name);
    names_key(key, pool);
    varve_key_add_bytes(key, name, MIN(length, SHORT_NAME));
    if (length > SHORT_NAME) {
        guint8 digest[SHA256_DIGEST_LENGTH];
        SHA256((const unsigned char *)name, length, digest);
        varve_key_add_bytes(key, digest, sizeof(digest));
    }
}

/* KIND_SNAPSHOT or KIND_REMOVAL. */
static void
id_key(VarveKey *key, guint8 kind, guint64 id)
{
    varve_key_begin(key, kind);
    varve_key_add_u64(key, id);
}

static void
child_key(VarveKey *key, guint64 parent, guint64 id)
{
    id_key(key, KIND_CHILD, parent);
    varve_key_add_u64(key, id);
}

/* A name too long for a pool is cut: none is ever made of that length. */
static void
pool_key(VarveKey *key, const char *name)
{
    varve_key_begin(key, KIND_POOL);
    varve_key_add_bytes(key, name, MIN(strlen(name), SHORT_NAME));
}

/* The number that ends a key. */
static guint64
id_in_key(const MDB_val *key)
{
    guint64 id = 0;
    if (key->mv_size > sizeof(id))
        memcpy(&id, (const guint8 *)key->mv_data + key->mv_size - sizeof(id), sizeof(id));
    return GUINT64_FROM_BE(id);
}

static guint64
id_value(const MDB_val *value)
{
    guint64 id = 0;
    if (value->mv_data != NULL && value->mv_size == sizeof(id))
        memcpy(&id, value->mv_data, sizeof(id)); /* LMDB aligns to 2 bytes only */
    return id;
}

/* --- pools ------------------------------------------------------------------------------------ */

static gboolean
unpack_pool(const MDB_val *value, VarvePoolRecord **record, GError **error)
{
    *record = varve__store__pool__unpack(NULL, value->mv_size, value->mv_data);
    if (*record == NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "the record of a pool cannot be read");
    return TRUE;
}

gboolean
varve_record_get_pool(VarveStoreTxn *txn, const char *name, VarvePoolRecord **record,
                      GError **error)
{
    VarveKey key;
    MDB_val value;
    pool_key(&key, name);
    *record = NULL;
    if (!varve_store_get(txn, &key, &value, error))
        return FALSE;
    return value.mv_data == NULL || unpack_pool(&value, record, error);
}

/* A pool's number is never used again, so that what a removed one left cannot be taken for its
 * successor's. */
static gboolean
next_pool_number(VarveStoreTxn *txn, guint32 *number, GError **error)
{
    VarveKey key;
    MDB_val value;
    varve_superblock_key(&key);
    if (!varve_store_get(txn, &key, &value, error))
        return FALSE;
    Varve__Store__Superblock *sb =
        value.mv_data == NULL
            ? NULL
            : varve__store__superblock__unpack(NULL, value.mv_size, value.mv_data);
    if (sb == NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "the superblock cannot be read");
    *number = ++sb->last_pool;
    if (*number > VARVE_RECORD_MAX_POOL) {
        varve__store__superblock__free_unpacked(sb, NULL);
        return varve_error_set(error, VARVE_ERROR_NO_SPACE,
                               "all %d pool numbers of this root have been used",
                               VARVE_RECORD_MAX_POOL);
    }
    g_autofree guint8 *bytes = g_malloc(varve__store__superblock__get_packed_size(sb));
    gsize size = varve__store__superblock__pack(sb, bytes);
    varve__store__superblock__free_unpacked(sb, NULL);
    return varve_store_put(txn, &key, bytes, size, error);
}

gboolean
varve_record_add_pool(VarveStoreTxn *txn, VarvePoolRecord *record, GError **error)
{
    if (!next_pool_number(txn, &record->number, error))
        return FALSE;
    g_autofree guint8 *bytes = g_malloc(varve__store__pool__get_packed_size(record));
    VarveKey key;
    pool_key(&key, record->name);
    return varve_store_put(txn, &key, bytes, varve__store__pool__pack(record, bytes), error);
}

gboolean
varve_record_del_pool(VarveStoreTxn *txn, const char *name, GError **error)
{
    VarveKey key;
    pool_key(&key, name);
    return varve_store_del(txn, &key, error);
}

static gboolean
list_pool(const MDB_val *key, const MDB_val *value, gpointer data, GError **error)
{
    VarvePoolRecord *record;
    if (!unpack_pool(value, &record, error))
        return FALSE;
    g_ptr_array_add(data, record);
    return TRUE;
}

gboolean
varve_record_list_pools(VarveStoreTxn *txn, GPtrArray *pools, GError **error)
{
    VarveKey all;
    varve_key_begin(&all, KIND_POOL);
    return varve_store_scan(txn, &all, &all, list_pool, pools, error);
}

/* --- snapshots -------------------------------------------------------------------------------- */

gboolean
varve_record_find(VarveStoreTxn *txn, guint32 pool, const char *name, guint64 *id, GError **error)
{
    VarveKey key;
    MDB_val value;
    name_key(&key, pool, name);
    if (!varve_store_get(txn, &key, &value, error))
        return FALSE;
    *id = id_value(&value);
    return TRUE;
}

gboolean
varve_record_get(VarveStoreTxn *txn, guint64 id, VarveSnapshotRecord **record, GError **error)
{
    VarveKey key;
    MDB_val value;
    id_key(&key, KIND_SNAPSHOT, id);
    *record = NULL;
    if (!varve_store_get(txn, &key, &value, error))
        return FALSE;
    if (value.mv_data == NULL)
        return TRUE;
    *record = varve__store__snapshot__unpack(NULL, value.mv_size, value.mv_data);
    if (*record == NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the record of snapshot %" G_GUINT64_FORMAT " cannot be read", id);
    return TRUE;
}

static gboolean
put_record(VarveStoreTxn *txn, guint64 id, const VarveSnapshotRecord *record, GError **error)
{
    guint8 small[1024];
    gsize size = varve__store__snapshot__get_packed_size(record);
    g_autofree guint8 *large = size > sizeof(small) ? g_malloc(size) : NULL;
    guint8 *bytes = large != NULL ? large : small;
    VarveKey key;
    id_key(&key, KIND_SNAPSHOT, id);
    return varve_store_put(txn, &key, bytes, varve__store__snapshot__pack(record, bytes), error);
}

static gboolean
put_name(VarveStoreTxn *txn, guint64 id, const VarveSnapshotRecord *record, GError **error)
{
    VarveKey key;
    name_key(&key, record->pool, record->name);
    return varve_store_put(txn, &key, &id, sizeof(id), error);
}

static gboolean
del_name(VarveStoreTxn *txn, const VarveSnapshotRecord *record, GError **error)
{
    VarveKey key;
    name_key(&key, record->pool, record->name);
    return varve_store_del(txn, &key, error);
}

static gboolean
put_child(VarveStoreTxn *txn, guint64 parent, guint64 id, GError **error)
{
    VarveKey key;
    child_key(&key, parent, id);
    return parent == 0 || varve_store_put(txn, &key, "", 0, error);
}

static gboolean
del_child(VarveStoreTxn *txn, guint64 parent, guint64 id, GError **error)
{
    VarveKey key;
    child_key(&key, parent, id);
    return parent == 0 || varve_store_del(txn, &key, error);
}

gboolean
varve_record_add(VarveStoreTxn *txn, guint64 id, const VarveSnapshotRecord *record, GError **error)
{
    return put_record(txn, id, record, error) && put_name(txn, id, record, error) &&
           put_child(txn, record->parent, id, error);
}

gboolean
varve_record_replace(VarveStoreTxn *txn, guint64 id, const VarveSnapshotRecord *old,
                     const VarveSnapshotRecord *new, GError **error)
{
    if (!put_record(txn, id, new, error))
        return FALSE;
    if (!g_str_equal(old->name, new->name) &&
        (!del_name(txn, old, error) || !put_name(txn, id, new, error)))
        return FALSE;
    return old->parent == new->parent ||
           (del_child(txn, old->parent, id, error) && put_child(txn, new->parent, id, error));
}

gboolean
varve_record_remove(VarveStoreTxn *txn, guint64 id, const VarveSnapshotRecord *record,
                    GError **error)
{
    VarveKey key, removal;
    id_key(&key, KIND_SNAPSHOT, id);
    id_key(&removal, KIND_REMOVAL, id);
    return varve_store_del(txn, &key, error) && del_name(txn, record, error) &&
           del_child(txn, record->parent, id, error) &&
           varve_store_put(txn, &removal, &record->pool, sizeof(record->pool), error);
}

/* --- walks ------------------------------------------------------------------------------------ */

typedef struct {
    VarveStoreTxn *txn;
    VarveRecordCursor *cursor;
    gsize limit;
    gboolean more;
    VarveRecordFunc func;
    gpointer data;
} Walk;

static gboolean
visit_id(Walk *walk, guint64 id, GError **error)
{
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_record_get(walk->txn, id, &record, error))
        return FALSE;
    if (record == NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "an index names snapshot %" G_GUINT64_FORMAT ", which has no record",
                               id);
    return walk->func(id, record, walk->data, error);
}

static gboolean
visit_child(const MDB_val *key, const MDB_val *value, gpointer data, GError **error)
{
    return visit_id(data, id_in_key(key), error);
}

gboolean
varve_record_children(VarveStoreTxn *txn, guint64 id, VarveRecordFunc func, gpointer data,
                      GError **error)
{
    VarveKey children;
    Walk walk = {.txn = txn, .func = func, .data = data};
    id_key(&children, KIND_CHILD, id);
    return varve_store_scan(txn, &children, &children, visit_child, &walk, error);
}

static gboolean
visit_name(const MDB_val *key, const MDB_val *value, gpointer data, GError **error)
{
    Walk *walk = data;
    if (walk->limit == 0) {
        walk->more = TRUE;
        return FALSE;
    }
    walk->limit--;
    /* The smallest key behind this one: the same with a zero byte more. */
    memcpy(walk->cursor->bytes, key->mv_data, key->mv_size);
    walk->cursor->bytes[key->mv_size] = 0;
    walk->cursor->size = key->mv_size + 1;
    return visit_id(walk, id_value(value), error);
}

void
varve_record_cursor_seek(VarveRecordCursor *cursor, guint32 pool, const char *prefix)
{
    VarveKey key;
    name_key(&key, pool, prefix);
    memcpy(cursor->bytes, key.bytes, key.size);
    cursor->size = key.size;
}

gboolean
varve_record_walk(VarveStoreTxn *txn, guint32 pool, VarveRecordCursor *cursor, gsize limit,
                  gboolean *more, VarveRecordFunc func, gpointer data, GError **error)
{
    VarveKey names, from;
    Walk walk = {.txn = txn, .cursor = cursor, .limit = limit, .func = func, .data = data};
    names_key(&names, pool);
    from = names;
    if (cursor->size > 0) {
        memcpy(from.bytes, cursor->bytes, cursor->size);
        from.size = cursor->size;
    }
    gboolean ok = varve_store_scan(txn, &from, &names, visit_name, &walk, error);
    *more = walk.more;
    return ok;
}

static gboolean
count_name(const MDB_val *key, const MDB_val *value, gpointer data, GError **error)
{
    ++*(guint64 *)data;
    return TRUE;
}

gboolean
varve_record_count(VarveStoreTxn *txn, guint32 pool, guint64 *count, GError **error)
{
    VarveKey names;
    names_key(&names, pool);
    *count = 0;
    return varve_store_scan(txn, &names, &names, count_name, count, error);
}

/* Raises *id to the highest that a record of that kind has: the one before the end of the kind. */
static gboolean
last_id(VarveStoreTxn *txn, guint8 kind, guint64 *id, GError **error)
{
    MDB_cursor *cursor;
    VarveKey end;
    MDB_val value;
    if (!varve_store_open_cursor(txn, &cursor, error))
        return FALSE;
    id_key(&end, kind, G_MAXUINT64);
    MDB_val key = {end.size, end.bytes};
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    rc = mdb_cursor_get(cursor, &key, &value, rc == 0 ? MDB_PREV : MDB_LAST);
    if (rc == 0 && ((const guint8 *)key.mv_data)[0] == kind)
        *id = MAX(*id, id_in_key(&key));
    mdb_cursor_close(cursor);
    return rc == 0 || rc == MDB_NOTFOUND || varve_store_error(txn, rc, "reading the store", error);
}

gboolean
varve_record_max_id(VarveStoreTxn *txn, guint64 *id, GError **error)
{
    *id = 0;
    return last_id(txn, KIND_SNAPSHOT, id, error) && last_id(txn, KIND_REMOVAL, id, error);
}

/* --- removals --------------------------------------------------------------------------------- */

typedef struct {
    VarveRemovalFunc func;
    gpointer data;
} Removals;

static gboolean
visit_removal(const MDB_val *key, const MDB_val *value, gpointer data, GError **error)
{
    Removals *removals = data;
    guint32 pool = 0;
    if (value->mv_size == sizeof(pool))
        memcpy(&pool, value->mv_data, sizeof(pool));
    return removals->func(id_in_key(key), pool, removals->data);
}

gboolean
varve_record_removals(VarveStoreTxn *txn, VarveRemovalFunc func, gpointer data, GError **error)
{
    VarveKey all;
    Removals removals = {func, data};
    varve_key_begin(&all, KIND_REMOVAL);
    return varve_store_scan(txn, &all, &all, visit_removal, &removals, error);
}

gboolean
varve_record_removal_done(VarveStoreTxn *txn, guint64 id, GError **error)
{
    VarveKey key;
    id_key(&key, KIND_REMOVAL, id);
    return varve_store_del(txn, &key, error);
}
