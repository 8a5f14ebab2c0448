/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VOLUME_H
#define VARVE_VOLUME_H

/*
 * Volumes: data that outlives what works on it.
 *
 *     provider    a pool; the one that is taken when none is named is the engine's default one
 *     volume      an active snapshot with an id, mounted at ROOT/volumes/ID
 *     snapshot    of a volume: what it held at one time, read-only, mounted like a volume. It is a
 *                 committed snapshot, and has an id of the same kind
 *     fork        a new volume that begins as a snapshot
 *     haves       the snapshots that a volume stands on, offered to who sends it something
 *
 * A life: create makes an empty volume and mounts it; programs work in its directory. snapshot
 * keeps its state of that moment, and the volume goes on. A fork of the snapshot is a volume of its
 * own. destroy unmounts and removes. Mounts end with the host, so whoever looks after the host
 * (varved) calls varve_volumes_mount_all() when it starts.
 *
 *     create ──> volume ──snapshot──> snapshot ──fork──> volume ──> ...
 *                  │                     │
 *                  └──destroy            └──destroy, when nothing stands on it
 *
 * All that is known of a volume stands in the labels of its snapshot, whose key is "volume/ID": so
 * a volume is there exactly as long as its snapshot is. What may be done with a snapshot by its key
 * (snapshot.h, transfer.h) may be done with a volume's.
 *
 * Ids are those of all pools together: a letter or digit, then those and "_.-", at most 128.
 *
 * Processes exclude each other by a lock for each id, which ends with its process. Killed at any
 * point, an operation has been done or has not; a mount that it left is found and used again.
 *
 * Threads: as in engine.h.
 */

#include <varve/engine.h>
#include <varve/transfer.h>

G_BEGIN_DECLS

typedef struct VarveVolumes VarveVolumes;

/* The volumes of an engine's root, to be closed before it. */
VARVE_PUBLIC VarveVolumes *varve_volumes_open(VarveEngine *engine, GError **error);
VARVE_PUBLIC void varve_volumes_close(VarveVolumes *volumes);

/* --- looking ------------------------------------------------------------------------------- */

typedef struct {
    char *id;
    char *type;          /* "data" unless it was made as something else */
    char *provider;      /* its pool */
    char *driver;        /* the pool's */
    char *key;           /* of its snapshot in the pool: "volume/ID" */
    GHashTable *meta;    /* of char* to char*; never NULL */
    gint64 created;      /* nanoseconds since the epoch */
    guint64 size;        /* bytes it may hold; 0: as many as the pool */
    char *path;          /* where it is mounted, or would be */
    gboolean mounted;    /* in this process's mount namespace */
    gboolean unattended; /* it is left out by varve_volumes_mount_all() */
    char **holders;      /* who has it by varve_volumes_hold(), sorted; never NULL */
    gboolean snapshot;   /* read-only; the next four are of snapshots only */
    char *of;        /* the id of the volume it was taken of; NULL: it was imported or received */
    char *uuid;      /* by which other hosts know it; NULL: not made yet */
    gboolean atomic; /* the state of one moment; otherwise it was copied while written to */
    char *parent;    /* the key of what it, or a volume, stands on; "" for none */
} VarveVolumeInfo;

VARVE_PUBLIC void varve_volume_info_free(VarveVolumeInfo *info);

typedef enum {
    VARVE_VOLUMES_BOTH, /* volumes and snapshots */
    VARVE_VOLUMES_LIVE,
    VARVE_VOLUMES_SNAPSHOTS,
} VarveVolumesWhich;

/* Fields that are NULL or 0 do not matter. */
typedef struct {
    VarveVolumesWhich which;
    const char *provider;
    const char *type;
    const char *of;   /* snapshots that were taken of this volume */
    GHashTable *meta; /* has all of these pairs */
} VarveVolumeFilter;

/* By provider and id: GPtrArray of VarveVolumeInfo*, which frees its elements. filter may be NULL.
 * VARVE_ERROR_NOT_FOUND: there is no such provider. */
VARVE_PUBLIC GPtrArray *varve_volumes_list(VarveVolumes *volumes, const VarveVolumeFilter *filter,
                                           GError **error);

