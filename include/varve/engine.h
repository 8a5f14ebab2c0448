/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_ENGINE_H
#define VARVE_ENGINE_H

/*
 * The engine: one open root directory, its store and its pools.
 *
 *     engine    a root directory: one metadata store, shared by every process that opens it
 *     pool      a driver instance with its place, settings and key space; containerd knows it as
 *               a snapshotter of that name
 *     driver    the mechanics of one file system: overlay, btrfs, native
 *
 * A life: a program opens the engine on a root (made if it is missing), gets a pool by name, and
 * works with snapshots in it (snapshot.h). Any number of processes may have the same root open; one
 * of them may be varved, none has to be. When a process dies at any point, the next one to open the
 * root clears away what was half-made and finishes what was half-removed.
 *
 * Threads: every function may be called from any thread, except varve_engine_close(), which must be
 * the last one. Strings and structures that are returned belong to the caller unless said
 * otherwise.
 */

#include <varve/error.h>

G_BEGIN_DECLS

typedef struct VarveEngine VarveEngine;
typedef struct VarvePool VarvePool;

typedef enum {
    VARVE_ENGINE_DEFAULT = 0,
    /* Leave what crashed processes left behind as it is: for commands that only look. */
    VARVE_ENGINE_NO_RECOVERY = 1 << 0,
    /* Fail with VARVE_ERROR_NOT_FOUND when the root holds no store, instead of making one. */
    VARVE_ENGINE_MUST_EXIST = 1 << 1,
} VarveEngineFlags;

/* Opens the store under root, an absolute or relative path of a directory. A store that a newer
 * Varve wrote is refused with VARVE_ERROR_FAILED_PRECONDITION and left untouched; one that this
 * process has open already, with VARVE_ERROR_BUSY: its threads share one engine. */
VARVE_PUBLIC VarveEngine *varve_engine_open(const char *root, VarveEngineFlags flags,
                                            GError **error);

/* Waits for this engine's background removals, then closes all. NULL is allowed. Pools got from the
 * engine are gone after it. */
VARVE_PUBLIC void varve_engine_close(VarveEngine *engine);

/* Makes operations in flight, and all later ones, fail with VARVE_ERROR_CANCELLED as soon as they
 * can undo what they did; background removal stops where it is and is finished by the next open.
 * Safe in a signal handler. */
VARVE_PUBLIC void varve_engine_cancel(VarveEngine *engine);

/* Called from the working thread, some times a second at most, while an operation copies or removes
 * trees. */
typedef void (*VarveProgressFunc)(const char *verb, guint64 files, guint64 bytes, gpointer data);
VARVE_PUBLIC void varve_engine_set_progress(VarveEngine *engine, VarveProgressFunc func,
                                            gpointer data);

/* The root as an absolute path; belongs to the engine. */
VARVE_PUBLIC const char *varve_engine_get_root(VarveEngine *engine);

/* --- pools --------------------------------------------------------------------------------- */

typedef struct {
    char *name;
    char *driver;
    char *path;           /* the directory that holds its snapshots */
    GHashTable *settings; /* of char* to char*: as given at creation */
    gint64 created;       /* nanoseconds since the epoch */
    guint64 snapshots;    /* how many it holds, of all kinds */
    guint64 size, free;   /* bytes of the file system under it; 0 when it cannot be told */
    char *problem;        /* why it cannot be used now, or NULL */
} VarvePoolInfo;

VARVE_PUBLIC void varve_pool_info_free(VarvePoolInfo *info);

/* Makes a pool and records it. driver NULL or "auto" picks btrfs where the root is on btrfs, else
 * overlay, else native. settings may be NULL. Errors tell a taken name
 * (VARVE_ERROR_ALREADY_EXISTS), an unknown driver (VARVE_ERROR_NOT_FOUND), a blank driver, a bad
 * name or an unknown or ill-typed setting (VARVE_ERROR_INVALID_ARGUMENT), and a driver that cannot
 * work here (VARVE_ERROR_FAILED_PRECONDITION) apart. */
VARVE_PUBLIC gboolean varve_engine_create_pool(VarveEngine *engine, const char *name,
                                               const char *driver, GHashTable *settings,
                                               GError **error);

/* Takes a pool without snapshots away, with what its driver keeps on disk. */
VARVE_PUBLIC gboolean varve_engine_remove_pool(VarveEngine *engine, const char *name,
                                               GError **error);

/* The pool of that name, its driver opened (a pool in a file is mounted now). name NULL: the only
 * pool, or the one named "default"; where there is none at all, "default" is made. Belongs to the
 * engine. */
VARVE_PUBLIC VarvePool *varve_engine_get_pool(VarveEngine *engine, const char *name,
                                              GError **error);

/* All pools in the order of their names: GPtrArray of VarvePoolInfo*, which frees its elements. A
 * pool that cannot be used is listed, with its problem. */
VARVE_PUBLIC GPtrArray *varve_engine_list_pools(VarveEngine *engine, GError **error);
VARVE_PUBLIC VarvePoolInfo *varve_engine_inspect_pool(VarveEngine *engine, const char *name,
                                                      GError **error);

/* The pool's name; belongs to the pool. */
VARVE_PUBLIC const char *varve_pool_get_name(VarvePool *pool);

/* --- the root as a whole ------------------------------------------------------------------- */

typedef struct {
    guint64 orphans; /* half-made snapshots and pools that were removed */
    guint64 removed; /* removals that had been left unfinished and are done now */
    guint64 failed;  /* what could not be removed; logged, and tried again next time */
} VarveCleanup;

/* Removes everything on disk, in every pool or in the one given, that no record names and nobody
 * works on, and finishes removals. Waits until it is done. */
VARVE_PUBLIC gboolean varve_engine_cleanup(VarveEngine *engine, VarvePool *pool,
                                           VarveCleanup *result, GError **error);

typedef struct {
    char *root;
    char *version;         /* of this library */
    guint32 schema;        /* version of the store's records */
    char *uuid;            /* of this store, made with it */
    guint64 store_used;    /* bytes */
    guint64 store_size;    /* bytes of address space reserved for it; grows as needed */
    guint32 store_readers; /* reader slots in use, over all processes */
    guint64 snapshots;     /* over all pools */
    guint64 pending;       /* removals whose files are still to be freed */
} VarveEngineInfo;

VARVE_PUBLIC VarveEngineInfo *varve_engine_get_info(VarveEngine *engine, GError **error);
VARVE_PUBLIC void varve_engine_info_free(VarveEngineInfo *info);

/* --- drivers ------------------------------------------------------------------------------- */

typedef struct {
    const char *name, *type, *fallback, *summary; /* type: "path", "size", "bool" or "choice" */
} VarveSettingInfo;

typedef struct {
    const char *name;
    const char *summary;
    char *problem;    /* why it cannot work under this engine's root, or NULL */
    GArray *settings; /* of VarveSettingInfo: those of this driver and those of every pool */
} VarveDriverInfo;

/* The drivers of this build: GPtrArray of VarveDriverInfo*, which frees its elements. engine NULL:
 * without looking whether they work (problem is NULL). */
VARVE_PUBLIC GPtrArray *varve_engine_list_drivers(VarveEngine *engine);

/* Checks what a pool is to be told against the driver's table, with the errors of
 * varve_engine_create_pool(), and touches nothing. driver NULL or "auto": whether any driver takes
 * these settings. */
VARVE_PUBLIC gboolean varve_driver_check(const char *driver, GHashTable *settings, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveEngine, varve_engine_close)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarvePoolInfo, varve_pool_info_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveEngineInfo, varve_engine_info_free)

G_END_DECLS

#endif
