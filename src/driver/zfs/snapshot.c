/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/fd.h"
#include "base/mount.h"
#include "driver/zfs/zfs.h"
#include <libzfs_core.h>
#include <string.h>
#include <unistd.h>

/* --- space ------------------------------------------------------------------------------------ */

/* A call of libzfs_core's on a dataset, with whatever else it takes. Returns an errno. */
typedef int (*Call)(const char *dataset, const char *origin);

/* What was removed is freed by the transaction groups that follow. */
#define GROUPS 4

/* Calls it again while the space that others gave back is on its way. */
static int
call_with_space(VarveZfs *zfs, Call call, const char *dataset, const char *origin)
{
    int errnum = call(dataset, origin);
    for (guint i = 0; errnum == ENOSPC && i < GROUPS && varve_zfs_wait_group(zfs, NULL); i++)
        errnum = call(dataset, origin);
    return errnum;
}

static int
clone_dataset(const char *dataset, const char *origin)
{
    return lzc_clone(dataset, origin, NULL);
}

static int
take_snapshot(const char *name, const char *unused)
{
    g_autoptr(nvlist_t) snapshots = fnvlist_alloc(), errors = NULL;
    fnvlist_add_boolean(snapshots, name);
    return lzc_snapshot(snapshots, NULL, &errors);
}

/* --- making one ------------------------------------------------------------------------------- */

gboolean
varve_zfs_create(gpointer self, const VarveDriverSnapshot *snapshot, GError **error)
{
    VarveZfs *zfs = self;
    if (snapshot->kind == VARVE_KIND_VIEW)
        return TRUE;
    if (!varve_zfs_check_pool(zfs->base, error))
        return FALSE;
    VarveZfsName active = varve_zfs_active(zfs, snapshot->id);
    VarveZfsName committed = varve_zfs_committed(zfs, snapshot->id);
    guint64 parent = snapshot->n_parents > 0 ? snapshot->parents[0] : 0;
    VarveZfsName origin = varve_zfs_extracted(zfs, parent);
    if (lzc_exists(committed.text))
        return varve_zfs_set_error(error, EEXIST, "creating", committed.text);
    int errnum = call_with_space(zfs, clone_dataset, active.text, origin.text);
    return errnum == 0 ||
           varve_zfs_set_error(error, errnum, errnum == ENOENT ? "cloning" : "creating",
                               errnum == ENOENT ? origin.text : active.text);
}

/* --- committing ------------------------------------------------------------------------------- */

static gboolean
rename_dataset(const VarveZfsName *from, const VarveZfsName *to, GError **error)
{
    int errnum = lzc_rename(from->text, to->text);
    return errnum == 0 || varve_zfs_set_error(error, errnum, "renaming", from->text);
}

/* A dataset may be renamed while it is mounted and written to: its snapshot then has what had been
 * written when it was taken. */
gboolean
varve_zfs_commit(gpointer self, guint64 id, GError **error)
{
    VarveZfs *zfs = self;
    VarveZfsName active = varve_zfs_active(zfs, id), committed = varve_zfs_committed(zfs, id);
    VarveZfsName extracted = varve_zfs_extracted(zfs, id);
    if (!varve_zfs_check_pool(zfs->base, error) ||
        !varve_zfs_flush_pages(zfs, active.text, error) ||
        !rename_dataset(&active, &committed, error))
        return FALSE;
    int errnum = call_with_space(zfs, take_snapshot, extracted.text, NULL);
    if (errnum == 0)
        return TRUE;
    varve_zfs_set_error(error, errnum, "making the snapshot", extracted.text);
    GError *undo_error = NULL;
    if (!rename_dataset(&committed, &active, &undo_error))
        varve_error_log_undo("renaming what could not be committed", undo_error);
    return FALSE;
}

/* How long others may have one of our snapshots in use before that is a failure. */
#define TRIES 10
#define PAUSE (50 * 1000)

static gboolean
destroy_snapshot(const VarveZfsName *name, GError **error)
{
    g_autoptr(nvlist_t) snapshots = fnvlist_alloc();
    fnvlist_add_boolean(snapshots, name->text);
    int errnum = EBUSY;
    for (guint i = 0; errnum == EBUSY && i < TRIES; i++) {
        g_autoptr(nvlist_t) errors = NULL;
        if (i > 0)
            g_usleep(PAUSE);
        errnum = lzc_destroy_snaps(snapshots, B_FALSE, &errors);
    }
    return errnum == 0 || varve_zfs_set_error(error, errnum, "destroying", name->text);
}

gboolean
varve_zfs_reopen(gpointer self, guint64 id, GError **error)
{
    const VarveZfs *zfs = self;
    VarveZfsName active = varve_zfs_active(zfs, id), committed = varve_zfs_committed(zfs, id);
    VarveZfsName extracted = varve_zfs_extracted(zfs, id);
    if (!varve_zfs_check_pool(zfs->base, error))
        return FALSE;
    return lzc_exists(active.text) ||
           (destroy_snapshot(&extracted, error) && rename_dataset(&committed, &active, error));
}