/* VARVE_ERROR_NOT_FOUND: there is no such volume. */
VARVE_PUBLIC VarveVolumeInfo *varve_volumes_inspect(VarveVolumes *volumes, const char *id,
                                                    GError **error);

typedef struct {
    char *uuid;
    char *id; /* NULL: it is no volume's */
} VarveVolumeHave;

/* The snapshots that a volume stands on, the newest first, a snapshot being the first of its own:
 * GPtrArray of VarveVolumeHave*, which frees its elements. Those that have no uuid are left out. */
VARVE_PUBLIC GPtrArray *varve_volumes_haves(VarveVolumes *volumes, const char *id, GError **error);

/* --- making -------------------------------------------------------------------------------- */

/* What a volume is to be. All may be NULL or 0. */
typedef struct {
    const char *id;       /* a fresh UUID */
    const char *provider; /* the default pool, which is made if there is none at all. Not for
                             snapshots and forks, which stay where they are */
    const char *type;     /* "data"; of a snapshot or fork: that of what it is made from */
    GHashTable *meta;     /* none */
    guint64 size;         /* no limit; VARVE_ERROR_NOT_IMPLEMENTED where the driver knows none */
    gboolean no_mount;    /* neither now nor by varve_volumes_mount_all() */
    gboolean freeze;      /* of snapshots: see there */
} VarveVolumeOptions;

/* A size as people write it: bytes, or with K, M, G or T (powers of 1024), as in 1.5G. */
VARVE_PUBLIC gboolean varve_volume_size_parse(const char *text, guint64 *size, GError **error);

/* Makes an empty volume, which is durable then. options may be NULL.
 * Errors: VARVE_ERROR_ALREADY_EXISTS (id), VARVE_ERROR_INVALID_ARGUMENT (id, type or meta
 * malformed; a pair of meta is longer than a label may be), VARVE_ERROR_NOT_FOUND (provider),
 * VARVE_ERROR_NOT_IMPLEMENTED (size). */
VARVE_PUBLIC VarveVolumeInfo *
varve_volumes_create(VarveVolumes *volumes, const VarveVolumeOptions *options, GError **error);

/* Takes a snapshot of a volume, which goes on. On btrfs and zfs it is the state of one moment. On
 * native the volume is copied, file by file: what is written meanwhile may or may not be in it, and
 * the result says so; with options->freeze the volume is read-only meanwhile (programs that write
 * get EROFS), which is VARVE_ERROR_BUSY when a file is open for writing, or when it is mounted at
 * other places. On overlay the volume is unmounted and mounted again, so it must not be in use
 * (VARVE_ERROR_BUSY). VARVE_ERROR_FAILED_PRECONDITION: it is a snapshot itself. */
VARVE_PUBLIC VarveVolumeInfo *varve_volumes_snapshot(VarveVolumes *volumes, const char *id,
                                                     const VarveVolumeOptions *options,
                                                     GError **error);

/* Makes a volume that begins as the snapshot. VARVE_ERROR_FAILED_PRECONDITION: it is no snapshot.
 */
VARVE_PUBLIC VarveVolumeInfo *varve_volumes_fork(VarveVolumes *volumes, const char *snapshot,
                                                 const VarveVolumeOptions *options, GError **error);

/* Makes a snapshot of what a file holds: an image of ext2 to ext4, squashfs or erofs, which also is
 * its type. It is mounted read-only meanwhile, which means that the kernel parses it: the kernel's
 * file systems are not made for images that somebody crafted, so take only those that you would
 * mount. The journal of ext4 is left alone. VARVE_ERROR_INVALID_ARGUMENT: it is something else. */
VARVE_PUBLIC VarveVolumeInfo *varve_volumes_import(VarveVolumes *volumes, const char *file,
                                                   const VarveVolumeOptions *options,
                                                   GError **error);

/* Makes a snapshot of a stream (transfer.h), and has the volume hold what that holds: what it held
 * since its last snapshot is gone. The snapshot is returned. Its id is options->name, else the one
 * that it has where it comes from, unless that is taken here: then a fresh one. A volume that is
 * not there is made, with the type and meta of the snapshot, in the pool options->provider; one
 * that is there keeps its own. It may not be in use when this begins, nor when all has come: it is
 * unmounted then, and mounted again. options and transfer may be NULL. When it fails nothing was
 * changed.
 * Errors: VARVE_ERROR_BUSY (it is in use), VARVE_ERROR_FAILED_PRECONDITION (it is a snapshot
 * itself; it is in another pool), and those of varve_snapshot_receive(). */
