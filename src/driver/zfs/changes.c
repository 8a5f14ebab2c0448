/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "driver/zfs/control.h"
#include "driver/zfs/diff.h"
#include "driver/zfs/zfs.h"
#include <libzfs_core.h>
#include <sys/statvfs.h>
#include <varve/log.h>

/*
 * What changed: of a committed snapshot between its parent's @extracted and its own, of an active
 * one between that and a snapshot that is taken for the time being.
 *
 * How long the longest path of a committed one is, is kept with it, as a property of its
 * @extracted, since it takes a while to find out (search.h). It holds only if it was set there: one
 * that came with a stream is not believed.
 */

#define LONGEST_PROPERTY "org.varve:longest-path"

/* So many files make it worth a transaction group. */
#define WORTH_NOTING 10000

/* --- notes ------------------------------------------------------------------------------------ */

static const char read_program[] = //
    "local args = ...\n"
    "local function longest(name)\n"
    "    if name == nil or not zfs.exists(name) then return nil end\n"
    "    local value, source = zfs.get_prop(name, '" LONGEST_PROPERTY "')\n"
    "    if source == name then return value end\n"
    "    return nil\n"
    "end\n"
    "return {before = longest(args['before']), after = longest(args['after']),\n"
    "        taken = zfs.get_prop(args['before'], 'creation')}\n";

static guint64
parse(const char *text)
{
    guint64 value;
    return text != NULL && g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &value, NULL)
               ? value
               : 0;
}

static gboolean
read_notes(const VarveZfs *zfs, VarveZfsPair *pair, GError **error)
{
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    fnvlist_add_string(args, "before", pair->before);
    fnvlist_add_string(args, "after", pair->after);
    g_autoptr(nvlist_t) found =
        varve_zfs_run(zfs->base, VARVE_ZFS_LOOK, read_program, args, "looking at", error);
    if (found == NULL)
        return FALSE;
    pair->taken = varve_zfs_number(found, "taken", 0);
    pair->before_longest = parse(varve_zfs_string(found, "before"));
    pair->after_longest = parse(varve_zfs_string(found, "after"));
    return TRUE;
}

static const char write_program[] = //
    "local args = ...\n"
    "for name, value in pairs(args['notes']) do\n"
    "    if zfs.exists(name) then zfs.sync.set_prop(name, '" LONGEST_PROPERTY "', value) end\n"
    "end\n"
    "return {}\n";

static void
add_note(nvlist_t *notes, const char *snapshot, guint64 known, guint64 longest)
{
    char text[24];
    if (known != 0 || longest == 0)
        return;
    g_snprintf(text, sizeof text, "%" G_GUINT64_FORMAT, longest);
    fnvlist_add_string(notes, snapshot, text);
}

/* They only save time, so it is no failure when they cannot be written. */
static void
write_notes(const VarveZfs *zfs, const VarveZfsPair *known, const VarveZfsPair *pair,
            gboolean committed)
{
    struct statvfs st;
    g_autoptr(GError) why = NULL;
    g_autoptr(nvlist_t) notes = fnvlist_alloc(), args = fnvlist_alloc();
    if (fstatvfs(pair->before_fd, &st) < 0 || st.f_files - st.f_ffree < WORTH_NOTING)
        return;
    add_note(notes, pair->before, known->before_longest, pair->before_longest);
    if (committed)
        add_note(notes, pair->after, known->after_longest, pair->after_longest);
    if (nvlist_empty(notes))
        return;
    fnvlist_add_nvlist(args, "notes", notes);
    g_autoptr(nvlist_t) result =
        varve_zfs_run(zfs->base, VARVE_ZFS_CHANGE, write_program, args, "noting in", &why);
    if (result == NULL)
        varve_log(VARVE_LOG_DEBUG, "a property could not be set", "reason", why->message, NULL);
}

/* --- the two snapshots ------------------------------------------------------------------------ */

typedef struct {
    int keeper; /* of the snapshot after, if that is there for the time being only */
    char *after;
    int before_fd, after_fd, control;
} Opened;

/* Mounts go before the keeper. */
static void
opened_clear(Opened *opened)
{
    varve_fd_clear(&opened->before_fd);
    varve_fd_clear(&opened->after_fd);
    varve_fd_clear(&opened->control);
    varve_fd_clear(&opened->keeper);
    g_free(opened->after);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Opened, opened_clear)

static gboolean
open_after(VarveZfs *zfs, const VarveDriverSnapshot *snapshot, Opened *opened, GError **error)
{
    VarveZfsName active = varve_zfs_active(zfs, snapshot->id);
    VarveZfsName extracted = varve_zfs_extracted(zfs, snapshot->id);
    if (lzc_exists(extracted.text))
        opened->after = g_strdup(extracted.text);
    else if (varve_zfs_flush_pages(zfs, &active, error))
        opened->after =
            varve_zfs_control_snapshot(active.text, "varve-changes", &opened->keeper, error);
    if (opened->after == NULL)
        return FALSE;
    opened->after_fd = varve_zfs_open_root(zfs, opened->after, error);
    return opened->after_fd >= 0;
}

static gboolean
tell_difference(VarveZfs *zfs, const VarveDriverSnapshot *snapshot, Opened *opened,
                VarveChangeSink *sink, GError **error)
{
    VarveZfsName before = varve_zfs_extracted(zfs, snapshot->parents[0]);
    opened->before_fd = varve_zfs_open_root(zfs, before.text, error);
    opened->control = opened->before_fd >= 0 ? varve_zfs_control_open(error) : -1;
    if (opened->control < 0)
        return FALSE;
    VarveZfsPair pair = {.before = before.text,
                         .after = opened->after,
                         .before_fd = opened->before_fd,
                         .after_fd = opened->after_fd};
    if (!read_notes(zfs, &pair, error))
        return FALSE;
    const VarveZfsPair known = pair;
    gboolean ok = varve_zfs_diff(opened->control, &pair, sink, error);
    if (ok || sink->enough)
        write_notes(zfs, &known, &pair, opened->keeper < 0);
    return ok;
}

gboolean
varve_zfs_changes(gpointer self, const VarveDriverSnapshot *snapshot, guint64 scratch,
                  VarveChangeFunc func, gpointer data, GError **error)
{
    VarveZfs *zfs = self;
    VarveChangeSink sink = {.func = func, .data = data, .cancelled = zfs->host->cancelled};
    g_auto(Opened) opened = {.keeper = -1, .before_fd = -1, .after_fd = -1, .control = -1};
    if (!varve_zfs_check_pool(zfs->base, error) || !open_after(zfs, snapshot, &opened, error))
        return FALSE;
    gboolean ok = snapshot->n_parents > 0
                      ? tell_difference(zfs, snapshot, &opened, &sink, error)
                      : varve_changes_walk(-1, opened.after_fd, NULL, &sink, error);
    return varve_changes_ended(&sink, ok);
}
