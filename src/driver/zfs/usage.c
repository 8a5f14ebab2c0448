/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/fd.h"
#include "driver/zfs/zfs.h"
#include <libzfs_core.h>
#include <sys/statfs.h>

/*
 * Usage, from ZFS's own accounting (zfsprops(7)):
 *
 *     bytes   written@<parent>: the space of all that was written since the parent's snapshot, as
 *             allocated, after compression, with what it takes to find it. Not `used`, which
 * shrinks to nothing when a snapshot gets clones, nor `logicalreferenced`, which counts what is
 *             shared with the parents. Not plain `written`, which begins anew with each snapshot
 *             that others take, and not what there is since the origin, which is not the parent's
 *             where that one's parent was taken out (remove.c).
 *     inodes  the objects that the file system has, less those of the parent. So a file that was
 *             changed but not added does not count.
 *
 * ZFS counts what is in a transaction group that is on disk, for which an active one has to wait.
 */

static const char written_program[] = //
    "local args = ...\n"
    "local dataset, before, from = args['dataset'], args['before'], args['head']\n"
    "if not zfs.exists(dataset) or not zfs.exists(before) then return {} end\n"
    "if not args['whole'] then return {written = zfs.get_prop(dataset, 'written@' .. before)} end\n"
    "while true do\n"
    "    local origin = zfs.get_prop(from, 'origin')\n"
    "    if origin == nil then -- it was received: see stream.c\n"
    "        return {written = zfs.get_prop(dataset, 'referenced')}\n"
    "    end\n"
    "    if origin == before then return {written = zfs.get_prop(dataset, 'written@' .. before)} "
    "end\n"
    "    from = string.sub(origin, 1, string.find(origin, '@', 1, true) - 1)\n"
    "end\n";

/* The number of a file system's objects; only differences of it mean something. */
static gboolean
count_objects(const VarveZfs *zfs, const char *dataset, gint64 *count, GError **error)
{
    struct statfs st;
    varve_autofd root = varve_zfs_open_root(zfs, dataset, error);
    if (root < 0)
        return FALSE;
    if (fstatfs(root, &st) < 0)
        return varve_error_set_errno(error, errno, "counting the files of %s", dataset);
    *count = (gint64)(st.f_files - st.f_ffree);
    return TRUE;
}

/* Of a dataset, or a snapshot of head. */
static gboolean
measure(const VarveZfs *zfs, const char *dataset, const char *head,
        const VarveDriverSnapshot *snapshot, VarveUsage *usage, GError **error)
{
    gboolean whole = snapshot->n_parents == 0;
    VarveZfsName before = varve_zfs_extracted(zfs, whole ? 0 : snapshot->parents[0]);
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    fnvlist_add_string(args, "dataset", dataset);
    fnvlist_add_string(args, "head", head);
    fnvlist_add_string(args, "before", before.text);
    if (whole)
        fnvlist_add_string(args, "whole", "yes");
    g_autoptr(nvlist_t) found =
        varve_zfs_run(zfs->base, VARVE_ZFS_LOOK, written_program, args, "measuring", error);
    if (found == NULL)
        return FALSE;
    gint64 objects, objects_before, written = varve_zfs_number(found, "written", -1);
    if (written < 0)
        return varve_zfs_set_error(error, ENOENT, "measuring", dataset);
    if (!count_objects(zfs, dataset, &objects, error) ||
        !count_objects(zfs, before.text, &objects_before, error))
        return FALSE;
    usage->bytes = written;
    usage->inodes = MAX(objects - objects_before + (whole ? 1 : 0), 0); /* the root is empty's */
    return TRUE;
}

gboolean
varve_zfs_usage(gpointer self, const VarveDriverSnapshot *snapshot, VarveUsage *usage,
                GError **error)
{
    VarveZfs *zfs = self;
    VarveZfsName active = varve_zfs_active(zfs, snapshot->id);
    VarveZfsName committed = varve_zfs_committed(zfs, snapshot->id);
    VarveZfsName extracted = varve_zfs_extracted(zfs, snapshot->id);
    if (!varve_zfs_check_pool(zfs->base, error))
        return FALSE;
    if (lzc_exists(extracted.text))
        return measure(zfs, extracted.text, committed.text, snapshot, usage, error);
    return varve_zfs_flush_pages(zfs, &active, error) && varve_zfs_wait_group(zfs, error) &&
           measure(zfs, active.text, active.text, snapshot, usage, error);
}

static const char space_program[] = //
    "local args = ...\n"
    "return {used = zfs.get_prop(args['base'], 'used'),\n"
    "        available = zfs.get_prop(args['base'], 'available')}\n";

gboolean
varve_zfs_space(gpointer self, guint64 *size, guint64 *free, GError **error)
{
    const VarveZfs *zfs = self;
    g_autoptr(nvlist_t) found =
        varve_zfs_run(zfs->base, VARVE_ZFS_LOOK, space_program, NULL, "measuring", error);
    if (found == NULL)
        return FALSE;
    *free = (guint64)varve_zfs_number(found, "available", 0);
    *size = *free + (guint64)varve_zfs_number(found, "used", 0);
    return TRUE;
}
