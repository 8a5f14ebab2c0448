/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/mount.h"
#include "driver/zfs/zfs.h"
#include <libzfs_core.h>

/* --- space ------------------------------------------------------------------------------------ */

/* What was removed is freed by the transaction groups that follow. */
#define GROUPS 4

gboolean
varve_zfs_do_with_space(VarveZfs *zfs, VarveZfsStep step, guint64 id, gpointer data, GError **error)
{
    for (guint i = 0;; i++) {
        g_autoptr(GError) failure = NULL;
        if (step(zfs, id, data, &failure))
            return TRUE;
        if (!g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NO_SPACE) || i == GROUPS ||
            !varve_zfs_wait_group(zfs, NULL)) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return FALSE;
        }
    }
}

/* --- making one ------------------------------------------------------------------------------- */

static gboolean
clone_origin(VarveZfs *zfs, guint64 id, gpointer data, GError **error)
{
    const VarveZfsName *origin = data;
    VarveZfsName active = varve_zfs_active(zfs, id);
    int errnum = lzc_clone(active.text, origin->text, NULL);
    return errnum == 0 ||
           varve_zfs_set_error(error, errnum, errnum == ENOENT ? "cloning" : "creating",
                               errnum == ENOENT ? origin->text : active.text);
}

gboolean
varve_zfs_create(gpointer self, const VarveDriverSnapshot *snapshot, GError **error)
{
    VarveZfs *zfs = self;
    if (snapshot->kind == VARVE_KIND_VIEW)
        return TRUE;
    if (!varve_zfs_check_pool(zfs->base, error))
        return FALSE;
    VarveZfsName committed = varve_zfs_committed(zfs, snapshot->id);
    guint64 parent = snapshot->n_parents > 0 ? snapshot->parents[0] : 0;
    VarveZfsName origin = varve_zfs_extracted(zfs, parent);
    if (lzc_exists(committed.text))
        return varve_zfs_set_error(error, EEXIST, "creating", committed.text);
    return varve_zfs_do_with_space(zfs, clone_origin, snapshot->id, &origin, error);
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

/* Of a committed one nothing is left to do: its snapshot came with its transaction group. */
gboolean
varve_zfs_sync(gpointer self, guint64 id, GError **error)
{
    VarveZfs *zfs = self;
    VarveZfsName active = varve_zfs_active(zfs, id);
    if (!varve_zfs_check_pool(zfs->base, error))
        return FALSE;
    return !lzc_exists(active.text) ||
           (varve_zfs_flush_pages(zfs, &active, error) && varve_zfs_wait_group(zfs, error));
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
