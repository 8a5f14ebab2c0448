/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "driver/zfs/zfs.h"
#include <libzfs_core.h>

/*
 * Capturing: the committed snapshot <id> of an active one, <of>, which goes on.
 *
 *     1. runtime/<of>@capture-<id> is made, and noted as org.varve:capture-<id>=<of> on storage
 *     2. storage/<id> is made, a clone of it
 *     3. storage/<id> is promoted: it gets the snapshot, and runtime/<of> becomes its clone; the
 *        note goes
 *     4. the snapshot is renamed to storage/<id>@extracted
 *
 * The snapshot itself carries org.varve:captured=<of> from step 1 on. So whatever is cut short
 * after any step, list() tells <id> (by the note, then by storage/<id>), and remove() finds <of>
 * and undoes it: <of> is promoted back, if it was not yet, and gets rid of the snapshot. <of> may
 * have been committed meanwhile, and has an @extracted of its own then: that is why the snapshot is
 * called otherwise as long as it may have to go back, and why undoing begins with renaming it.
 */

static const char begin_program[] = //
    "local args = ...\n"
    "local storage, note = args['base'] .. '/storage', 'org.varve:capture-' .. args['id']\n"
    "local errno = zfs.sync.set_prop(storage, note, args['of'])\n"
    "if errno ~= 0 then return {errno = errno} end\n"
    "errno = zfs.sync.snapshot(args['snapshot'])\n"
    "if errno == 0 then\n"
    "    errno = zfs.sync.set_prop(args['snapshot'], 'org.varve:captured', args['of'])\n"
    "    if errno ~= 0 then zfs.sync.destroy(args['snapshot']) end\n"
    "end\n"
    "if errno ~= 0 then zfs.sync.inherit(storage, note) end\n"
    "return {errno = errno}\n";

static const char promote_program[] = //
    "local args = ...\n"
    "local storage, note = args['base'] .. '/storage', 'org.varve:capture-' .. args['id']\n"
    "local dataset = storage .. '/' .. args['id']\n"
    "local errno = zfs.sync.promote(dataset)\n"
    "if errno == 0 then zfs.sync.inherit(storage, note) end\n"
    "if errno == 0 and zfs.get_prop(dataset, 'origin') == nil then -- now it owns what was "
    "received\n"
    "    zfs.sync.set_prop(dataset, 'org.varve:received', args['uuid'])\n"
    "end\n"
    "return {errno = errno}\n";

static gboolean
run_step(const VarveZfs *zfs, const char *program, guint64 of, guint64 id,
         const VarveZfsName *snapshot, const char *doing, GError **error)
{
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    g_autofree char *of_text = g_strdup_printf("%" G_GUINT64_FORMAT, of);
    g_autofree char *id_text = g_strdup_printf("%" G_GUINT64_FORMAT, id);
    fnvlist_add_string(args, "of", of_text);
    fnvlist_add_string(args, "id", id_text);
    fnvlist_add_string(args, "snapshot", snapshot->text);
    fnvlist_add_string(args, "uuid", zfs->uuid);
    g_autoptr(nvlist_t) result =
        varve_zfs_run(zfs->base, VARVE_ZFS_CHANGE, program, args, doing, error);
    if (result == NULL)
        return FALSE;
    int errnum = (int)varve_zfs_number(result, "errno", EINVAL);
    return errnum == 0 || varve_zfs_set_error(error, errnum, doing, snapshot->text);
}

static gboolean
run_steps(VarveZfs *zfs, guint64 of, guint64 id, GError **error)
{
    VarveZfsName active = varve_zfs_active(zfs, of), committed = varve_zfs_committed(zfs, id);
    VarveZfsName snapshot = varve_zfs_capture(&active, id);
    VarveZfsName promoted = varve_zfs_capture(&committed, id);
    VarveZfsName extracted = varve_zfs_extracted(zfs, id);
    if (!run_step(zfs, begin_program, of, id, &snapshot, "making the snapshot", error))
        return FALSE;
    int errnum = lzc_clone(committed.text, snapshot.text, NULL);
    if (errnum != 0)
        return varve_zfs_set_error(error, errnum, "creating", committed.text);
    return run_step(zfs, promote_program, of, id, &promoted, "promoting", error) &&
           varve_zfs_rename(&promoted, &extracted, error);
}

gboolean
varve_zfs_capture_active(gpointer self, guint64 of, guint64 id, GError **error)
{
    VarveZfs *zfs = self;
    VarveZfsName active = varve_zfs_active(zfs, of), committed = varve_zfs_committed(zfs, id);
    if (!varve_zfs_check_pool(zfs->base, error))
        return FALSE;
    if (lzc_exists(committed.text))
        return varve_zfs_set_error(error, EEXIST, "creating", committed.text);
    if (!varve_zfs_flush_pages(zfs, &active, error))
        return FALSE;
    if (run_steps(zfs, of, id, error))
        return TRUE;
    GError *undo_error = NULL;
    if (!varve_zfs_remove(zfs, id, &undo_error))
        varve_error_log_undo("undoing a capture that failed", undo_error);
    return FALSE;
}
