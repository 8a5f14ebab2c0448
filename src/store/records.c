/* SPDX-License-Identifier: Apache-2.0 */
#include "store/records.h"
#include "store/internal.h"
#include <openssl/sha.h>
#include <string.h>

/* Names are found by a key of at most 511 bytes, LMDB's limit: the pool's number (big endian, so
 * that a pool's names stand together), then the name, if it is short; else its first bytes and the
 * SHA-256 of it all. A short name cannot look like a long one's key: that is longer. */
#define SHORT_NAME 400
#define POOL_SIZE  4

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

static gsize
pool_prefix(guint32 pool, guint8 *bytes)
{
    guint32 be = GUINT32_TO_BE(pool);
    memcpy(bytes, &be, POOL_SIZE);
    return POOL_SIZE;
}

static MDB_val
name_key(guint32 pool, const char *name, guint8 *bytes)
{
    gsize length = strlen(name), size = pool_prefix(pool, bytes);
    gsize shown = MIN(length, SHORT_NAME);
    memcpy(bytes + size, name, shown);
    size += shown;
    if (length > SHORT_NAME) {
        SHA256((const unsigned char *)name, length, bytes + size);
        size += SHA256_DIGEST_LENGTH;
    }
    return (MDB_val){size, bytes};
}

static MDB_val
id_key(const guint64 *id)
{
    return (MDB_val){sizeof(*id), (void *)id};
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
    MDB_val key = {strlen(name), (void *)name}, value;
    *record = NULL;
    if (!varve_store_get(txn, TABLE_POOLS, &key, &value, error))
        return FALSE;
    return value.mv_data == NULL || unpack_pool(&value, record, error);
}

/* A pool's number is never used again, so that what a removed one left cannot be taken for its
 * successor's. */
static gboolean
next_pool_number(VarveStoreTxn *txn, guint32 *number, GError **error)
{
    MDB_val key = {strlen("superblock"), (void *)"superblock"}, value;
    if (!varve_store_get(txn, TABLE_META, &key, &value, error))
        return FALSE;
    Varve__Store__Superblock *sb =
        value.mv_data == NULL
            ? NULL
            : varve__store__superblock__unpack(NULL, value.mv_size, value.mv_data);
    if (sb == NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "the superblock cannot be read");
    *number = ++sb->last_pool;
    g_autofree guint8 *bytes = g_malloc(varve__store__superblock__get_packed_size(sb));
    value = (MDB_val){varve__store__superblock__pack(sb, bytes), bytes};
    varve__store__superblock__free_unpacked(sb, NULL);
    return varve_store_put(txn, TABLE_META, &key, &value, error);
}

gboolean
varve_record_add_pool(VarveStoreTxn *txn, VarvePoolRecord *record, GError **error)
{
    if (!next_pool_number(txn, &record->number, error))
        return FALSE;
    g_autofree guint8 *bytes = g_malloc(varve__store__pool__get_packed_size(record));
    MDB_val key = {strlen(record->name), record->name};
    MDB_val value = {varve__store__pool__pack(record, bytes), bytes};
    return varve_store_put(txn, TABLE_POOLS, &key, &value, error);
}

gboolean
varve_record_del_pool(VarveStoreTxn *txn, const char *name, GError **error)
{
    MDB_val key = {strlen(name), (void *)name};
    return varve_store_del(txn, TABLE_POOLS, &key, NULL, error);
}

/* Calls visit for each entry of a table from the first key at or behind *key (NULL data: the first
 * of all) until it returns FALSE. */
