/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_INTERNAL_H
#define VARVE_STORE_INTERNAL_H

#include "base/batch.h"
#include "store/shared-file.h"
#include "store/store.h"
#include <lmdb.h>
#include <sys/types.h>

/*
 * All records stand in one tree, so that a transaction rewrites few pages: with a tree for each
 * kind, every change would rewrite the root of each, and a sync would write half as much again. The
 * first byte of a key is the kind. Numbers in keys are big endian, so that they sort.
 */
enum {
    KIND_META = 'M',     /* "superblock" -> Superblock */
    KIND_POOL = 'P',     /* name -> Pool */
    KIND_SNAPSHOT = 'S', /* id -> Snapshot */
    KIND_NAME = 'N',     /* pool number, name (see records.c) -> id */
    KIND_CHILD = 'C',    /* parent's id, child's id -> nothing */
    KIND_REMOVAL = 'R',  /* id -> pool number: record gone, files not yet */
    KIND_IMAGE = 'I',    /* name -> Image */
};

typedef struct {
    guint8 bytes[511]; /* LMDB's limit */
    gsize size;
} VarveKey;

/* Begins a key of that kind; the others add to its end. */
void varve_key_begin(VarveKey *key, guint8 kind);
void varve_key_add_bytes(VarveKey *key, const void *bytes, gsize size);
void varve_key_add_u32(VarveKey *key, guint32 number);
void varve_key_add_u64(VarveKey *key, guint64 number);

void varve_superblock_key(VarveKey *key);

struct VarveStore {
    dev_t dev; /* of its directory */
    ino_t ino;
    pid_t pid; /* which has it open; 0: nobody yet */
    MDB_env *env;
    VarveSharedFile locks;
    MDB_dbi tree;
    GRWLock map_lock; /* held for reading by every transaction, for writing to change the map */
    VarveBatch *writers;
    int datafd; /* of the data file, for reserve() */
    guint page_size;
    char uuid[37];
    guint32 schema;
};

struct VarveStoreTxn {
    VarveStore *store;
    MDB_txn *txn;
    gboolean wrote; /* the function that runs has changed something */
    gboolean full;  /* the map was too small: grow it and run again */
    gboolean room;  /* the disk is not full: records may be added */
};

/* Turns an LMDB return code into an error; "WHAT: ...". Returns FALSE. Notes MDB_MAP_FULL in txn,
 * which may be NULL. */
gboolean varve_store_error(VarveStoreTxn *txn, int rc, const char *what, GError **error);

/* The batch function of writers (transaction.c): runs Write items in one transaction. */
void varve_store_run_writes(gpointer *items, gsize n, gpointer data);

/* Looks a key up. *value is set, or its data to NULL when there is none. */
gboolean varve_store_get(VarveStoreTxn *txn, const VarveKey *key, MDB_val *value, GError **error);
gboolean varve_store_put(VarveStoreTxn *txn, const VarveKey *key, const void *bytes, gsize size,
                         GError **error);
/* It is no error when there is none. */
gboolean varve_store_del(VarveStoreTxn *txn, const VarveKey *key, GError **error);

/* Calls visit for each record, from the key from on, whose key begins with prefix, until it returns
 * FALSE (with the error set, or not when it is simply enough). */
typedef gboolean (*VarveStoreVisit)(const MDB_val *key, const MDB_val *value, gpointer data,
                                    GError **error);
gboolean varve_store_scan(VarveStoreTxn *txn, const VarveKey *from, const VarveKey *prefix,
                          VarveStoreVisit visit, gpointer data, GError **error);

/* A cursor over all records, to be closed with mdb_cursor_close. */
gboolean varve_store_open_cursor(VarveStoreTxn *txn, MDB_cursor **cursor, GError **error);

#endif
