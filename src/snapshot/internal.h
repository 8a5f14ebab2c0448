/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SNAPSHOT_INTERNAL_H
#define VARVE_SNAPSHOT_INTERNAL_H

/*
 * The engine from inside. Who does what:
 *
 *     engine.c        a root: open, close, information
 *     pool.c          pools: open, find, list
 *     pool-make.c     pools: make, take away
 *     create.c, commit.c, drop.c, fill.c, remove.c, update.c, rules.c
 *                     the operations that change snapshots, and their rules
 *     query.c, changes.c   the operations that look
 *     identity.c      by which a snapshot is known in other stores
 *     place.c, trees.c     the way to a snapshot's files
 *     limit.c         how much one may hold; making one durable
 *     housekeeping.c  what nobody waits for: freeing, recovery
 *     search.c        what a crash left, found by looking at the disk
 *     labels.c, filter.c, lineage.c   small parts of the above
 *
 * File system first, record last. An operation takes a fresh id, says in the in-flight table that
 * it works on it, does its file system work without any lock, and publishes in one short
 * transaction that checks every rule again. A crash before that leaves an id on disk that no record
 * names: garbage, known by the in-flight table of the dead process or, after a reboot, found by a
 * search. A removal is the mirror image: the record goes first and the id is noted in the removals
 * table in the same transaction; housekeeping frees its files and strikes it off. So no record ever
 * names something that is not whole, and nothing stays on disk that neither a record, nor the
 * removals table, nor a living process names.
 */

#include "driver/driver.h"
#include "store/inflight.h"
#include "store/records.h"
#include "store/store.h"
#include <varve/log.h>

typedef struct VarveHousekeeper VarveHousekeeper;

struct VarveEngine {
    char *root;
    int rootfd, poolsfd;
    VarveEngineFlags flags;
    VarveStore *store;
    VarveInflight *inflight;
    gint cancelled;
    VarveProgressFunc progress;
    gpointer progress_data;

    GMutex pools_lock;  /* guards pools and retired, and is held while a pool is opened */
    GHashTable *pools;  /* name -> VarvePool*, those that are open */
    GPtrArray *retired; /* removed ones that a caller may still hold */
    VarveHousekeeper *housekeeper;
};

struct VarvePool {
    VarveEngine *engine;
    char *name;
    guint32 number;
    char *path;
    GHashTable *settings;
    gboolean relaxed; /* durability=relaxed: commit does not wait for data or records */
    const VarveDriver *driver;
    VarveDriverHost host;
    gpointer self; /* the driver's instance */
};

/* --- pool.c -------------------------------------------------------------------------------- */

/* The open pool of a number; NULL with the error set when there is none or it cannot be opened. */
VarvePool *varve_engine_get_pool_by_number(VarveEngine *engine, guint32 number, GError **error);

/* All pools' records: GPtrArray of VarvePoolRecord*. */
GPtrArray *varve_engine_pool_records(VarveEngine *engine, GError **error);

/* The record of the pool of that name; VARVE_ERROR_NOT_FOUND when there is none. */
VarvePoolRecord *varve_engine_pool_record(VarveEngine *engine, const char *name, GError **error);

/* A pool that is not open yet: without a number, without a driver's instance. settings may be NULL.
 */
VarvePool *varve_pool_new(VarveEngine *engine, const char *name, const VarveDriver *driver,
                          GHashTable *settings);
void varve_pool_free(VarvePool *pool);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarvePool, varve_pool_free)

gboolean varve_pool_open_driver(VarvePool *pool, gboolean fresh, GError **error);

/* Where a pool's snapshots are: its setting, or a place beneath the root. */
char *varve_pool_path(VarveEngine *engine, const char *name, GHashTable *settings);

/* Removes what is beneath pools/ and has no record: the rest of a pool whose making or removal was
 * cut short. Counts into result. */
gboolean varve_pools_clear_leftovers(VarveEngine *engine, VarveCleanup *result, GError **error);

/* Publishes a change of a pool's records that need not be durable when the caller is told of it: it
 * is a tenth of a second later, and by then in the order of the changes. */
gboolean varve_pool_publish(VarvePool *pool, VarveStoreFunc func, gpointer data, GError **error);

/* --- lineage.c ----------------------------------------------------------------------------- */

/* A driver's view of a snapshot, with its parents' ids. */
typedef struct {
    VarveDriverSnapshot snapshot;
    GArray *parents;
} VarveLineage;

void varve_lineage_clear(VarveLineage *lineage);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveLineage, varve_lineage_clear)

