/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "driver/btrfs/image.h"
#include "driver/btrfs/subvolume.h"
#include "driver/folder.h"
#include "driver/syncfs.h"
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The btrfs driver: a snapshot is a subvolume, an active one begins as a snapshot (in btrfs's
 * sense) of its parent, and commit sets it read-only. Nothing is ever copied.
 *
 *     subvolumes/<id modulo SHARDS>/<id>
 *
 * The kernel makes a snapshot by committing the running transaction, and holds the lock of the
 * directory that gets it meanwhile. Two snapshots in one directory thus take two commits one after
 * the other, while those in different directories join the same one: hence the shards.
 *
 * A view on a parent has nothing on disk: its mount is the parent's subvolume, read-only. The pool
 * lives on the btrfs that its directory is on, or on one in a sparse file (image.h).
 */

typedef struct {
    const VarveDriverHost *host;
    VarveBtrfsImage *image; /* NULL when the pool's directory is on btrfs itself */
    int root;               /* where the folder is; host's descriptor, or the image's */
    int subvolumes;         /* the folder */
    char *device;           /* what to mount subvolumes from */
    VarveSyncfs *syncfs;
} Btrfs;

static const VarveDriverSetting btrfs_settings[] = {
    {"file", VARVE_SETTING_PATH, NULL, NULL,
     "keep the pool in a btrfs of its own in this sparse file, which is made with the pool; needed "
     "where the pool's directory is not on btrfs"},
    {"size", VARVE_SETTING_SIZE, NULL, NULL,
     "how large the file may grow; when not given, 70% of the file system that it is on"},
    {NULL},
};

/* --- opening ---------------------------------------------------------------------------------- */

static gboolean
btrfs_probe(const char *path, GHashTable *settings, GError **error)
{
    const char *file = varve_driver_setting(&varve_driver_btrfs, settings, "file");
    if (file != NULL)
        return varve_btrfs_image_probe(file, error);
    if (varve_driver_setting(&varve_driver_btrfs, settings, "size") != NULL)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the setting 'size' says how large 'file' may grow: give that too");
    return varve_btrfs_check_path(path, error);
}

/* One of the file system's devices, as the kernel names it: any will do for mounting. */
static char *
find_device(int fd, GError **error)
{
    struct btrfs_ioctl_fs_info_args fs = {0};
    if (ioctl(fd, BTRFS_IOC_FS_INFO, &fs) < 0) {
        varve_error_set_errno(error, errno, "asking for the file system's devices");
        return NULL;
    }
    for (guint64 id = 1; id <= fs.max_id; id++) { /* numbers of removed devices are left out */
        struct btrfs_ioctl_dev_info_args device = {.devid = id};
        struct stat st;
        if (ioctl(fd, BTRFS_IOC_DEV_INFO, &device) == 0 &&
            stat((const char *)device.path, &st) == 0 && S_ISBLK(st.st_mode))
            return g_strdup((const char *)device.path);
    }
    varve_error_set(error, VARVE_ERROR_NOT_FOUND, "none of the btrfs's devices is in /dev");
    return NULL;
}

static void
btrfs_close(gpointer self)
{
    Btrfs *btrfs = self;
    varve_syncfs_free(btrfs->syncfs);
    varve_fd_clear(&btrfs->subvolumes);
    varve_btrfs_image_close(btrfs->image);
    g_free(btrfs->device);
    g_free(btrfs);
}

static gboolean
open_folder(Btrfs *btrfs, gboolean fresh, GError **error)
{
    btrfs->device = find_device(btrfs->root, error);
    if (btrfs->device == NULL)
        return FALSE;
    /* Subvolumes are reached by mounting them, so that no one needs to look in here, and a setuid
     * program in a snapshot is out of reach. */
    btrfs->subvolumes = varve_folder_open(btrfs->root, "subvolumes", fresh, 0700, error);
    if (btrfs->subvolumes < 0)
        return FALSE;
    btrfs->syncfs = varve_syncfs_new(btrfs->subvolumes);
    return TRUE;
}

static gboolean
open_root(Btrfs *btrfs, gboolean fresh, GError **error)
{
    const VarveDriverHost *host = btrfs->host;
    const char *file = varve_driver_setting(&varve_driver_btrfs, host->settings, "file");
    btrfs->root = host->dirfd;
    if (file == NULL)
        return varve_btrfs_check_path(host->path, error);
    const char *size = varve_driver_setting(&varve_driver_btrfs, host->settings, "size");
    btrfs->image = varve_btrfs_image_open(host, file, fresh, size, error);
    if (btrfs->image == NULL)
        return FALSE;
    btrfs->root = varve_btrfs_image_get_root(btrfs->image);
    return TRUE;
}

static gpointer
btrfs_open(const VarveDriverHost *host, gboolean fresh, GError **error)
{
    Btrfs *btrfs = g_new0(Btrfs, 1);
    btrfs->host = host;
    btrfs->subvolumes = -1;
    if (open_root(btrfs, fresh, error) && open_folder(btrfs, fresh, error))
        return btrfs;
    GError *undo_error = NULL;
    if (fresh && btrfs->image != NULL && !varve_btrfs_image_destroy(btrfs->image, &undo_error))
        varve_error_log_undo("removing the image of a pool that could not be made", undo_error);
    btrfs_close(btrfs);
    return NULL;
}

