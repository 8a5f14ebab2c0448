/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_H
#define VARVE_STORE_H

/*
 * The metadata store: records in an LMDB environment, shared by every process that has the root
 * open.
 *
 *     read     a function runs in a read transaction: a consistent view, it never waits for writers
 *     write    a function runs in a write transaction; the functions of threads that write at the
 *              same time run in one transaction, one after the other, and share its commit
 *
 * Functions must be short (no file system work: writers wait for each other) and, since a
 * transaction may have to be run again, must depend on nothing but the transaction and what they
 * were given. Read and write do not nest.
 *
 * What a caller may rely on when write returns TRUE: the change outlives the process. If it asked
 * for VARVE_STORE_DURABLE it also outlives a power cut; otherwise a power cut may undo the last
 * changes, in the order in which they were made, never a part of one.
 *
 * The records (records.h) are protobuf messages. STORE_SCHEMA counts changes that an older reader
 * would misread.
 */

#include "base/error.h"

#define STORE_SCHEMA 1

typedef struct VarveStore VarveStore;
typedef struct VarveStoreTxn VarveStoreTxn;

typedef gboolean (*VarveStoreFunc)(VarveStoreTxn *txn, gpointer data, GError **error);

/* Opens, or makes, the store in the directory path. must_exist: VARVE_ERROR_NOT_FOUND instead of
 * making one. */
VarveStore *varve_store_open(const char *path, gboolean must_exist, GError **error);
void varve_store_close(VarveStore *store);

gboolean varve_store_read(VarveStore *store, VarveStoreFunc func, gpointer data, GError **error);

typedef enum {
    VARVE_STORE_ORDERED, /* no wait for the last write-out */
    VARVE_STORE_DURABLE,
} VarveStoreSync;

/* A function that fails changes nothing; the others of its transaction are not touched by that. */
gboolean varve_store_write(VarveStore *store, VarveStoreSync sync, VarveStoreFunc func,
                           gpointer data, GError **error);

/* Returns when all earlier writes are durable. */
gboolean varve_store_sync(VarveStore *store, GError **error);

typedef struct {
    guint32 schema;
    char uuid[37];
    guint64 used, size; /* bytes in use, bytes of address space */
    guint32 readers;
} VarveStoreInfo;

gboolean varve_store_get_info(VarveStore *store, VarveStoreInfo *info, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveStore, varve_store_close)

#endif
