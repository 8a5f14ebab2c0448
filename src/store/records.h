/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_RECORDS_H
#define VARVE_STORE_RECORDS_H

/*
 * Records in and out. Every function runs inside a transaction (store.h). Messages that are
 * returned are the caller's, to be freed with their _free_unpacked or an autoptr; NULL without an
 * error means that there is none.
 *
 * The indexes are kept here and nowhere else:
 *  - a snapshot's name leads to its id exactly as long as its record exists;
 *  - a parent's children are exactly the records that name it as parent.
 */

#include "store.pb-c.h"
#include "store/store.h"

typedef Varve__Store__Snapshot VarveSnapshotRecord;
typedef Varve__Store__Pool VarvePoolRecord;
typedef Varve__Store__Image VarveImageRecord;

void varve_snapshot_record_free(VarveSnapshotRecord *record);
void varve_pool_record_free(VarvePoolRecord *record);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveSnapshotRecord, varve_snapshot_record_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarvePoolRecord, varve_pool_record_free)

void varve_image_record_free(VarveImageRecord *record);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveImageRecord, varve_image_record_free)

/* --- pools --------------------------------------------------------------------------------- */

gboolean varve_record_get_pool(VarveStoreTxn *txn, const char *name, VarvePoolRecord **record,
                               GError **error);

/* Numbers fit the in-flight table's words. */
#define VARVE_RECORD_MAX_POOL 65535

/* Inserts under a fresh number, which is set in record. The name must be free. */
gboolean varve_record_add_pool(VarveStoreTxn *txn, VarvePoolRecord *record, GError **error);
gboolean varve_record_del_pool(VarveStoreTxn *txn, const char *name, GError **error);

/* Adds every VarvePoolRecord* to pools, in the order of their names. */
gboolean varve_record_list_pools(VarveStoreTxn *txn, GPtrArray *pools, GError **error);

/* --- snapshots ----------------------------------------------------------------------------- */

/* The id behind a key or name; 0 when there is none. */
gboolean varve_record_find(VarveStoreTxn *txn, guint32 pool, const char *name, guint64 *id,
                           GError **error);

gboolean varve_record_get(VarveStoreTxn *txn, guint64 id, VarveSnapshotRecord **record,
                          GError **error);

/* Inserts a new record with its indexes. */
gboolean varve_record_add(VarveStoreTxn *txn, guint64 id, const VarveSnapshotRecord *record,
                          GError **error);

/* Replaces the record old by new, whose name and parent may differ. */
gboolean varve_record_replace(VarveStoreTxn *txn, guint64 id, const VarveSnapshotRecord *old,
                              const VarveSnapshotRecord *new, GError **error);

/* Deletes the record with its indexes and notes the removal of its files. */
gboolean varve_record_remove(VarveStoreTxn *txn, guint64 id, const VarveSnapshotRecord *record,
                             GError **error);

/* Return FALSE to end; with an error set, it is passed on. */
typedef gboolean (*VarveRecordFunc)(guint64 id, const VarveSnapshotRecord *record, gpointer data,
                                    GError **error);

/* Calls func for each child of id. */
gboolean varve_record_children(VarveStoreTxn *txn, guint64 id, VarveRecordFunc func, gpointer data,
                               GError **error);

/* A place in a walk over a pool's names: zero it to begin. */
typedef struct {
    guint8 bytes[512];
    gsize size;
} VarveRecordCursor;

/* Sets a cursor before the first of the pool's names that begins with prefix, which is short. */
void varve_record_cursor_seek(VarveRecordCursor *cursor, guint32 pool, const char *prefix);

/* Calls func for up to limit records of the pool from the cursor on, in the order of their names,
 * and moves the cursor behind them. *more: whether there are others. */
gboolean varve_record_walk(VarveStoreTxn *txn, guint32 pool, VarveRecordCursor *cursor, gsize limit,
                           gboolean *more, VarveRecordFunc func, gpointer data, GError **error);

/* How many snapshots a pool holds. */
gboolean varve_record_count(VarveStoreTxn *txn, guint32 pool, guint64 *count, GError **error);

/* The highest id that any record or removal has; 0 when there is none. */
gboolean varve_record_max_id(VarveStoreTxn *txn, guint64 *id, GError **error);

/* --- removals ------------------------------------------------------------------------------ */

typedef gboolean (*VarveRemovalFunc)(guint64 id, guint32 pool, gpointer data);

gboolean varve_record_removals(VarveStoreTxn *txn, VarveRemovalFunc func, gpointer data,
                               GError **error);
gboolean varve_record_removal_done(VarveStoreTxn *txn, guint64 id, GError **error);

/* --- images -------------------------------------------------------------------------------- */

/* Names of images are at most this long (src/image/reference.h keeps them shorter). */
#define VARVE_RECORD_MAX_IMAGE 500

gboolean varve_record_get_image(VarveStoreTxn *txn, const char *name, VarveImageRecord **record,
                                GError **error);

/* Inserts, or replaces the one of that name. */
gboolean varve_record_put_image(VarveStoreTxn *txn, const VarveImageRecord *record, GError **error);
gboolean varve_record_del_image(VarveStoreTxn *txn, const char *name, GError **error);

/* Adds every VarveImageRecord* to images, in the order of their names. */
gboolean varve_record_list_images(VarveStoreTxn *txn, GPtrArray *images, GError **error);

#endif
