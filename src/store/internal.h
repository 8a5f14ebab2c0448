/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_INTERNAL_H
#define VARVE_STORE_INTERNAL_H

#include "store/store.h"
#include <lmdb.h>

/* The tables. Keys of integer tables are native 64-bit numbers. */
typedef enum {
    TABLE_META,      /* "superblock" -> Superblock */
    TABLE_POOLS,     /* name -> Pool */
    TABLE_SNAPSHOTS, /* id -> Snapshot */
    TABLE_NAMES,     /* pool number, name (see records.c) -> id */
    TABLE_CHILDREN,  /* id -> ids of its children, sorted */
    TABLE_REMOVALS,  /* id -> pool number: record gone, files not yet */
    N_TABLES,
} Table;

struct VarveStoreTxn {
    VarveStore *store;
    MDB_txn *txn;
    gboolean wrote; /* the function that runs has changed something */
    gboolean full;  /* the map was too small: grow it and run again */
    gboolean room;  /* the disk is not full: records may be added */
};

MDB_dbi varve_store_table(VarveStoreTxn *txn, Table table);

/* Turns an LMDB return code into an error; "WHAT: ...". Returns FALSE. Notes MDB_MAP_FULL in txn,
 * which may be NULL. */
gboolean varve_store_error(VarveStoreTxn *txn, int rc, const char *what, GError **error);

/* Looks a key up. *value is set, or its data to NULL when there is none. */
gboolean varve_store_get(VarveStoreTxn *txn, Table table, const MDB_val *key, MDB_val *value,
                         GError **error);
gboolean varve_store_put(VarveStoreTxn *txn, Table table, MDB_val *key, MDB_val *value,
                         GError **error);
/* value: NULL, or which duplicate. It is no error when there is none. */
gboolean varve_store_del(VarveStoreTxn *txn, Table table, MDB_val *key, MDB_val *value,
                         GError **error);

/* Files that are made in this directory, or this file, if it is still empty, are written in place,
 * where the file system would not do that by itself (btrfs). On a full one that is the only way in
 * which they can be written, and mapped ones must be: else the process is killed. */
void varve_store_set_nocow(int fd);

#endif
