/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "driver/zfs/control.h"
#include "driver/zfs/zfs.h"

/*
 * Limits of active snapshots: the property refquota of zfsprops(7), which counts what a dataset
 * refers to, shared or not. It is the dataset's own: neither clones nor captures get it.
 *
 * ZFS refuses a limit that is less than what is there. Then the limit is what is there, so that
 * nothing can be added, until it is set again with less in it, as it is when a volume is mounted.
 */

/* How often more may come in while that is found out. */
#define TRIES 8

static const char look_program[] = //
    "local args = ...\n"
    "local dataset = args['dataset']\n"
    "if not zfs.exists(dataset) then return {} end\n"
    "return {refquota = zfs.get_prop(dataset, 'refquota'),\n"
    "        referenced = zfs.get_prop(dataset, 'referenced')}\n";

static gboolean
look(const VarveZfs *zfs, const char *dataset, guint64 *limit, guint64 *referenced, GError **error)
{
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    fnvlist_add_string(args, "dataset", dataset);
    g_autoptr(nvlist_t) found =
        varve_zfs_run(zfs->base, VARVE_ZFS_LOOK, look_program, args, "looking at", error);
    *limit = (guint64)varve_zfs_number(found, "refquota", 0);
    *referenced = (guint64)varve_zfs_number(found, "referenced", 0);
    return found != NULL;
}

static int
set(int control, const char *dataset, guint64 bytes)
{
    g_autoptr(nvlist_t) properties = fnvlist_alloc();
    fnvlist_add_uint64(properties, "refquota", bytes);
    return varve_zfs_control_set(control, dataset, properties);
}

gboolean
varve_zfs_limit(gpointer self, guint64 id, guint64 bytes, GError **error)
{
    const VarveZfs *zfs = self;
    VarveZfsName active = varve_zfs_active(zfs, id);
    guint64 limit, referenced;
    if (!varve_zfs_check_pool(zfs->base, error) ||
        !look(zfs, active.text, &limit, &referenced, error))
        return FALSE;
    if (limit == bytes) /* a transaction group less to wait for */
        return TRUE;
    varve_autofd control = varve_zfs_control_open(error);
    int errnum = control >= 0 ? set(control, active.text, bytes) : 0;
    for (guint i = 0; errnum == ENOSPC && i < TRIES; i++) {
        if (!look(zfs, active.text, &limit, &referenced, error))
            return FALSE;
        errnum = set(control, active.text, MAX(bytes, referenced));
    }
    return control >= 0 &&
           (errnum == 0 || varve_zfs_set_error(error, errnum, "limiting", active.text));
}
