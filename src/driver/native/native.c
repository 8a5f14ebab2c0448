/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/tree.h"
#include "driver/folder.h"
#include "driver/syncfs.h"

/*
 * The native driver: a snapshot is a plain directory, and an active one begins as a copy of its
 * parent. It works on any file system; where that can share blocks between files (XFS, btrfs), the
 * copy takes time but hardly any space.
 *
 *     snapshots/<id>   the whole content
 *
 * A view on a parent has nothing on disk: its mount is the parent, read-only. A copy that is cut
 * short by a crash is found by list() and freed by remove(), like any other directory.
 *
 * This is the driver to begin with when writing another one.
 */

typedef struct {
    const VarveDriverHost *host;
    int snapshots; /* the folder */
    VarveSyncfs *syncfs;
} Native;

static gboolean
native_probe(const char *path, GHashTable *settings, GError **error)
{
    if (faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) == 0)
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "the directory %s cannot be written: %s", path, g_strerror(errno));
}

static gpointer
native_open(const VarveDriverHost *host, gboolean fresh, GError **error)
{
    int snapshots = varve_folder_open(host->dirfd, "snapshots", fresh, 0711, error);
    if (snapshots < 0)
        return NULL;
    Native *native = g_new0(Native, 1);
    native->host = host;
    native->snapshots = snapshots;
    native->syncfs = varve_syncfs_new(snapshots);
    return native;
}

static void
native_close(gpointer self)
{
    Native *native = self;
    varve_syncfs_free(native->syncfs);
    varve_fd_clear(&native->snapshots);
    g_free(native);
}

static VarveTreeWatch
watch_of(const Native *native)
{
    const VarveDriverHost *host = native->host;
    return (VarveTreeWatch){host->cancelled, host->progress, host->progress_data};
}

static gboolean
native_destroy(gpointer self, GError **error)
{
    Native *native = self;
    VarveTreeWatch watch = watch_of(native);
    return varve_tree_remove(native->host->dirfd, "snapshots", &watch, error);
}

static gboolean
native_create(gpointer self, const VarveDriverSnapshot *snapshot, GError **error)
{
    Native *native = self;
    if (snapshot->n_parents == 0)
        return varve_folder_make(native->snapshots, snapshot->id, 0755, error);
    if (snapshot->kind == VARVE_KIND_VIEW)
        return TRUE;
    VarveTreeWatch watch = watch_of(native);
    return varve_tree_copy(native->snapshots, varve_folder_path(snapshot->parents[0]).text,
                           native->snapshots, varve_folder_path(snapshot->id).text, &watch, error);
}

static gboolean
native_sync(gpointer self, guint64 id, GError **error)
{
    Native *native = self;
    return varve_syncfs_wait(native->syncfs, error);
}

static VarveMount *
native_mounts(gpointer self, const VarveDriverSnapshot *snapshot, GError **error)
{
    Native *native = self;
    gboolean active = snapshot->kind == VARVE_KIND_ACTIVE;
    guint64 id = active || snapshot->n_parents == 0 ? snapshot->id : snapshot->parents[0];
    g_autofree char *source =
        g_strconcat(native->host->path, "/snapshots/", varve_folder_path(id).text, NULL);
    const char *const options[] = {active ? "rw" : "ro", "rbind", NULL};
    return varve_mount_new("bind", source, options);
}

static gboolean
native_usage(gpointer self, const VarveDriverSnapshot *snapshot, VarveUsage *usage, GError **error)
{
    Native *native = self;
    VarveFolderName name = varve_folder_path(snapshot->id);
    if (snapshot->n_parents == 0)
        return varve_tree_usage(native->snapshots, name.text, &usage->bytes, &usage->inodes, error);

    varve_autofd parent =
        varve_fd_open_dir(native->snapshots, varve_folder_path(snapshot->parents[0]).text, error);
    return parent >= 0 && varve_tree_usage_beyond(native->snapshots, name.text, parent,
                                                  &usage->bytes, &usage->inodes, error);
}

static gboolean
native_remove(gpointer self, guint64 id, GError **error)
{
    Native *native = self;
    VarveTreeWatch watch = watch_of(native);
    return varve_tree_remove(native->snapshots, varve_folder_path(id).text, &watch, error);
}

static gboolean
native_list(gpointer self, VarveDriverListFunc func, gpointer data, GError **error)
{
    Native *native = self;
    return varve_folder_list(native->snapshots, func, data, error);
}

static gboolean
native_space(gpointer self, guint64 *size, guint64 *free, GError **error)
{
    return varve_folder_space(((Native *)self)->snapshots, size, free, error);
}

const VarveDriver varve_driver_native = {
    .name = "native",
    .summary = "plain directories; an active snapshot is a copy, sharing blocks where possible",
    .probe = native_probe,
    .open = native_open,
    .close = native_close,
    .destroy = native_destroy,
    .space = native_space,
    .create = native_create,
    .sync = native_sync,
    .mounts = native_mounts,
    .usage = native_usage,
    .remove = native_remove,
    .list = native_list,
};