static gboolean
scan(VarveStoreTxn *txn, Table table, MDB_val key,
     gboolean (*visit)(const MDB_val *key, const MDB_val *value, gpointer data, GError **error),
     gpointer data, GError **error)
{
    MDB_cursor *cursor;
    MDB_val value;
    int rc = mdb_cursor_open(txn->txn, varve_store_table(txn, table), &cursor);
    if (rc != 0)
        return varve_store_error(txn, rc, "reading the store", error);

    gboolean go_on = TRUE;
    GError *failure = NULL;
    rc = mdb_cursor_get(cursor, &key, &value, key.mv_data != NULL ? MDB_SET_RANGE : MDB_FIRST);
    while (rc == 0 && go_on) {
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
    return scan(txn, TABLE_POOLS, (MDB_val){0, NULL}, list_pool, pools, error);
}

/* --- snapshots -------------------------------------------------------------------------------- */

gboolean
varve_record_find(VarveStoreTxn *txn, guint32 pool, const char *name, guint64 *id, GError **error)
{
    guint8 bytes[512];
    MDB_val key = name_key(pool, name, bytes), value;
    if (!varve_store_get(txn, TABLE_NAMES, &key, &value, error))
        return FALSE;
    *id = id_value(&value);
    return TRUE;
}

gboolean
varve_record_get(VarveStoreTxn *txn, guint64 id, VarveSnapshotRecord **record, GError **error)
{
    MDB_val key = id_key(&id), value;
    *record = NULL;
    if (!varve_store_get(txn, TABLE_SNAPSHOTS, &key, &value, error))
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
    MDB_val key = id_key(&id);
    MDB_val value = {varve__store__snapshot__pack(record, bytes), bytes};
    return varve_store_put(txn, TABLE_SNAPSHOTS, &key, &value, error);
}

static gboolean
put_name(VarveStoreTxn *txn, guint64 id, const VarveSnapshotRecord *record, GError **error)
{
    guint8 bytes[512];
    MDB_val key = name_key(record->pool, record->name, bytes), value = id_key(&id);
    return varve_store_put(txn, TABLE_NAMES, &key, &value, error);
}

static gboolean
del_name(VarveStoreTxn *txn, const VarveSnapshotRecord *record, GError **error)
{
    guint8 bytes[512];
    MDB_val key = name_key(record->pool, record->name, bytes);
    return varve_store_del(txn, TABLE_NAMES, &key, NULL, error);
}

static gboolean
put_child(VarveStoreTxn *txn, guint64 parent, guint64 id, GError **error)
{
    MDB_val key = id_key(&parent), value = id_key(&id);
    return parent == 0 || varve_store_put(txn, TABLE_CHILDREN, &key, &value, error);
}

static gboolean
del_child(VarveStoreTxn *txn, guint64 parent, guint64 id, GError **error)
{
    MDB_val key = id_key(&parent), value = id_key(&id);
    return parent == 0 || varve_store_del(txn, TABLE_CHILDREN, &key, &value, error);
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
    guint32 pool = record->pool;
    MDB_val key = id_key(&id), value = {sizeof(pool), &pool};
    return varve_store_del(txn, TABLE_SNAPSHOTS, &key, NULL, error) &&
           del_name(txn, record, error) && del_child(txn, record->parent, id, error) &&
           varve_store_put(txn, TABLE_REMOVALS, &key, &value, error);
}

/* --- walks ------------------------------------------------------------------------------------ */

typedef struct {
    VarveStoreTxn *txn;
    guint64 parent;
    guint32 pool;
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
    Walk *walk = data;
    return id_value(key) == walk->parent && visit_id(walk, id_value(value), error);
}

gboolean
varve_record_children(VarveStoreTxn *txn, guint64 id, VarveRecordFunc func, gpointer data,
                      GError **error)
{
    Walk walk = {.txn = txn, .parent = id, .func = func, .data = data};
    return scan(txn, TABLE_CHILDREN, id_key(&id), visit_child, &walk, error);
}

static gboolean
in_pool(guint32 pool, const MDB_val *key)
{
    guint8 prefix[POOL_SIZE];
    pool_prefix(pool, prefix);
    return key->mv_size >= POOL_SIZE && memcmp(key->mv_data, prefix, POOL_SIZE) == 0;
}

static gboolean
visit_name(const MDB_val *key, const MDB_val *value, gpointer data, GError **error)
{
    Walk *walk = data;
    if (!in_pool(walk->pool, key))
        return FALSE;
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

gboolean
varve_record_walk(VarveStoreTxn *txn, guint32 pool, VarveRecordCursor *cursor, gsize limit,
                  gboolean *more, VarveRecordFunc func, gpointer data, GError **error)
{
    Walk walk = {
        .txn = txn, .pool = pool, .cursor = cursor, .limit = limit, .func = func, .data = data};
    if (cursor->size == 0)
        cursor->size = pool_prefix(pool, cursor->bytes);
    VarveRecordCursor start = *cursor;
    gboolean ok =
        scan(txn, TABLE_NAMES, (MDB_val){start.size, start.bytes}, visit_name, &walk, error);
    *more = walk.more;
    return ok;
}

typedef struct {
    guint32 pool;
    guint64 count;
} Count;

static gboolean
count_name(const MDB_val *key, const MDB_val *value, gpointer data, GError **error)
{
    Count *count = data;
    if (!in_pool(count->pool, key))
        return FALSE;
    count->count++;
    return TRUE;
}

gboolean
varve_record_count(VarveStoreTxn *txn, guint32 pool, guint64 *count, GError **error)
{
    guint8 prefix[POOL_SIZE];
    gsize size = pool_prefix(pool, prefix);
    Count state = {.pool = pool};
    gboolean ok = scan(txn, TABLE_NAMES, (MDB_val){size, prefix}, count_name, &state, error);
    *count = state.count;
    return ok;
}

static gboolean
last_id(VarveStoreTxn *txn, Table table, guint64 *id, GError **error)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn->txn, varve_store_table(txn, table), &cursor);
    if (rc != 0)
        return varve_store_error(txn, rc, "reading the store", error);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    if (rc == 0)
        *id = MAX(*id, id_value(&key));
    mdb_cursor_close(cursor);
    return rc == 0 || rc == MDB_NOTFOUND || varve_store_error(txn, rc, "reading the store", error);
}

gboolean
varve_record_max_id(VarveStoreTxn *txn, guint64 *id, GError **error)
{
    *id = 0;
    return last_id(txn, TABLE_SNAPSHOTS, id, error) && last_id(txn, TABLE_REMOVALS, id, error);
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
    return removals->func(id_value(key), pool, removals->data);
}

gboolean
varve_record_removals(VarveStoreTxn *txn, VarveRemovalFunc func, gpointer data, GError **error)
{
    Removals removals = {func, data};
    return scan(txn, TABLE_REMOVALS, (MDB_val){0, NULL}, visit_removal, &removals, error);
}

gboolean
varve_record_removal_done(VarveStoreTxn *txn, guint64 id, GError **error)
{
    MDB_val key = id_key(&id);
    return varve_store_del(txn, TABLE_REMOVALS, &key, NULL, error);
}
