/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VOLUME_INTERNAL_H
#define VARVE_VOLUME_INTERNAL_H

/*
 * Volumes from inside. Who does what:
 *
 *     volumes.c     the API's ends: open, find, list, haves
 *     labels.c      what a volume is, to labels and back
 *     lock.c        one operation at a time on a volume
 *     create.c      new ones: create, fork
 *     snapshot.c    snapshots of them
 *     import.c      snapshots of what an image file holds
 *     destroy.c     their end
 *     mount.c       mounting and unmounting one
 *     mount-all.c   and all
 *
 * What is on disk, beside the snapshots:
 *
 *     ROOT/volumes/       0711
 *       .lock             bytes of it are locked, one for each id
 *       ID/               what a volume is mounted on
 *
 * An operation locks the ids that it works on before it looks at anything. One store transaction
 * makes a volume, or ends it; mounts and mount points follow from what the store says, so that
 * whoever comes next can set them right.
 */

#include "base/fd.h"
#include "base/mount-table.h"
#include "snapshot/internal.h"
#include <varve/volume.h>

#define VARVE_VOLUME_PREFIX "volume/"

struct VarveVolumes {
    VarveEngine *engine;
    char *path; /* ROOT/volumes, as the kernel names it */
};

/* --- volumes.c ----------------------------------------------------------------------------- */

gboolean varve_volume_id_check(const char *id, GError **error);

/* Looks a volume up; *info is NULL when there is none of that id. Whether it is mounted is not
 * looked at. */
gboolean varve_volume_find(VarveVolumes *volumes, const char *id, VarveVolumeInfo **info,
                           GError **error);

/* VARVE_ERROR_NOT_FOUND. */
VarveVolumeInfo *varve_volume_get(VarveVolumes *volumes, const char *id, GError **error);

/* ROOT/volumes, made if it is missing. */
int varve_volumes_open_folder(VarveVolumes *volumes, GError **error);

/* --- labels.c ------------------------------------------------------------------------------ */

/* The labels of a volume that is to be made; a fresh uuid is one of them where it is a snapshot.
 * Errors tell what is malformed. */
GHashTable *varve_volume_labels_new(const VarveVolumeInfo *info, GError **error);

/* Fills in what the labels tell, by info->snapshot. FALSE: the snapshot is no volume's. */
gboolean varve_volume_labels_read(const VarveSnapshotRecord *record, VarveVolumeInfo *info);

/* --- lock.c -------------------------------------------------------------------------------- */

/* Waits for the locks on up to two ids (other may be NULL), which end with the descriptor. Returns
 * -1 with the error set. */
int varve_volume_lock(VarveVolumes *volumes, const char *id, const char *other, GError **error);

/* The same without waiting: -1 without an error when somebody has it. */
int varve_volume_try_lock(VarveVolumes *volumes, const char *id);

/* --- create.c ------------------------------------------------------------------------------ */

/* What is asked for, as it would be told of then; of what: it is made from that, NULL: from
 * nothing. */
VarveVolumeInfo *varve_volume_plan(const VarveVolumeOptions *options, const VarveVolumeInfo *from,
                                   GError **error);

/* The id must not be taken, in any pool. Under its lock. */
gboolean varve_volume_check_free(VarveVolumes *volumes, const char *id, GError **error);

/* --- mount.c ------------------------------------------------------------------------------- */

/* Under the volume's lock, all of these. */

/* Mounts it at its place, unless it is there. */
gboolean varve_volume_attach(VarveVolumes *volumes, const VarveVolumeInfo *info, GError **error);

/* Mounts a snapshot that was made, and tells of it. One that cannot be mounted, which is logged, is
 * one nevertheless: others may stand on it already. */
VarveVolumeInfo *varve_volume_present(VarveVolumes *volumes, const char *id, GError **error);

/* Unmounts what is at its place, if anything is, and tries again for some time while that is busy.
 * Fails also when it is mounted anywhere else then; a mount that was taken away is put back. *was:
 * something was mounted. */
gboolean varve_volume_free_of_users(VarveVolumes *volumes, const VarveVolumeInfo *info,
                                    gboolean *was, GError **error);

/* Where it is mounted beside its place; NULL: nowhere. */
char *varve_volume_find_user(const VarveVolumeInfo *info);

/* Lets nobody write to it, or everybody again. VARVE_ERROR_BUSY: a file is open for writing. */
gboolean varve_volume_set_read_only(const VarveVolumeInfo *info, gboolean read_only,
                                    GError **error);

/* Removes the directory that it was mounted on. */
void varve_volume_remove_place(VarveVolumes *volumes, const char *id);

#endif
