/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_ZFS_H
#define VARVE_DRIVER_ZFS_H

/*
 * The zfs driver: a snapshot is a dataset, an active one begins as a clone of its parent, and a
 * commit renames it and takes a snapshot (in ZFS's sense) of it. Nothing is ever copied.
 *
 *     <base>                        the setting dataset, or the root of a zpool in a file (image.h)
 *     <base>/storage/empty@extracted    what snapshots without a parent are clones of
 *     <base>/storage/<id>@extracted     committed
 *     <base>/runtime/<id>               active
 *     ...@dropped-<id>                  of one that is removed, which others still need (remove.c)
 *
 * A view is nothing on disk: it presents its parent's @extracted, or that of empty.
 *
 * What is ours. The base carries a property of ours, org.varve:pool, with a number that the pool's
 * directory holds too (identity.h). Datasets beneath it are ours if their name is an id and their
 * origin is one of our snapshots, which is so for every dataset that this driver makes and for none
 * that is created or received by others; or if they carry the same number as org.varve:received,
 * which those that this driver received whole do (stream.c), and those that came to own what one of
 * them had. Any other dataset, and any snapshot that is not called as above, is left alone and told
 * about. (A mark on each dataset would take a second transaction group per clone, and so twice the
 * time: the kernel sets a clone's properties after it is made.)
 *
 * Every change waits for the transaction group that it is part of, so it is on disk when the call
 * returns. What needs several steps is done by channel programs (zfs-program(8)), which take one
 * transaction group whatever they do, except for what these cannot do: cloning and renaming.
 */

#include "base/batch.h"
#include "driver/driver.h"
#include <libnvpair.h>
#include <sys/fs/zfs.h>

typedef struct VarveZfsImage VarveZfsImage;

typedef struct {
    const VarveDriverHost *host;
    char *base;
    char *uuid;           /* the value of org.varve:pool */
    gboolean initialized; /* libzfs_core is */
    VarveZfsImage *image; /* NULL when the pool lives in a zpool of somebody's */
    VarveBatch *groups;   /* those who wait for a transaction group */
} VarveZfs;

extern const VarveDriver varve_driver_zfs;

G_DEFINE_AUTOPTR_CLEANUP_FUNC(nvlist_t, nvlist_free)

/* --- names (name.c) --------------------------------------------------------------------------- */

#define VARVE_ZFS_POOL_PROPERTY     "org.varve:pool"
#define VARVE_ZFS_MADE_PROPERTY     "org.varve:made"     /* of a base that we made */
#define VARVE_ZFS_CAPTURE_PROPERTY  "org.varve:capture-" /* of storage: see capture.c */
#define VARVE_ZFS_RECEIVED_PROPERTY "org.varve:received" /* of a dataset: see stream.c */
#define VARVE_ZFS_CAPTURED_PROPERTY "org.varve:captured" /* of an @extracted: see capture.c */

typedef struct {
    char text[ZFS_MAX_DATASET_NAME_LEN];
} VarveZfsName;

VarveZfsName varve_zfs_active(const VarveZfs *zfs, guint64 id);           /* runtime/<id> */
VarveZfsName varve_zfs_committed(const VarveZfs *zfs, guint64 id);        /* storage/<id> */
VarveZfsName varve_zfs_extracted(const VarveZfs *zfs, guint64 id);        /* its @extracted; of
                                                                             empty for 0 */
VarveZfsName varve_zfs_active_extracted(const VarveZfs *zfs, guint64 id); /* runtime/<id>@extracted:
                                                                             see commit.c */
VarveZfsName varve_zfs_capture(const VarveZfsName *dataset, guint64 id);  /* @capture-<id> */
VarveZfsName varve_zfs_dropped(const VarveZfsName *dataset, guint64 id);  /* @dropped-<id> */
VarveZfsName varve_zfs_below(const VarveZfs *zfs, const char *name);      /* <base>/<name> */

/* The name of the zpool that a dataset is in. */
char *varve_zfs_pool_of(const char *dataset);

/* Only decimal numbers without a leading zero are ids. */
gboolean varve_zfs_parse_id(const char *text, guint64 *id);

/* Whether a dataset of that name could be the base of a pool: characters, and length with what
 * comes beneath it. */
gboolean varve_zfs_check_base(const char *base, GError **error);

/* --- errors (error.c) ------------------------------------------------------------------------- */

/* Opens libzfs_core; tells a missing module, a missing permission and a module that does not fit
 * apart. */
gboolean varve_zfs_initialize(GError **error);
void varve_zfs_finalize(void);

/* Sets what an error of libzfs_core means, after "<doing> <dataset>: ". Returns FALSE. */
gboolean varve_zfs_set_error(GError **error, int errnum, const char *doing, const char *dataset);

/* Whether the zpool of a dataset is imported, and not suspended: whoever calls the kernel with one
 * that is, waits for its disks, and cannot even be killed. */
gboolean varve_zfs_check_pool(const char *dataset, GError **error);

/* --- channel programs (program.c) ------------------------------------------------------------- */

/* For programs: is_ours(dataset, base, uuid), whether a dataset beneath the base is this pool's. */
#define VARVE_ZFS_IS_OURS                                                                          \
    "local function is_ours(dataset, base, uuid)\n"                                                \
    "    local origin = zfs.get_prop(dataset, 'origin')\n"                                         \
    "    local mark, source = zfs.get_prop(dataset, 'org.varve:received')\n"                       \
    "    return origin ~= nil and string.sub(origin, 1, #base + 1) == base .. '/' or\n"            \
    "           mark == uuid and source == dataset\n"                                              \
    "end\n"

