/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BACKUP_INTERNAL_H
#define VARVE_BACKUP_INTERNAL_H

/*
 * Backups from inside. Who does what:
 *
 *     artifact.c             the manifest (artifact.h)
 *     remote.c               the registry, and what its tag leads to now
 *     push.c, upload.c       what is pushed, and one snapshot on its way to a blob
 *     pull.c, receive.c      what is pulled, and one blob on its way to a snapshot
 *     list.c                 what there is
 *     flow.c                 the two ends of such a way (flow.h)
 */

#include "backup/artifact.h"
#include "image/remote.h"
#include "volume/internal.h"
#include <varve/backup.h>

/* --- remote.c ------------------------------------------------------------------------------ */

/* A backup in a registry, and who asks for it. */
typedef struct {
    VarveVolumes *volumes;
    VarveImages *images;
    VarveReference *name;
    VarveRemote remote;
    VarveRegistryWatch watch;
    VarveBackupMoved *moved;
} VarveBackupSite;

/* remote may be NULL. What was opened is to be cleared also after a failure. */
gboolean varve_backup_site_open(VarveBackupSite *site, const char *name,
                                const VarveImageRemote *remote, GError **error);
void varve_backup_site_clear(VarveBackupSite *site);

/* What the name leads to. *digest is that of the manifest, also when it is no backup. */
VarveArtifact *varve_backup_site_fetch(VarveBackupSite *site, const VarveReference *name,
                                       char **digest, GError **error);

/* An item's progress, by its id. */
void varve_backup_item_init(VarveProgressItem *item, const VarveBackupSite *site, const char *id,
                            guint64 total);

/* --- upload.c ------------------------------------------------------------------------------ */

typedef struct {
    VarvePool *pool;
    const VarveVolumeInfo *snapshot;
    const char *base; /* the uuid of what it is to be the difference to; NULL: in full */
} VarveBackupUpload;

/* Puts a snapshot into the registry as a blob, and returns its descriptor with all annotations. */
VarveDescriptor *varve_backup_upload(VarveBackupSite *site, const VarveBackupUpload *upload,
                                     GError **error);

/* --- receive.c ----------------------------------------------------------------------------- */

typedef struct {
    VarvePool *pool;
    const VarveArtifactLayer *layer;
    const char *of; /* of which volume it is to be a snapshot; NULL: none */
    gboolean no_mount;
} VarveBackupReceive;

/* Makes a snapshot of a blob; *id is the one that it got. */
gboolean varve_backup_receive(VarveBackupSite *site, const VarveBackupReceive *receive, char **id,
                              GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveBackupSite, varve_backup_site_clear)

#endif