static gboolean
btrfs_destroy(gpointer self, GError **error)
{
    Btrfs *btrfs = self;
    if (btrfs->image == NULL)
        return varve_folder_remove(btrfs->root, "subvolumes", error);
    varve_fd_clear(&btrfs->subvolumes); /* it would keep the image from being unmounted */
    return varve_btrfs_image_destroy(btrfs->image, error);
}

/* --- snapshots -------------------------------------------------------------------------------- */

static int
open_subvolume(Btrfs *btrfs, guint64 id, GError **error)
{
    int fd = openat(btrfs->subvolumes, varve_folder_path(id).text,
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        varve_error_set_errno(error, errno, "opening subvolume %" G_GUINT64_FORMAT, id);
    return fd;
}

static gboolean
btrfs_create(gpointer self, const VarveDriverSnapshot *snapshot, GError **error)
{
    Btrfs *btrfs = self;
    if (snapshot->kind == VARVE_KIND_VIEW && snapshot->n_parents > 0)
        return TRUE;
    varve_autofd shard = varve_folder_open_shard(btrfs->subvolumes, snapshot->id, error);
    if (shard < 0)
        return FALSE;
    VarveFolderName name = varve_folder_name(snapshot->id);
    if (snapshot->n_parents == 0)
        return varve_subvolume_create(shard, name.text, error);
    varve_autofd parent = open_subvolume(btrfs, snapshot->parents[0], error);
    return parent >= 0 && varve_subvolume_snapshot(shard, name.text, parent, error);
}

static gboolean
set_readonly(Btrfs *btrfs, guint64 id, gboolean readonly, GError **error)
{
    varve_autofd fd = open_subvolume(btrfs, id, error);
    return fd >= 0 && varve_subvolume_set_readonly(fd, readonly, error);
}

static gboolean
btrfs_commit(gpointer self, guint64 id, GError **error)
{
    return set_readonly(self, id, TRUE, error);
}

static gboolean
btrfs_reopen(gpointer self, guint64 id, GError **error)
{
    return set_readonly(self, id, FALSE, error);
}

static gboolean
btrfs_sync(gpointer self, guint64 id, GError **error)
{
    Btrfs *btrfs = self;
    return varve_syncfs_wait(btrfs->syncfs, error);
}

static VarveMount *
btrfs_mounts(gpointer self, const VarveDriverSnapshot *snapshot, GError **error)
{
    Btrfs *btrfs = self;
    gboolean active = snapshot->kind == VARVE_KIND_ACTIVE;
    guint64 id = active || snapshot->n_parents == 0 ? snapshot->id : snapshot->parents[0];
    guint64 number;
    varve_autofd fd = open_subvolume(btrfs, id, error);
    if (fd < 0 || !varve_subvolume_get_id(fd, &number, error))
        return NULL;
    g_autofree char *subvolid = g_strdup_printf("subvolid=%" G_GUINT64_FORMAT, number);
    const char *const options[] = {subvolid, active ? NULL : "ro", NULL};
    return varve_mount_new("btrfs", btrfs->device, options);
}

static gboolean
btrfs_usage(gpointer self, const VarveDriverSnapshot *snapshot, VarveUsage *usage, GError **error)
{
    Btrfs *btrfs = self;
    varve_autofd fd = open_subvolume(btrfs, snapshot->id, error);
    /* What was written is in the tree only after write-back. btrfs can write back all or, by making
     * a snapshot, one subvolume with a transaction commit; only the first can be shared between
     * callers, and costs next to nothing when there is nothing to write. */
    return fd >= 0 && varve_syncfs_wait(btrfs->syncfs, error) &&
           varve_subvolume_usage(fd, snapshot->n_parents > 0, &usage->bytes, &usage->inodes, error);
}

static gboolean
btrfs_remove(gpointer self, guint64 id, GError **error)
{
    Btrfs *btrfs = self;
    varve_autofd shard = varve_folder_open_shard(btrfs->subvolumes, id, error);
    if (shard < 0)
        return FALSE;
    return varve_subvolume_delete(shard, varve_folder_name(id).text, error);
}

/* --- listing ---------------------------------------------------------------------------------- */

static gboolean
btrfs_list(gpointer self, VarveDriverListFunc func, gpointer data, GError **error)
{
    Btrfs *btrfs = self;
    return varve_folder_list(btrfs->subvolumes, func, data, error);
}

static gboolean
btrfs_space(gpointer self, guint64 *size, guint64 *free, GError **error)
{
    return varve_folder_space(((Btrfs *)self)->subvolumes, size, free, error);
}

const VarveDriver varve_driver_btrfs = {
    .name = "btrfs",
    .summary = "subvolumes and snapshots of btrfs; nothing is copied",
    .settings = btrfs_settings,
    .probe = btrfs_probe,
    .open = btrfs_open,
    .close = btrfs_close,
    .destroy = btrfs_destroy,
    .space = btrfs_space,
    .create = btrfs_create,
    .commit = btrfs_commit,
    .reopen = btrfs_reopen,
    .sync = btrfs_sync,
    .mounts = btrfs_mounts,
    .usage = btrfs_usage,
    .remove = btrfs_remove,
    .list = btrfs_list,
};