VARVE_PUBLIC VarveVolumeInfo *varve_volumes_receive(VarveVolumes *volumes, const char *id,
                                                    VarveSource source,
                                                    const VarveReceiveOptions *options,
                                                    VarveTransfer *transfer, GError **error);

/* --- changing ------------------------------------------------------------------------------ */

/* Sets pairs of a volume's or snapshot's meta (NULL: none), and takes those away whose keys are in
 * removed and not in meta; removed NULL: all others, so that it is meta then. Errors as of
 * varve_volumes_create(). */
VARVE_PUBLIC VarveVolumeInfo *varve_volumes_set_meta(VarveVolumes *volumes, const char *id,
                                                     GHashTable *meta, const char *const *removed,
                                                     GError **error);

/* --- removing ------------------------------------------------------------------------------ */

/* What becomes of those that stand on it. */
typedef enum {
    VARVE_VOLUMES_REFUSE,    /* nothing is destroyed: VARVE_ERROR_FAILED_PRECONDITION names them */
    VARVE_VOLUMES_RECURSIVE, /* they are destroyed first, volumes as well */
    VARVE_VOLUMES_ONLY,      /* they go on, with what they hold, and stand on what it stood on.
                                VARVE_ERROR_NOT_IMPLEMENTED on overlay */
} VarveVolumesOthers;

/* Unmounts and removes a volume or snapshot. While it is busy it is tried again, for some seconds;
 * then that is VARVE_ERROR_BUSY, and it stays. A volume stands on its last snapshot, and that one
 * on the one before. */
VARVE_PUBLIC gboolean varve_volumes_destroy(VarveVolumes *volumes, const char *id,
                                            VarveVolumesOthers others, GError **error);

/* --- mounting ------------------------------------------------------------------------------ */

/* Mounts a volume or snapshot at its place, unless it is there already; and, with a directory that
 * is not NULL, there too. */
VARVE_PUBLIC gboolean varve_volumes_mount(VarveVolumes *volumes, const char *id,
                                          const char *directory, GError **error);

/* Unmounts it from its place, or from the directory. VARVE_ERROR_BUSY while it is in use;
 * VARVE_ERROR_FAILED_PRECONDITION when it is not mounted there. */
VARVE_PUBLIC gboolean varve_volumes_unmount(VarveVolumes *volumes, const char *id,
                                            const char *directory, GError **error);

/* For who runs containers that Varve knows nothing of: mounts a volume or snapshot at its place,
 * and notes that holder (letters, digits and any of _.:-, at most 128) uses it. Until it is
 * released by all of them, or the host starts anew, it is neither destroyed nor unmounted from its
 * place (VARVE_ERROR_BUSY), whoever is killed. The same holder twice is one. */
VARVE_PUBLIC VarveVolumeInfo *varve_volumes_hold(VarveVolumes *volumes, const char *id,
                                                 const char *holder, GError **error);

/* Ends that; holder NULL: for all. One that does not hold it is no error. What was made with
 * no_mount is unmounted after the last. */
VARVE_PUBLIC gboolean varve_volumes_release(VarveVolumes *volumes, const char *id,
                                            const char *holder, GError **error);

typedef struct {
    guint64 done;   /* are mounted, or are not any more */
    guint64 failed; /* logged, each with its reason */
} VarveVolumesResult;

/* Mounts all that are to be, and clears away what is left of those that are gone. One that cannot
 * be mounted is skipped with a warning. */
VARVE_PUBLIC gboolean varve_volumes_mount_all(VarveVolumes *volumes, VarveVolumesResult *result,
                                              GError **error);

/* Unmounts all from their places. One that is in use stays, with a warning. */
VARVE_PUBLIC gboolean varve_volumes_unmount_all(VarveVolumes *volumes, VarveVolumesResult *result,
                                                GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveVolumes, varve_volumes_close)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveVolumeInfo, varve_volume_info_free)

G_END_DECLS

#endif
