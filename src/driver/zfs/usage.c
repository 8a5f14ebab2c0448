/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/fd.h"
#include "driver/zfs/zfs.h"
#include <libzfs_core.h>
#include <sys/statfs.h>

/*
 * Usage, from ZFS's own accounting (zfsprops(7)):
 *
 *     bytes   written@<origin>: the space of all that was written since the clone was made, as
 *             allocated, after compression, with what it takes to find it. Not `used`, which
 * shrinks to nothing when a snapshot gets clones, nor `logicalreferenced`, which counts what is
 *             shared with the parents. Not plain `written`, which begins anew with each snapshot
 *             that others take.
 *     inodes  the objects that the file system has, less those of its origin. So a file that was
 *             changed but not added does not count.
 *
 * ZFS counts what is in a transaction group that is on disk, for which an active one has to wait.
 */

static const char written_program[] = //
    "local args = ...\n"
    "local dataset = args['dataset']\n"
    "if not zfs.exists(dataset) then return {} end\n"
    "local origin = zfs.get_prop(args['head'], 'origin')\n"
    "if origin == nil then -- received whole: see stream.c\n"
    "    return {origin = args['base'] .. '/storage/empty@extracted',\n"
    "            written = zfs.get_prop(dataset, 'referenced')}\n"
    "end\n"
    "return {origin = origin, written = zfs.get_prop(dataset, 'written@' .. origin)}\n";

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

static gboolean
measure(const VarveZfs *zfs, const char *dataset, const char *head, gboolean whole,
        VarveUsage *usage, GError **error)
{
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    fnvlist_add_string(args, "dataset", dataset);
    fnvlist_add_string(args, "head", head);
    g_autoptr(nvlist_t) found =
        varve_zfs_run(zfs->base, VARVE_ZFS_LOOK, written_program, args, "measuring", error);
    if (found == NULL)
        return FALSE;
    const char *origin = varve_zfs_string(found, "origin");
    gint64 objects, before;
    if (origin == NULL)
        return varve_zfs_set_error(error, ENOENT, "measuring", dataset);
    if (!count_objects(zfs, dataset, &objects, error) ||
        !count_objects(zfs, origin, &before, error))
        return FALSE;
    usage->bytes = varve_zfs_number(found, "written", 0);
    usage->inodes = MAX(objects - before + (whole ? 1 : 0), 0); /* the root directory is empty's */
    return TRUE;
}

gboolean
varve_zfs_usage(gpointer self, const VarveDriverSnapshot *snapshot, VarveUsage *usage,
                GError **error)
{
    VarveZfs *zfs = self;
    gboolean whole = snapshot->n_parents == 0;
    VarveZfsName active = varve_zfs_active(zfs, snapshot->id);
    VarveZfsName committed = varve_zfs_committed(zfs, snapshot->id);
    VarveZfsName extracted = varve_zfs_extracted(zfs, snapshot->id);
    if (!varve_zfs_check_pool(zfs->base, error))
        return FALSE;
    if (lzc_exists(extracted.text))
        return measure(zfs, extracted.text, committed.text, whole, usage, error);
    return varve_zfs_flush_pages(zfs, &active, error) && varve_zfs_wait_group(zfs, error) &&
           measure(zfs, active.text, active.text, whole, usage, error);
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
