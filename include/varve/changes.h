/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CHANGES_H
#define VARVE_CHANGES_H

/*
 * Changes: which paths differ between a snapshot and its parent.
 *
 * The answer is that of comparing the two trees path by path, found in time proportional to what
 * changed where the file system can tell (overlay, btrfs, zfs):
 *
 *     added      the path is in the snapshot only. A directory that was added is followed by
 *                everything in it
 *     deleted    the path was in the parent only. Of a directory that was deleted only the top is
 *                told
 *     modified   the path is in both with the same type, and differs: see VarveChangeWhat
 *     replaced   the path is in both with another type each (a file became a directory, a device
 *                another one). What was beneath it in the parent is gone with it; what is beneath
 *                it in the snapshot follows as added
 *     renamed    what is at the path now was at another one in the parent, from. Told only by file
 *                systems that know (btrfs, zfs, overlay for directories); where it is not known it
 *                is one path deleted and one added. Everything in a directory that was renamed
 *                went with it, and is told only if it changed besides: what is there now under its
 *                new path (compared with what was at its old one), what is gone from it, deleted,
 *                under its path in the parent. The old path counts as free: it is not told as
 *                deleted, and what is there now is added. What the parent had at the new path is
 *                gone, as with a replaced one, unless it was renamed itself
 *
 * Changes come in the order of their paths, compared component by component as bytes, so that a
 * directory comes before what is in it; where one path is told as deleted (from a directory that
 * was renamed) and as something else, deleted comes first. A path begins with "/", which alone is
 * the root directory, and may hold any bytes but NUL. Neither access times nor the inode change
 * time count, nor how many names a file has: to give a file another name adds a path.
 */

#include <varve/engine.h>

G_BEGIN_DECLS

typedef enum {
    VARVE_CHANGE_ADDED,
    VARVE_CHANGE_MODIFIED,
    VARVE_CHANGE_DELETED,
    VARVE_CHANGE_REPLACED,
    VARVE_CHANGE_RENAMED,
} VarveChangeKind;

/* What differs, in a modified path, and in a renamed one (where it may be nothing). */
typedef enum {
    VARVE_CHANGE_CONTENT = 1 << 0, /* a file's bytes or size, a symbolic link's target */
    VARVE_CHANGE_MODE = 1 << 1,    /* permission bits */
    VARVE_CHANGE_OWNER = 1 << 2,   /* user or group */
    VARVE_CHANGE_XATTRS = 1 << 3,  /* extended attributes, ACLs and file capabilities among them */
    VARVE_CHANGE_TIME = 1 << 4,    /* the modification time, to the nanosecond */
} VarveChangeWhat;

typedef struct {
    VarveChangeKind kind;
    guint what;       /* of VarveChangeWhat; 0 unless modified or renamed */
    const char *path; /* in the snapshot; of a deleted one: in the parent */
    const char *from; /* of a renamed one, its path in the parent; else NULL */
    guint32 mode;     /* type bits (S_IFMT) of what is at the path; of a deleted one: was */
} VarveChange;

/* "added", "modified", "deleted", "replaced" or "renamed". */
VARVE_PUBLIC const char *varve_change_kind_name(VarveChangeKind kind);

/* Return FALSE to end it (with the error set, or not when it is simply enough). The change lives
 * only during the call. */
typedef gboolean (*VarveChangeFunc)(const VarveChange *change, gpointer data, GError **error);

/* Calls func for each change of a snapshot: of an active one since it was prepared (what is written
 * meanwhile may or may not be seen), of a committed one against its parent. Of one without a parent
 * everything is added, the root directory too. A view has none.
 * Errors: VARVE_ERROR_NOT_FOUND (key), and those of the file system. */
VARVE_PUBLIC gboolean varve_snapshot_changes(VarvePool *pool, const char *key, VarveChangeFunc func,
                                             gpointer data, GError **error);

G_END_DECLS

#endif
