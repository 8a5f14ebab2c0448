/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "driver/zfs/zfs.h"
#include <libzfs_core.h>

/*
 * A commit is a rename and a snapshot. Each waits for the transaction group that it is part of, so
 * both are begun at once, which is mostly the same group; the snapshot is of the dataset under
 * whichever name it then has. (A rename first opens the dataset, which takes about as long as
 * looking whether it is mounted: that is why the snapshot, which comes after, does not come too
 * early to share its group.)
 */
typedef struct {
    VarveZfsName names[2]; /* from, to */
    GThread *thread;       /* NULL: it is over */
    int errnum;
} Renaming;

static gpointer
rename_in_thread(gpointer data)
{
    Renaming *renaming = data;
    renaming->errnum = lzc_rename(renaming->names[0].text, renaming->names[1].text);
    return NULL;
}

static void
rename_begin(Renaming *renaming)
{
    renaming->thread = g_thread_try_new("zfs-rename", rename_in_thread, renaming, NULL);
    if (renaming->thread == NULL)
        rename_in_thread(renaming);
}

static gboolean
rename_end(Renaming *renaming, GError **error)
{
    if (renaming->thread != NULL)
        g_thread_join(g_steal_pointer(&renaming->thread));
    return renaming->errnum == 0 ||
           varve_zfs_set_error(error, renaming->errnum, "renaming", renaming->names[0].text);
}

static const char extract_program[] = //
    "local args = ...\n"
    "for _, dataset in ipairs(args['datasets']) do\n"
    "    if zfs.exists(dataset) then\n"
    "        return {errno = zfs.sync.snapshot(dataset .. '@extracted')}\n"
    "    end\n"
    "end\n"
    "return {errno = 2}\n"; /* ENOENT */

static gboolean
take_snapshot(VarveZfs *zfs, guint64 id, gpointer data, GError **error)
{
    VarveZfsName extracted = varve_zfs_extracted(zfs, id);
    const Renaming *renaming = data;
    g_autoptr(nvlist_t) args = varve_zfs_datasets(renaming->names, G_N_ELEMENTS(renaming->names));
    g_autoptr(nvlist_t) result = varve_zfs_run(zfs->base, VARVE_ZFS_CHANGE, extract_program, args,
                                               "making the snapshot", error);
    if (result == NULL)
        return FALSE;
    int errnum = (int)varve_zfs_number(result, "errno", EINVAL);
    return errnum == 0 || varve_zfs_set_error(error, errnum, "making the snapshot", extracted.text);
}

/* A dataset may be renamed while it is mounted and written to: its snapshot then has what had been
 * written when it was taken. */
static gboolean
extract(VarveZfs *zfs, guint64 id, Renaming *renaming, GError **error)
{
    gboolean mounted;
    if (!varve_zfs_is_mounted(zfs, renaming->names, G_N_ELEMENTS(renaming->names), &mounted,
                              error) ||
        (mounted && (!rename_end(renaming, error) ||
                     !varve_zfs_write_pages_back(zfs, &renaming->names[1], error))))
        return FALSE;
    return varve_zfs_do_with_space(zfs, take_snapshot, id, renaming, error);
}

gboolean
varve_zfs_commit(gpointer self, guint64 id, GError **error)
{
    VarveZfs *zfs = self;
    if (!varve_zfs_check_pool(zfs->base, error))
        return FALSE;
    Renaming renaming = {.names = {varve_zfs_active(zfs, id), varve_zfs_committed(zfs, id)}};
    rename_begin(&renaming);
    gboolean extracted = extract(zfs, id, &renaming, error);
    gboolean renamed = rename_end(&renaming, extracted ? error : NULL);
    if (extracted && renamed)
        return TRUE;
    GError *undo_error = NULL;
    if (!varve_zfs_reopen(zfs, id, &undo_error))
        varve_error_log_undo("making writable what could not be committed", undo_error);
    return FALSE;
}

/* --- making it writable again ----------------------------------------------------------------- */

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
varve_zfs_rename(const VarveZfsName *from, const VarveZfsName *to, GError **error)
{
    int errnum = lzc_rename(from->text, to->text);
    return errnum == 0 || varve_zfs_set_error(error, errnum, "renaming", from->text);
}

/* Of the commit, cut short, either part may have been done. */
gboolean
varve_zfs_reopen(gpointer self, guint64 id, GError **error)
{
    const VarveZfs *zfs = self;
    VarveZfsName active = varve_zfs_active(zfs, id), committed = varve_zfs_committed(zfs, id);
    VarveZfsName extracted = varve_zfs_extracted(zfs, id);
    VarveZfsName not_renamed = varve_zfs_active_extracted(zfs, id);
    if (!varve_zfs_check_pool(zfs->base, error))
        return FALSE;
    if (lzc_exists(active.text))
        return !lzc_exists(not_renamed.text) || destroy_snapshot(&not_renamed, error);
    return destroy_snapshot(&extracted, error) && varve_zfs_rename(&committed, &active, error);
}
