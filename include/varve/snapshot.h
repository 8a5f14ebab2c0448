/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SNAPSHOT_H
#define VARVE_SNAPSHOT_H

/*
 * Snapshots and their lifecycle.
 *
 * A snapshot is a file system state with at most one parent. There are three kinds:
 *
 *     active      writable; made by prepare on a committed parent or on nothing
 *     view        read-only; made by view; never committed
 *     committed   immutable; made from an active one by commit; the only kind that can be a parent
 *
 * An active or view snapshot is named by its key, a committed one by its name. Both live in one key
 * space per pool: any bytes but NUL, 1 to 4096 of them.
 *
 * A life: prepare("extract-1", parent "") gives an empty active snapshot and the mount that
 * presents it. A caller mounts it and fills it. commit("base", "extract-1") makes it the committed
 * snapshot "base"; the key "extract-1" is gone. prepare("web", parent "base") gives a writable
 * state that starts as base's content; changes to it stay its own. remove("web") discards it. base
 * can be removed once nothing stands on it.
 *
 *     prepare ──> active ──commit──> committed ──prepare/view──> ...
 *                   │                    │
 *                   └──remove            └──remove, when it has no children
 *
 * An active one that is to go on is captured instead: capture("backup-1", "web") commits web's
 * state of that moment as backup-1, and web stands on it from then on.
 *
 * After commit returns, the content is on disk and survives a power cut (pools with
 * durability=relaxed excepted). What the other operations did is durable a tenth of a second after
 * they return, and when the engine is closed. Removal takes the record at once and frees the space
 * in the background.
 */

#include <varve/engine.h>
#include <varve/mount.h>

G_BEGIN_DECLS

typedef enum {
    VARVE_KIND_UNKNOWN = 0,
    VARVE_KIND_VIEW = 1,
    VARVE_KIND_ACTIVE = 2,
    VARVE_KIND_COMMITTED = 3,
} VarveKind;

/* "view", "active", "committed" or "unknown". */
VARVE_PUBLIC const char *varve_kind_name(VarveKind kind);

typedef struct {
    char *name;   /* key or name */
    char *parent; /* name of the parent; "" for none */
    VarveKind kind;
    gint64 created; /* nanoseconds since the epoch; of a committed one: when it was committed */
    gint64 updated;
    GHashTable *labels; /* of char* to char*; never NULL */
} VarveSnapshotInfo;

typedef struct {
    gint64 bytes;
    gint64 inodes;
} VarveUsage;

VARVE_PUBLIC void varve_snapshot_info_free(VarveSnapshotInfo *info);

/* In all of these, labels may be NULL. A key and its value together hold at most 4096 bytes; a
 * label with an empty value is not kept. *mount is set to a new mount; mount may be NULL. */

/* Makes an active snapshot on a committed parent; parent NULL or "" means empty.
 * Errors: VARVE_ERROR_ALREADY_EXISTS (key), VARVE_ERROR_NOT_FOUND (parent),
 * VARVE_ERROR_INVALID_ARGUMENT (parent is not committed; key or label malformed). */
VARVE_PUBLIC gboolean varve_snapshot_prepare(VarvePool *pool, const char *key, const char *parent,
                                             GHashTable *labels, VarveMount **mount,
                                             GError **error);

/* The same, read-only. */
VARVE_PUBLIC gboolean varve_snapshot_view(VarvePool *pool, const char *key, const char *parent,
                                          GHashTable *labels, VarveMount **mount, GError **error);

/* Turns the active snapshot key into the committed snapshot name. Its labels are those given here,
 * and no others. With a parent that is not NULL or "", a snapshot that was prepared on nothing is
 * rebased onto it, where the driver can. On failure the key stays as it was.
 * Errors: VARVE_ERROR_NOT_FOUND (key or parent), VARVE_ERROR_ALREADY_EXISTS (name),
 * VARVE_ERROR_FAILED_PRECONDITION (key is a view or committed; parent not committed),
 * VARVE_ERROR_INVALID_ARGUMENT (another parent than the one it was prepared on),
 * VARVE_ERROR_NOT_IMPLEMENTED (the driver cannot rebase). */
VARVE_PUBLIC gboolean varve_snapshot_commit(VarvePool *pool, const char *name, const char *key,
                                            const char *parent, GHashTable *labels, GError **error);

/* Commits the state that the active snapshot key has now, as name, and lets key go on: it keeps its
 * content and mounts, and stands on name from then on. What is written to it meanwhile may or may
 * not be in name; on btrfs and zfs name is one instant of it, on native it is copied file by file.
 * Errors as of varve_snapshot_commit(); VARVE_ERROR_NOT_IMPLEMENTED: the driver (overlay) cannot.
 */
VARVE_PUBLIC gboolean varve_snapshot_capture(VarvePool *pool, const char *name, const char *key,
                                             GHashTable *labels, GError **error);

/* The mount of an active or view snapshot, the same as when it was made.
 * VARVE_ERROR_FAILED_PRECONDITION for a committed one. */
VARVE_PUBLIC gboolean varve_snapshot_mounts(VarvePool *pool, const char *key, VarveMount **mount,
                                            GError **error);

/* Removes any snapshot without children; the key is free at once.
 * VARVE_ERROR_FAILED_PRECONDITION, naming a child, when it has some. */
VARVE_PUBLIC gboolean varve_snapshot_remove(VarvePool *pool, const char *key, GError **error);

VARVE_PUBLIC gboolean varve_snapshot_stat(VarvePool *pool, const char *key,
                                          VarveSnapshotInfo **info, GError **error);

/* Replaces labels. fields: NULL-terminated; "labels" replaces all, "labels.KEY" sets one to its
 * value in labels or removes it when it has none there; NULL or empty means "labels". Anything else
 * cannot be changed (VARVE_ERROR_INVALID_ARGUMENT). *info (may be NULL) is set to the result. */
VARVE_PUBLIC gboolean varve_snapshot_update(VarvePool *pool, const char *key, GHashTable *labels,
                                            const char *const *fields, VarveSnapshotInfo **info,
                                            GError **error);

/* Bytes and inodes of the snapshot itself, not of its parents. A committed one's are computed once
 * and kept. */
VARVE_PUBLIC gboolean varve_snapshot_usage(VarvePool *pool, const char *key, VarveUsage *usage,
                                           GError **error);

/* Return FALSE to end the walk (with the error set, or not when it is simply enough). The info
 * lives only during the call. */
typedef gboolean (*VarveWalkFunc)(const VarveSnapshotInfo *info, gpointer data, GError **error);

/* Calls func for every snapshot that matches one of the filters (NULL or empty: all), in
 * containerd's syntax:
 *
 *     name==web            parent==base          kind==active       parent!=""
 *     labels."a/b"==c      labels.x (present)    name~=^web         two,conditions
 *
 * The order is that of the names (those over 400 bytes: by their first 400), or of creation when a
 * filter asks for one parent. Each record is whole;
 * a walk that runs beside writers may or may not see what they change meanwhile. */
VARVE_PUBLIC gboolean varve_snapshot_walk(VarvePool *pool, const char *const *filters,
                                          VarveWalkFunc func, gpointer data, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveSnapshotInfo, varve_snapshot_info_free)

G_END_DECLS

#endif
