/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/overlay/overlay.h"
#include "base/attributes.h"
#include "base/fd.h"
#include "base/tree.h"
#include "driver/folder.h"
#include "driver/syncfs.h"
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/*
 * The overlay driver: a snapshot is a directory that holds its changes; the kernel's overlayfs
 * (Documentation/filesystems/overlayfs.rst) shows them on top of its parents'.
 *
 *     fs/<id>     the changes: an active snapshot's upper directory, a committed one's lower one
 *     work/<id>   overlayfs's scratch space, for a snapshot that was made active on parents
 *
 * A snapshot is two directories and no more, since making directories is most of what a create
 * costs; their paths are short, since all the layers of a mount must fit into one page of options.
 * A view on parents has nothing on disk, and neither has a parentless snapshot's work: those are
 * shown as they are, by bind mounts.
 *
 * Committing changes nothing here: it is the engine's record that says that fs/<id> is to be left
 * alone from now on. So a committed snapshot can be put on any parents at any time.
 */

#define N_ROOTS 64

/* The root directory of a parent, which does not change any more: many snapshots are prepared on
 * the same one, and to look again would take as long as making a directory. */
typedef struct {
    guint64 id; /* 0: none */
    struct stat st;
    gboolean plain; /* it has no xattrs */
} Root;

typedef struct {
    const VarveDriverHost *host;
    int fs, work; /* the two folders */
    VarveSyncfs *syncfs;
    char **options; /* those that all mounts have */
    GMutex roots_lock;
    Root roots[N_ROOTS]; /* of parents that were asked for last, by id modulo N_ROOTS */
} Overlay;

static void
overlay_close(gpointer self)
{
    Overlay *overlay = self;
    varve_syncfs_free(overlay->syncfs);
    g_mutex_clear(&overlay->roots_lock);
    g_strfreev(overlay->options);
    varve_fd_clear(&overlay->fs);
    varve_fd_clear(&overlay->work);
    g_free(overlay);
}

static gpointer
overlay_open(const VarveDriverHost *host, gboolean fresh, GError **error)
{
    if (!varve_overlay_check_path(host->path, error))
        return NULL;

    /* Users who are not root reach a snapshot through fs; nobody but the kernel needs work. */
    varve_autofd fs = varve_folder_open(host->dirfd, "fs", fresh, 0711, error);
    if (fs < 0)
        return NULL;
    int work = varve_folder_open(host->dirfd, "work", fresh, 0700, error);
    if (work < 0) {
        if (fresh)
            (void)unlinkat(host->dirfd, "fs", AT_REMOVEDIR);
        return NULL;
    }

    Overlay *overlay = g_new0(Overlay, 1);
    overlay->host = host;
    overlay->fs = fs;
    overlay->work = work;
    overlay->syncfs = varve_syncfs_new(overlay->fs);
    overlay->options = varve_overlay_common_options();
    g_mutex_init(&overlay->roots_lock);
    fs = -1;
    return overlay;
}

static VarveTreeWatch
watch_of(const Overlay *overlay)
{
    const VarveDriverHost *host = overlay->host;
    return (VarveTreeWatch){host->cancelled, host->progress, host->progress_data};
}

static gboolean
overlay_destroy(gpointer self, GError **error)
{
    Overlay *overlay = self;
    VarveTreeWatch watch = watch_of(overlay);
    return varve_tree_remove(overlay->host->dirfd, "work", &watch, error) &&
           varve_tree_remove(overlay->host->dirfd, "fs", &watch, error);
}

/* --- create and remove ----------------------------------------------------------------------- */

static int
overlay_open_layer(gpointer self, guint64 id, GError **error)
{
    return varve_fd_open_dir(((Overlay *)self)->fs, varve_folder_path(id).text, error);
}

static gboolean
overlay_remove(gpointer self, guint64 id, GError **error)
{
    Overlay *overlay = self;
    VarveTreeWatch watch = watch_of(overlay);
    VarveFolderName name = varve_folder_path(id);
    return varve_tree_remove(overlay->work, name.text, &watch, error) &&
           varve_tree_remove(overlay->fs, name.text, &watch, error);
}

static gboolean
read_root(Overlay *overlay, guint64 id, Root *root, GError **error)
{
    varve_autofd fd = varve_fd_open_dir(overlay->fs, varve_folder_path(id).text, error);
    if (fd < 0)
        return FALSE;
    if (fstat(fd, &root->st) < 0)
        return varve_error_set_errno(error, errno, "looking at the parent's root directory");
    ssize_t xattrs = flistxattr(fd, NULL, 0);
    root->id = id;
    root->plain = xattrs == 0 || (xattrs < 0 && errno == EOPNOTSUPP);
    return TRUE;
}