/* --- syncing ---------------------------------------------------------------------------------- */

/* The items are places for a GError*, each of which gets its own. */
static void
wait_for_group(gpointer *items, gsize n, gpointer data)
{
    const VarveZfs *zfs = data;
    g_autoptr(GError) why = NULL;
    nvlist_free(varve_zfs_run(zfs->base, VARVE_ZFS_CHANGE, "return {}", NULL, "syncing", &why));
    for (gsize i = 0; i < n; i++)
        *(GError **)items[i] = why != NULL ? g_error_copy(why) : NULL;
}

VarveBatch *
varve_zfs_groups_new(VarveZfs *zfs)
{
    return varve_batch_new(wait_for_group, zfs);
}

gboolean
varve_zfs_wait_group(VarveZfs *zfs, GError **error)
{
    GError *why = NULL;
    varve_batch_submit(zfs->groups, &why);
    if (why != NULL)
        g_propagate_error(error, why);
    return why == NULL;
}

/* The same mount as others may have, of which the kernel makes but one file system: that must be
 * read-only for all of them or for none. */
int
varve_zfs_open_root(const VarveZfs *zfs, const char *dataset, GError **error)
{
    static const char *const read_only[] = {"ro", NULL};
    g_autoptr(VarveMount) writable = varve_mount_new("zfs", dataset, NULL);
    g_autoptr(VarveMount) fixed = varve_mount_new("zfs", dataset, read_only);
    g_autoptr(GError) why = NULL;
    int fd = -1;
    if (strchr(dataset, '@') == NULL)
        fd = varve_mount_open(writable, zfs->host->path, &why);
    if (fd >= 0 || (why != NULL && !g_error_matches(why, VARVE_ERROR, VARVE_ERROR_BUSY))) {
        if (fd < 0)
            g_propagate_error(error, g_steal_pointer(&why));
        return fd;
    }
    return varve_mount_open(fixed, zfs->host->path, error);
}

static const char number_program[] = //
    "local args = ...\n"
    "if not zfs.exists(args['dataset']) then return {} end\n"
    "return {number = zfs.get_prop(args['dataset'], 'objsetid')}\n";

/* ZFS has statistics of a dataset as long as it is mounted, in whichever mount namespace. */
static gboolean
is_mounted(const VarveZfs *zfs, const char *dataset, gboolean *mounted, GError **error)
{
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    fnvlist_add_string(args, "dataset", dataset);
    g_autoptr(nvlist_t) found =
        varve_zfs_run(zfs->base, VARVE_ZFS_LOOK, number_program, args, "looking at", error);
    if (found == NULL)
        return FALSE;
    g_autofree char *pool = varve_zfs_pool_of(dataset);
    g_autofree char *path =
        g_strdup_printf("/proc/spl/kstat/zfs/%s/objset-0x%" G_GINT64_MODIFIER "x", pool,
                        (guint64)varve_zfs_number(found, "number", 0));
    *mounted = access(path, F_OK) == 0;
    return TRUE;
}

/* Writes reach ZFS at once, but what is written to a mapping of a file is the kernel's until it is
 * written back. Nothing is left of it when the last mount is gone. */
gboolean
varve_zfs_flush_pages(VarveZfs *zfs, const char *dataset, GError **error)
{
    gboolean mounted;
    if (!is_mounted(zfs, dataset, &mounted, error))
        return FALSE;
    if (!mounted)
        return TRUE;
    varve_autofd root = varve_zfs_open_root(zfs, dataset, error);
    return root >= 0 &&
           (syncfs(root) == 0 || varve_error_set_errno(error, errno, "writing back %s", dataset));
}

/* Of a committed one nothing is left to do: its snapshot came with its transaction group. */
gboolean
varve_zfs_sync(gpointer self, guint64 id, GError **error)
{
    VarveZfs *zfs = self;
    VarveZfsName active = varve_zfs_active(zfs, id), extracted = varve_zfs_extracted(zfs, id);
    if (!varve_zfs_check_pool(zfs->base, error))
        return FALSE;
    return lzc_exists(extracted.text) ||
           (varve_zfs_flush_pages(zfs, active.text, error) && varve_zfs_wait_group(zfs, error));
}

/* --- presenting ------------------------------------------------------------------------------- */

/* As containerd's snapshotter for ZFS has it, except that its views are clones. */
VarveMount *
varve_zfs_mounts(gpointer self, const VarveDriverSnapshot *snapshot, GError **error)
{
    static const char *const read_only[] = {"ro", NULL};
    const VarveZfs *zfs = self;
    if (snapshot->kind == VARVE_KIND_ACTIVE) {
        VarveZfsName active = varve_zfs_active(zfs, snapshot->id);
        return varve_mount_new("zfs", active.text, NULL);
    }
    guint64 parent = snapshot->n_parents > 0 ? snapshot->parents[0] : 0;
    VarveZfsName extracted = varve_zfs_extracted(zfs, parent);
    return varve_mount_new("zfs", extracted.text, read_only);
}
