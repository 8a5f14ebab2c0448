/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BACKUP_H
#define VARVE_BACKUP_H

/*
 * Backups: snapshots of volumes, kept in a registry of images.
 *
 * A backup is what a tag of a repository leads to: an artifact (docs/backup.md) with a blob for
 * each snapshot, the oldest first. The first blob is a snapshot in full, each later one the
 * difference to one before it; all are portable streams (transfer.h), so any driver takes them, and
 * snapshots are known everywhere by their universal ids.
 *
 *     varve_backup_push()     what the tag has not yet, of a snapshot and those that it stands on
 *     varve_backup_pull()     what is not here yet, and a volume that begins as one of them
 *     varve_backup_list()     what there is
 *
 * A push only adds to what the tag has, and publishes each snapshot when it is there, so that
 * whatever ends it, the tag leads to something whole and the next push goes on there. A pull
 * publishes a snapshot here when both its blob's digest and its stream were found right.
 */

#include <varve/image.h>
#include <varve/volume.h>

G_BEGIN_DECLS

typedef struct {
    char *id;        /* what it was called where it comes from */
    char *uuid;      /* by which it is known everywhere */
    char *base;      /* the uuid of what it is the difference to; NULL: it is there in full */
    char *of;        /* the volume that it was taken of; NULL: none */
    gint64 created;  /* nanoseconds since the epoch; 0: not told */
    guint64 bytes;   /* that it takes in the registry */
    guint64 payload; /* bytes of what it holds, not compressed; 0: not told */
    char *digest;    /* of its blob */
} VarveBackupSnapshot;

typedef struct {
    char *name;           /* whole: "registry:5000/db:latest" */
    char *digest;         /* of the manifest */
    char *volume;         /* the id of the volume; NULL: of snapshots without one */
    char *type;           /* the volume's */
    GHashTable *meta;     /* the volume's, of char* to char*; never NULL */
    guint64 bytes;        /* of all blobs */
    GPtrArray *snapshots; /* of VarveBackupSnapshot*, in the order in which they were pushed */
} VarveBackup;

VARVE_PUBLIC void varve_backup_free(VarveBackup *backup);

/* What a push or pull did. */
typedef struct {
    char *name;      /* of the backup, whole */
    char *digest;    /* of its manifest */
    guint snapshots; /* that were seen to; */
    guint moved;     /* of these, uploaded or fetched, */
    guint present;   /* that were there */
    guint64 bytes;   /* that were moved */
    gboolean begun;  /* a push found nothing to go on from, and sent all in full */
} VarveBackupMoved;

VARVE_PUBLIC void varve_backup_moved_clear(VarveBackupMoved *moved);

/* Zeros and NULLs mean the defaults. */
typedef struct {
    gboolean full;  /* a new chain of this snapshot alone takes the place of what the tag has */
    gboolean force; /* the tag may lead to something else, which it does not any more then */
    VarveImageRemote remote;
} VarveBackupPush;

/* Puts a snapshot ("SNAPSHOT" or "VOLUME@SNAPSHOT"), and those that it stands on, into the registry
 * that target says, but for what the tag has. Those that were taken away here meanwhile are no
 * obstacle: it goes on from the newest one that both have. images tells of the progress, with
 * snapshots' ids for items. options and moved may be NULL.
 * Errors: VARVE_ERROR_NOT_FOUND (snapshot), VARVE_ERROR_INVALID_ARGUMENT (target has no tag; the
 * snapshot is none of that volume), VARVE_ERROR_FAILED_PRECONDITION (it is no snapshot; the tag
 * leads to an image, or to another volume's backup), VARVE_ERROR_UNAVAILABLE,
 * VARVE_ERROR_PERMISSION_DENIED, VARVE_ERROR_CORRUPT: as varve_images_push(). */
VARVE_PUBLIC gboolean varve_backup_push(VarveVolumes *volumes, VarveImages *images,
                                        const char *snapshot, const char *target,
                                        const VarveBackupPush *options, VarveBackupMoved *moved,
                                        GError **error);

/* Zeros and NULLs mean the defaults. */
typedef struct {
    const char *id;          /* of the volume; as it was called */
    const char *to;          /* the snapshot that it begins as, by id or uuid; the newest */
    const char *provider;    /* the pool; the default one */
    gboolean snapshots_only; /* no volume is made */
    gboolean no_mount;       /* as in VarveVolumeOptions */
    VarveImageRemote remote;
} VarveBackupPull;

/* Fetches a snapshot from the registry that source says, by tag or digest, and those that it is the
 * difference to, but for what the pool has; then makes a volume that begins as it. A snapshot whose
 * id is taken gets a fresh one. When it fails, the snapshots that came whole stay, and the next
 * pull goes on there. Returns the volume, or, snapshots_only, the snapshot. options and moved may
 * be NULL. What the backup says is what its author says: whoever pulls from people that they do
 * not trust has to know that they can claim any universal id.
 * Errors: VARVE_ERROR_NOT_FOUND (no such backup, or no such snapshot in it),
 * VARVE_ERROR_ALREADY_EXISTS (the volume), VARVE_ERROR_FAILED_PRECONDITION (it is an image or
 * another artifact), VARVE_ERROR_INVALID_ARGUMENT (it is malformed), VARVE_ERROR_CORRUPT (what was
 * sent is not what it should be), and those of varve_images_pull(). */
VARVE_PUBLIC VarveVolumeInfo *varve_backup_pull(VarveVolumes *volumes, VarveImages *images,
                                                const char *source, const VarveBackupPull *options,
                                                VarveBackupMoved *moved, GError **error);

/* What a registry has: the backup of the name's tag or digest; without either, all of the
 * repository, by tag, those that are none left out. GPtrArray of VarveBackup*, which frees its
 * elements. remote may be NULL. */
VARVE_PUBLIC GPtrArray *varve_backup_list(const char *name, const VarveImageRemote *remote,
                                          GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveBackup, varve_backup_free)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveBackupMoved, varve_backup_moved_clear)

G_END_DECLS

#endif
