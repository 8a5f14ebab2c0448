/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "driver/btrfs/changes.h"
#include "driver/btrfs/image.h"
#include "driver/btrfs/receive.h"
#include "driver/btrfs/send.h"
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
    return parent >= 0 && varve_subvolume_snapshot(shard, name.text, parent, FALSE, error);
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

/* Leaves *parent as it is, -1, when there is none. */
static gboolean
open_parent(Btrfs *btrfs, const VarveDriverSnapshot *snapshot, int *parent, GError **error)
{
    if (snapshot->n_parents > 0)
        *parent = open_subvolume(btrfs, snapshot->parents[0], error);
    return snapshot->n_parents == 0 || *parent >= 0;
}

static gboolean
btrfs_usage(gpointer self, const VarveDriverSnapshot *snapshot, VarveUsage *usage, GError **error)
{
    Btrfs *btrfs = self;
    varve_autofd fd = open_subvolume(btrfs, snapshot->id, error), parent = -1;
    if (fd < 0 || !open_parent(btrfs, snapshot, &parent, error))
        return FALSE;
    /* What was written is in the tree only after write-back. btrfs can write back all or, by making
     * a snapshot, one subvolume with a transaction commit; only the first can be shared between
     * callers, and costs next to nothing when there is nothing to write. */
    return varve_syncfs_wait(btrfs->syncfs, error) &&
           varve_subvolume_usage(fd, parent, &usage->bytes, &usage->inodes, error);
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

/* --- changes and captures --------------------------------------------------------------------- */

static gboolean
snapshot_readonly(Btrfs *btrfs, int source, guint64 id, GError **error)
{
    varve_autofd shard = varve_folder_open_shard(btrfs->subvolumes, id, error);
    return shard >= 0 &&
           varve_subvolume_snapshot(shard, varve_folder_name(id).text, source, TRUE, error);
}

/* What the active snapshot is at this moment stands as scratch meanwhile: the kernel compares
 * subvolumes that are read-only. */
static gboolean
active_changes(Btrfs *btrfs, int parent, int active, guint64 scratch, VarveChangeSink *sink,
               GError **error)
{
    if (!snapshot_readonly(btrfs, active, scratch, error))
        return FALSE;
    varve_autofd frozen = open_subvolume(btrfs, scratch, error);
    gboolean ok = frozen >= 0 && varve_btrfs_changes(parent, frozen, sink, error);
    varve_fd_clear(&frozen);
    GError *undo_error = NULL;
    if (!btrfs_remove(btrfs, scratch, &undo_error))
        varve_error_log_undo("deleting the snapshot that was made to find changes", undo_error);
    return ok;
}

static gboolean
btrfs_changes(gpointer self, const VarveDriverSnapshot *snapshot, guint64 scratch,
              VarveChangeFunc func, gpointer data, GError **error)
{
    Btrfs *btrfs = self;
    VarveChangeSink sink = {.func = func, .data = data, .cancelled = btrfs->host->cancelled};
    varve_autofd fd = open_subvolume(btrfs, snapshot->id, error), parent = -1;
    if (fd < 0 || !open_parent(btrfs, snapshot, &parent, error))
        return FALSE;
    gboolean ok;
    if (parent < 0)
        ok = varve_changes_walk(-1, fd, NULL, &sink, error);
    else if (snapshot->kind == VARVE_KIND_ACTIVE)
        ok = active_changes(btrfs, parent, fd, scratch, &sink, error);
    else
        ok = varve_btrfs_changes(parent, fd, &sink, error);
    return varve_changes_ended(&sink, ok);
}

static gboolean
btrfs_capture(gpointer self, guint64 of, guint64 id, GError **error)
{
    varve_autofd fd = open_subvolume(self, of, error);
    return fd >= 0 && snapshot_readonly(self, fd, id, error);
}

/* Quotas cost all subvolumes of a file system, so they are enabled only where all are ours. */
static gboolean
btrfs_limit(gpointer self, guint64 id, guint64 bytes, GError **error)
{
    Btrfs *btrfs = self;
    varve_autofd fd = open_subvolume(btrfs, id, error);
    return fd >= 0 && varve_subvolume_set_limit(fd, bytes, btrfs->image != NULL, error);
}

/* --- streams ---------------------------------------------------------------------------------- */

static VarveTreeWatch
watch_of(const Btrfs *btrfs)
{
    const VarveDriverHost *host = btrfs->host;
    return (VarveTreeWatch){host->cancelled, host->progress, host->progress_data};
}

static gboolean
btrfs_send(gpointer self, const VarveDriverSnapshot *snapshot, guint64 base, guint64 scratch,
           const VarveSink *sink, GError **error)
{
    const VarveTreeWatch watch = watch_of(self);
    varve_autofd fd = open_subvolume(self, snapshot->id, error), before = -1;
    VarveSendWhat what = {.after = fd, .data = TRUE};
    if (fd < 0)
        return FALSE;
    if (base != 0) {
        before = open_subvolume(self, base, error);
        if (before < 0 || !varve_subvolume_get_id(before, &what.before, error))
            return FALSE;
    }
    return varve_send_all(&what, sink, &watch, error);
}

static gboolean
receive_into(Btrfs *btrfs, const VarveDriverSnapshot *snapshot, const VarveSource *source,
             GError **error)
{
    varve_autofd root = open_subvolume(btrfs, snapshot->id, error), base = -1;
    if (root < 0 || !open_parent(btrfs, snapshot, &base, error))
        return FALSE;
    const VarveReceiveTarget target = {root, base, watch_of(btrfs)};
    return varve_btrfs_receive(&target, source, error) &&
           varve_subvolume_set_readonly(root, TRUE, error);
}

static gboolean
btrfs_receive(gpointer self, const VarveDriverSnapshot *snapshot, const VarveSource *source,
              GError **error)
{
    VarveDriverSnapshot fresh = *snapshot;
    fresh.kind = VARVE_KIND_ACTIVE;
    if (!btrfs_create(self, &fresh, error))
        return FALSE;
    if (receive_into(self, snapshot, source, error))
        return TRUE;
    GError *undo_error = NULL;
    if (!btrfs_remove(self, snapshot->id, &undo_error))
        varve_error_log_undo("deleting a snapshot that could not be received", undo_error);
    return FALSE;
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
    /* The kernel commits its transaction before the ioctl that makes a snapshot returns. */
    .flags = VARVE_DRIVER_CAPTURE_ATOMIC | VARVE_DRIVER_WHOLE | VARVE_DRIVER_COMMIT_WRITES |
             VARVE_DRIVER_COPIES_DURABLY,
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
    .changes = btrfs_changes,
    .capture = btrfs_capture,
    .limit = btrfs_limit,
    .stream_format = "btrfs-send-2",
    .send = btrfs_send,
    .receive = btrfs_receive,
    .remove = btrfs_remove,
    .list = btrfs_list,
};