typedef enum {
    VARVE_ZFS_LOOK,   /* changes nothing, and waits for nothing */
    VARVE_ZFS_CHANGE, /* in a transaction group, for which it waits */
} VarveZfsProgramKind;

/* Runs a program in the zpool of the base, which it finds in args["base"] beside the others (args
 * may be NULL, and gets the base added). Returns the table that it returned. */
nvlist_t *varve_zfs_run(const char *base, VarveZfsProgramKind kind, const char *program,
                        nvlist_t *args, const char *doing, GError **error);

/* Arguments for a program: args["datasets"], the names. */
nvlist_t *varve_zfs_datasets(const VarveZfsName *names, gsize n);

/* Members of tables; NULL or fallback where they are missing or of another type. */
const char *varve_zfs_string(nvlist_t *table, const char *name);
gint64 varve_zfs_number(nvlist_t *table, const char *name, gint64 fallback);
nvlist_t *varve_zfs_table(nvlist_t *table, const char *name);

/* The strings in a table of them, e.g. "a, b and 3 more"; NULL where there are none. */
char *varve_zfs_join(nvlist_t *table);

/* --- the base (base.c, properties.c) ---------------------------------------------------------- */

/* Makes the base, or takes an empty dataset for it, and what is in it. Undone when it fails. */
gboolean varve_zfs_make_base(VarveZfs *zfs, GError **error);

/* Looks whether the base is there, is this pool's, is whole, and has properties that will do. */
gboolean varve_zfs_check_existing(VarveZfs *zfs, GError **error);

/* Whether only what the driver itself made is left in it; names what else there is. */
gboolean varve_zfs_check_vacant(const VarveZfs *zfs, GError **error);

/* Takes it away, when that holds. */
gboolean varve_zfs_destroy_base(VarveZfs *zfs, GError **error);

/* The properties that a base is made with. */
nvlist_t *varve_zfs_properties_new(void);

/* The same as options -O NAME=VALUE of zpool-create(8), added to argv. */
void varve_zfs_properties_add_options(GPtrArray *argv);

/* The names of those that are looked at later on, as an argument for a program; and whether what it
 * found, a table of {value, source} by name, will do for a dataset. */
void varve_zfs_properties_add_names(nvlist_t *args, const char *name);
void varve_zfs_properties_check(const char *dataset, nvlist_t *found, GString *conflicts);

/* --- snapshots -------------------------------------------------------------------------------- */

gboolean varve_zfs_create(gpointer self, const VarveDriverSnapshot *snapshot, GError **error);
gboolean varve_zfs_commit(gpointer self, guint64 id, GError **error);
gboolean varve_zfs_reopen(gpointer self, guint64 id, GError **error);
gboolean varve_zfs_sync(gpointer self, guint64 id, GError **error);
VarveMount *varve_zfs_mounts(gpointer self, const VarveDriverSnapshot *snapshot, GError **error);

gboolean varve_zfs_capture_active(gpointer self, guint64 of, guint64 id, GError **error);
gboolean varve_zfs_limit(gpointer self, guint64 id, guint64 bytes, GError **error);

/* Of a dataset, or of a snapshot of one. */
gboolean varve_zfs_rename(const VarveZfsName *from, const VarveZfsName *to, GError **error);

gboolean varve_zfs_send(gpointer self, const VarveDriverSnapshot *snapshot, guint64 base,
                        guint64 scratch, const VarveSink *sink, GError **error);
gboolean varve_zfs_receive(gpointer self, const VarveDriverSnapshot *snapshot,
                           const VarveSource *source, GError **error);

gboolean varve_zfs_remove(gpointer self, guint64 id, GError **error);
void varve_zfs_remove_many(gpointer self, const guint64 *ids, gsize n, GError **errors);

gboolean varve_zfs_list(gpointer self, VarveDriverListFunc func, gpointer data, GError **error);

gboolean varve_zfs_usage(gpointer self, const VarveDriverSnapshot *snapshot, VarveUsage *usage,
                         GError **error);
gboolean varve_zfs_changes(gpointer self, const VarveDriverSnapshot *snapshot, guint64 scratch,
                           VarveChangeFunc func, gpointer data, GError **error);
gboolean varve_zfs_space(gpointer self, guint64 *size, guint64 *free, GError **error);

/* Mounts a dataset, or a snapshot of one, where nobody sees it. Returns its root directory. */
int varve_zfs_open_root(const VarveZfs *zfs, const char *dataset, GError **error);

/* Has what was written to a dataset through mappings of files, if it is mounted anywhere, reach
 * ZFS (pages.c). */
gboolean varve_zfs_flush_pages(const VarveZfs *zfs, const VarveZfsName *dataset, GError **error);

/* The same in two steps: whether the dataset, which has one of the names, is mounted in any mount
 * namespace; and the writing back of one that is. */
gboolean varve_zfs_is_mounted(const VarveZfs *zfs, const VarveZfsName *names, gsize n,
                              gboolean *mounted, GError **error);
gboolean varve_zfs_write_pages_back(const VarveZfs *zfs, const VarveZfsName *dataset,
                                    GError **error);

/* Does something that takes space; again while what was removed is being freed. */
typedef gboolean (*VarveZfsStep)(VarveZfs *zfs, guint64 id, gpointer data, GError **error);
gboolean varve_zfs_do_with_space(VarveZfs *zfs, VarveZfsStep step, guint64 id, gpointer data,
                                 GError **error);

/* Waits until all that was written before the call is on disk; callers share the wait. */
gboolean varve_zfs_wait_group(VarveZfs *zfs, GError **error);
VarveBatch *varve_zfs_groups_new(VarveZfs *zfs);

#endif