/* Fills in the snapshot id of that kind on parent (0: none). */
gboolean varve_lineage_load(VarveStoreTxn *txn, guint64 id, VarveKind kind, guint64 parent,
                            VarveLineage *lineage, GError **error);

/* Finds a snapshot by key or name; VARVE_ERROR_NOT_FOUND, naming it, when there is none. */
gboolean varve_lookup(VarveStoreTxn *txn, VarvePool *pool, const char *key, guint64 *id,
                      VarveSnapshotRecord **record, GError **error);

/* A key as it is shown in a message: control characters escaped, long ones cut. */
char *varve_key_display(const char *key);

/* Prefixes the error with "DOING 'KEY' in pool 'POOL': ". Returns FALSE. */
gboolean varve_prefix_operation(GError **error, const char *doing, VarvePool *pool,
                                const char *key);

/* --- rules.c ------------------------------------------------------------------------------- */

/* Nanoseconds since the epoch. */
gint64 varve_now(void);

/* The name must not be taken; what: "key" or "name", for the message. */
gboolean varve_rule_free(VarveStoreTxn *txn, VarvePool *pool, const char *what, const char *name,
                         GError **error);

/* Finds a parent, which must be committed: wrong is the code for one that is not. *id is 0 for NULL
 * or "". */
gboolean varve_rule_parent(VarveStoreTxn *txn, VarvePool *pool, const char *parent,
                           VarveErrorCode wrong, guint64 *id, GError **error);

/* A pool may have been taken away by another process while this one had it open. */
gboolean varve_rule_pool(VarveStoreTxn *txn, VarvePool *pool, GError **error);

/* --- create.c ------------------------------------------------------------------------------ */

/* Does a driver's work on a new snapshot, under the id that snapshot->id is set to. */
typedef gboolean (*VarveMakeFunc)(VarvePool *pool, VarveDriverSnapshot *snapshot, gpointer data,
                                  GError **error);

/* Calls func with a fresh id, which this process works on until varve_inflight_end(*slot). After a
 * power cut, ids that were given out before may still be on disk without a record; func fails with
 * VARVE_ERROR_ALREADY_EXISTS and they are passed over until the search has removed them. */
gboolean varve_make_fresh(VarvePool *pool, VarveDriverSnapshot *snapshot, VarveMakeFunc func,
                          gpointer data, guint *slot, GError **error);

/* --- commit.c ------------------------------------------------------------------------------ */

/* Makes what is on disk immutable and durable; a relaxed pool does not wait for the latter. */
gboolean varve_commit_on_disk(VarvePool *pool, guint64 id, GError **error);

/* Publishes a committed snapshot: it is durable when the caller is told of it, unless the pool is
 * relaxed. */
gboolean varve_commit_publish(VarvePool *pool, VarveStoreFunc func, gpointer data, GError **error);

/* The same of what a copy of another snapshot was made for under a fresh id, which is synced first,
 * unless the driver's copies are durable. Ends the work on that id, and undoes it if that fails. */
gboolean varve_commit_publish_made(VarvePool *pool, guint64 id, guint slot, VarveStoreFunc func,
                                   gpointer data, GError **error);

/* Commits the active snapshot key as name, and prepares another one upon it, which has its key, its
 * labels and its time of creation from then on: what capture does, by any driver, for one that
 * nobody has mounted. Both happen, or none. */
gboolean varve_snapshot_renew(VarvePool *pool, const char *name, const char *key,
                              GHashTable *labels, GError **error);

/* --- drop.c -------------------------------------------------------------------------------- */

/* Removes a snapshot like varve_snapshot_remove(), though others may stand on it: those stand on
 * its parent then, with the content that they have. VARVE_ERROR_NOT_IMPLEMENTED where others stand
 * on it and the driver keeps in them only what differs. */
gboolean varve_snapshot_drop(VarvePool *pool, const char *key, GError **error);

/* --- limit.c ------------------------------------------------------------------------------- */

/* Whether snapshots of the pool can be limited; VARVE_ERROR_NOT_IMPLEMENTED tells why not. */
gboolean varve_pool_can_limit(VarvePool *pool, GError **error);

/* Lets an active snapshot hold that many bytes at most; 0: as many as there are. */
gboolean varve_snapshot_limit(VarvePool *pool, const char *key, guint64 bytes, GError **error);

/* Makes an active snapshot durable that was just prepared, files and record, unless the pool is
 * relaxed. */
gboolean varve_snapshot_sync(VarvePool *pool, const char *key, GError **error);

/* --- labels.c ------------------------------------------------------------------------------ */

