/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/tree.h"
#include "driver/changes.h"
#include "driver/folder.h"
#include "driver/syncfs.h"
#include <sys/stat.h>
#include <unistd.h>

/*
 * The native driver: a snapshot is a plain directory, and an active one begins as a copy of its
 * parent. It works on any file system; where that can share blocks between files (XFS, btrfs), the
 * copy takes time but hardly any space.
 *
 *     snapshots/<id>        the whole content
 *     snapshots/<id>.made   of a copy: empty, its time says when the copy was made
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

/* --- copies ---------------------------------------------------------------------------------- */

/* Beside each copy stands an empty file, the stamp, whose modification time is one at which the two
 * were equal, or were going to be: after the copying when a snapshot was prepared, and before it
 * when one was captured, since the original goes on. So of a snapshot and its parent, whichever was
 * copied from the other, all files that have not been touched since the later of their two stamps
 * are equal; the others have to be compared. The time is that of the file system, as are those that
 * it is compared with. Without stamps, all have to be. */
static VarveFolderName
stamp_path(guint64 id)
{
    VarveFolderName path = varve_folder_path(id);
    g_strlcat(path.text, ".made", sizeof path.text);
    return path;
}

static gboolean
make_stamp(const Native *native, guint64 id, GError **error)
{
    varve_autofd fd = openat(native->snapshots, stamp_path(id).text,
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd >= 0 || varve_error_set_errno(error, errno, "making the copy's stamp");
}

static gboolean
copy(const Native *native, guint64 from, guint64 to, GError **error)
{
    VarveTreeWatch watch = watch_of(native);
    return varve_tree_copy(native->snapshots, varve_folder_path(from).text, native->snapshots,
                           varve_folder_path(to).text, &watch, error);
}

static void
discard_copy(const Native *native, guint64 id)
{
    GError *error = NULL;
    if (!varve_tree_remove(native->snapshots, varve_folder_path(id).text, NULL, &error))
        varve_error_log_undo("removing a copy that has no stamp", error);
}

static gboolean
native_create(gpointer self, const VarveDriverSnapshot *snapshot, GError **error)
{
    Native *native = self;
    if (snapshot->n_parents == 0)
        return varve_folder_make(native->snapshots, snapshot->id, 0755, error);
    if (snapshot->kind == VARVE_KIND_VIEW)
        return TRUE;
    if (!copy(native, snapshot->parents[0], snapshot->id, error))
        return FALSE;
    if (make_stamp(native, snapshot->id, error))
        return TRUE;
    discard_copy(native, snapshot->id);
    return FALSE;
}

/* The copy takes its time: what is written to the snapshot meanwhile may be in it or not, file by
 * file. Whoever needs the state of one moment stops writing. */
static gboolean
native_capture(gpointer self, guint64 of, guint64 id, GError **error)
{
    Native *native = self;
    if (!make_stamp(native, id, error))
        return FALSE;
    if (copy(native, of, id, error))
        return TRUE;
    (void)unlinkat(native->snapshots, stamp_path(id).text, 0);
    return FALSE;
}

/* Without a stamp all files count as touched since the copy. */
static gboolean
native_forget_parent(gpointer self, guint64 id, GError **error)
{
    Native *native = self;
    return varve_tree_remove(native->snapshots, stamp_path(id).text, NULL, error);
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

static void
read_stamp(const Native *native, guint64 id, struct timespec *time)
{
    struct stat st;
    if (fstatat(native->snapshots, stamp_path(id).text, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        (st.st_mtim.tv_sec > time->tv_sec ||
         (st.st_mtim.tv_sec == time->tv_sec && st.st_mtim.tv_nsec > time->tv_nsec)))
        *time = st.st_mtim;
}

static gboolean
compare_with_parent(const Native *native, const VarveDriverSnapshot *snapshot, int after,
                    VarveChangeSink *sink, GError **error)
{
    VarveCompare how = {.flags = VARVE_COMPARE_TOUCHED};
    read_stamp(native, snapshot->id, &how.since);
    read_stamp(native, snapshot->parents[0], &how.since);
    varve_autofd before =
        varve_fd_open_dir(native->snapshots, varve_folder_path(snapshot->parents[0]).text, error);
    return before >= 0 && varve_changes_walk(before, after, &how, sink, error);
}

static gboolean
native_changes(gpointer self, const VarveDriverSnapshot *snapshot, guint64 scratch,
               VarveChangeFunc func, gpointer data, GError **error)
{
    Native *native = self;
    VarveChangeSink sink = {.func = func, .data = data, .cancelled = native->host->cancelled};
    varve_autofd after =
        varve_fd_open_dir(native->snapshots, varve_folder_path(snapshot->id).text, error);
    if (after < 0)
        return FALSE;
    gboolean ok = snapshot->n_parents == 0
                      ? varve_changes_walk(-1, after, NULL, &sink, error)
                      : compare_with_parent(native, snapshot, after, &sink, error);
    return varve_changes_ended(&sink, ok);
}

static gboolean
native_remove(gpointer self, guint64 id, GError **error)
{
    Native *native = self;
    VarveTreeWatch watch = watch_of(native);
    return varve_tree_remove(native->snapshots, stamp_path(id).text, NULL, error) &&
           varve_tree_remove(native->snapshots, varve_folder_path(id).text, &watch, error);
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
    .flags = VARVE_DRIVER_WHOLE,
    .probe = native_probe,
    .open = native_open,
    .close = native_close,
    .destroy = native_destroy,
    .space = native_space,
    .create = native_create,
    .sync = native_sync,
    .mounts = native_mounts,
    .usage = native_usage,
    .changes = native_changes,
    .capture = native_capture,
    .forget_parent = native_forget_parent,
    .remove = native_remove,
    .list = native_list,
};