static gboolean
find_root(Overlay *overlay, guint64 id, Root *root, GError **error)
{
    Root *kept = &overlay->roots[id % N_ROOTS];
    g_mutex_lock(&overlay->roots_lock);
    *root = *kept;
    g_mutex_unlock(&overlay->roots_lock);
    if (root->id == id)
        return TRUE;
    if (!read_root(overlay, id, root, error))
        return FALSE;
    g_mutex_lock(&overlay->roots_lock);
    *kept = *root;
    g_mutex_unlock(&overlay->roots_lock);
    return TRUE;
}

/* An upper directory's own attributes hide those of the lower ones, so it must begin with its
 * parent's: the root of the snapshot would change otherwise. */
static gboolean
inherit_root(Overlay *overlay, guint64 id, guint64 parent, GError **error)
{
    Root root;
    VarveFolderName to = varve_folder_path(id), from = varve_folder_path(parent);
    if (!find_root(overlay, parent, &root, error))
        return FALSE;
    if (root.plain)
        return varve_attributes_copy((VarveFile){overlay->fs, from.text}, &root.st,
                                     (VarveFile){overlay->fs, to.text}, VARVE_XATTRS_NONE, error);
    varve_autofd fromfd = varve_fd_open_dir(overlay->fs, from.text, error);
    varve_autofd tofd = fromfd < 0 ? -1 : varve_fd_open_dir(overlay->fs, to.text, error);
    return tofd >= 0 && varve_tree_copy_attributes(fromfd, tofd, error);
}

static gboolean
make_directory(int folder, const char *name, mode_t mode, GError **error)
{
    return mkdirat(folder, name, mode) == 0 ||
           varve_error_set_errno(error, errno, "making directory %s", name);
}

static gboolean
create_on_parents(Overlay *overlay, guint64 id, guint64 parent, GError **error)
{
    VarveFolderName name = varve_folder_path(id);
    if (!make_directory(overlay->fs, name.text, 0755, error))
        return FALSE;
    if (make_directory(overlay->work, name.text, 0700, error)) {
        if (inherit_root(overlay, id, parent, error))
            return TRUE;
        (void)unlinkat(overlay->work, name.text, AT_REMOVEDIR);
    }
    (void)unlinkat(overlay->fs, name.text, AT_REMOVEDIR);
    return FALSE;
}

static gboolean
overlay_create(gpointer self, const VarveDriverSnapshot *snapshot, GError **error)
{
    Overlay *overlay = self;
    if (snapshot->n_parents == 0)
        return varve_folder_make(overlay->fs, snapshot->id, 0755, error);
    if (snapshot->kind == VARVE_KIND_VIEW)
        return TRUE; /* its parents are all that there is to see */
    return create_on_parents(overlay, snapshot->id, snapshot->parents[0], error);
}

/* --- the rest -------------------------------------------------------------------------------- */

static gboolean
overlay_sync(gpointer self, guint64 id, GError **error)
{
    Overlay *overlay = self;
    return varve_syncfs_wait(overlay->syncfs, error);
}

static VarveMount *
overlay_mounts(gpointer self, const VarveDriverSnapshot *snapshot, GError **error)
{
    Overlay *overlay = self;
    return varve_overlay_mount(overlay->options, overlay->host->path, snapshot);
}

static gboolean
overlay_usage(gpointer self, const VarveDriverSnapshot *snapshot, VarveUsage *usage, GError **error)
{
    Overlay *overlay = self;
    return varve_tree_usage(overlay->fs, varve_folder_path(snapshot->id).text, &usage->bytes,
                            &usage->inodes, error);
}

static gboolean
overlay_changes(gpointer self, const VarveDriverSnapshot *snapshot, guint64 scratch,
                VarveChangeFunc func, gpointer data, GError **error)
{
    Overlay *overlay = self;
    const VarveDriverHost *host = overlay->host;
    const VarveOverlayLayers layers = {host->path, overlay->fs, overlay->options};
    VarveChangeSink sink = {.func = func, .data = data, .cancelled = host->cancelled};
    return varve_overlay_changes(&layers, snapshot, &sink, error);
}

static gboolean
overlay_list(gpointer self, VarveDriverListFunc func, gpointer data, GError **error)
{
    Overlay *overlay = self;
    return varve_folder_list(overlay->fs, func, data, error) &&
           varve_folder_list(overlay->work, func, data, error);
}

static gboolean
overlay_space(gpointer self, guint64 *size, guint64 *free, GError **error)
{
    return varve_folder_space(((Overlay *)self)->fs, size, free, error);
}

const VarveDriver varve_driver_overlay = {
    .name = "overlay",
    .summary = "directories of changes, shown on top of each other by the kernel's overlayfs",
    .flags = VARVE_DRIVER_REBASE,
    .probe = varve_overlay_probe,
    .open = overlay_open,
    .close = overlay_close,
    .destroy = overlay_destroy,
    .space = overlay_space,
    .create = overlay_create,
    .sync = overlay_sync,
    .mounts = overlay_mounts,
    .usage = overlay_usage,
    .changes = overlay_changes,
    .open_layer = overlay_open_layer,
    .remove = overlay_remove,
    .list = overlay_list,
};