/* SPEC rows S7, S8. */
gboolean varve_check_key(const char *what, const char *key, GError **error);
gboolean varve_check_labels(GHashTable *labels, GError **error);

/* Labels as the record holds them: sorted, without those whose value is empty. The strings stay
 * those of the table; free the array with varve_labels_free. */
typedef struct {
    Varve__Store__Pair *pairs;
    Varve__Store__Pair **pointers;
    gsize n;
} VarveLabels;

void varve_labels_pack(GHashTable *table, VarveLabels *labels);
void varve_labels_clear(VarveLabels *labels);
GHashTable *varve_labels_unpack(Varve__Store__Pair *const *pairs, gsize n);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveLabels, varve_labels_clear)

/* --- filter.c ------------------------------------------------------------------------------ */

typedef struct VarveFilter VarveFilter;

/* containerd's filter syntax; NULL or empty filters match everything.
 * VARVE_ERROR_INVALID_ARGUMENT tells where a filter is wrong. */
VarveFilter *varve_filter_new(const char *const *filters, GError **error);
void varve_filter_free(VarveFilter *filter);
gboolean varve_filter_match(const VarveFilter *filter, const VarveSnapshotInfo *info);

/* The value that the field ("name" or "parent") must equal for any match, or NULL. */
const char *varve_filter_required(const VarveFilter *filter, const char *field);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveFilter, varve_filter_free)

/* --- query.c ------------------------------------------------------------------------------- */

VarveSnapshotInfo *varve_snapshot_info_new(const VarveSnapshotRecord *record, const char *parent);

/* The name of the snapshot id, "" for 0. */
gboolean varve_record_name(VarveStoreTxn *txn, guint64 id, char **name, GError **error);

/* --- housekeeping.c ------------------------------------------------------------------------ */

VarveHousekeeper *varve_housekeeper_new(VarveEngine *engine);

/* Waits until what this process removed is freed, unless the engine is cancelled. */
void varve_housekeeper_free(VarveHousekeeper *keeper);

/* There is something to free. */
void varve_housekeeper_wake(VarveHousekeeper *keeper);

/* There are writes that should be made durable before long. */
void varve_housekeeper_settle(VarveHousekeeper *keeper);

/* The usage of a committed snapshot was computed: keep it in its record, some time. */
void varve_housekeeper_keep_usage(VarveHousekeeper *keeper, guint64 id, const VarveUsage *usage);

/* Undoes what dead processes were in the middle of. */
void varve_housekeeper_reap(VarveEngine *engine);

/* Does everything now; pool NULL: in all of them. */
gboolean varve_housekeeper_run(VarveEngine *engine, VarvePool *pool, VarveCleanup *result,
                               GError **error);

/* --- place.c ------------------------------------------------------------------------------- */

/* The root of a snapshot, mounted where nobody sees it. */
int varve_open_mounted(VarvePool *pool, const VarveDriverSnapshot *snapshot, GError **error);

/* The same of what its parents show, of which there is at least one. */
int varve_open_parents(VarvePool *pool, const VarveDriverSnapshot *snapshot, GError **error);

/* --- removals.c ---------------------------------------------------------------------------- */

/* Frees what was removed and strikes it off, until nothing is left that can be; only NULL: in all
 * pools. Under the housekeeping lock. */
gboolean varve_removals_free(VarveEngine *engine, VarvePool *only, VarveCleanup *result,
                             GError **error);

/* Whether removals are in the table; when in doubt, yes. */
gboolean varve_removals_left(VarveEngine *engine);

/* --- search.c ------------------------------------------------------------------------------ */

/* Sets right on disk what an operation that was cut short left of the snapshot: one without a
 * record is removed (*orphan), an active one is made writable again. The caller works on the id, or
 * knows that whoever did is dead. */
gboolean varve_search_restore(VarvePool *pool, guint64 id, gboolean *orphan, GError **error);

/* Takes back what was done on disk for an operation that failed, as far as its record is not there:
 * a write whose sync failed is reported as failed, and yet it is done. A failure is logged, and the
 * next start tries again. */
void varve_search_undo(VarvePool *pool, guint64 id);

void varve_search_log_failure(VarvePool *pool, guint64 id, const GError *error);

/* Looks at all that is on disk in a pool, or in all pools, and sets right what nobody is working
 * on. Counts into result. */
gboolean varve_search_pool(VarvePool *pool, VarveCleanup *result, GError **error);
gboolean varve_search_all(VarveEngine *engine, VarveCleanup *result, GError **error);

#endif
