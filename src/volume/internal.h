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
 *     receive.c     snapshots that come from elsewhere, and replace what a volume holds
 *     destroy.c     their end
 *     change.c      what is known of them
 *     hold.c        who uses them
 *     mount.c       mounting and unmounting one
 *     mount-all.c   and all
 *     stream/       snapshots as streams
 *     host/         to other hosts, and from them
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

#define VARVE_VOLUME_PREFIX       "volume/"
#define VARVE_VOLUME_DEFAULT_TYPE "data"

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

gboolean varve_volume_type_check(const char *type, GError **error);

/* The labels of a volume that is to be made; a fresh uuid is one of them where it is a snapshot.
 * Errors tell what is malformed. */
GHashTable *varve_volume_labels_new(const VarveVolumeInfo *info, GError **error);

/* Fills in what the labels tell, by info->snapshot. FALSE: the snapshot is no volume's. */
gboolean varve_volume_labels_read(const VarveSnapshotRecord *record, VarveVolumeInfo *info);

/* Makes those that came with a stream the labels of a snapshot that was taken of the volume here.
 * VARVE_ERROR_CORRUPT: they are none that a volume can have. */
gboolean varve_volume_labels_adopt(GHashTable *labels, const char *of, GError **error);

/* Has what they are of left out by varve_volumes_mount_all(). */
void varve_volume_labels_unattend(GHashTable *labels);

/* Those of a volume that is made upon a snapshot with such labels: type and meta. */
GHashTable *varve_volume_labels_for_live(GHashTable *labels);

/* Adds the labels of meta. Errors tell what is malformed. */
gboolean varve_volume_labels_add_meta(GHashTable *labels, GHashTable *meta, GError **error);
char *varve_volume_meta_label(const char *key);

/* --- change.c ------------------------------------------------------------------------------ */

/* Sets labels of it, and removes those that only removed (of char*) names. Under its lock. */
gboolean varve_volume_set_labels(VarveVolumes *volumes, const VarveVolumeInfo *info,
                                 GHashTable *labels, GPtrArray *removed, GError **error);

/* --- hold.c -------------------------------------------------------------------------------- */

#define VARVE_VOLUME_LABEL_HELD "varve.volume.held." /* and by whom; the value is the boot's id */

/* Those of this boot, sorted. */
char **varve_volume_holders_read(GHashTable *labels);

/* VARVE_ERROR_BUSY, naming them. */
gboolean varve_volume_check_holders(const VarveVolumeInfo *info, GError **error);

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

/* Whether it could be unmounted now, which it is not: VARVE_ERROR_BUSY. */
gboolean varve_volume_check_unused(VarveVolumes *volumes, const VarveVolumeInfo *info,
                                   GError **error);

/* Where it is mounted beside its place; NULL: nowhere. */
char *varve_volume_find_user(const VarveVolumeInfo *info);

/* Lets nobody write to it, or everybody again. VARVE_ERROR_BUSY: a file is open for writing. */
gboolean varve_volume_set_read_only(const VarveVolumeInfo *info, gboolean read_only,
                                    GError **error);

/* Removes the directory that it was mounted on. */
void varve_volume_remove_place(VarveVolumes *volumes, const char *id);

#endif
