/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "driver/zfs/zfs.h"
#include <stdlib.h>

/*
 * Removing: one channel program, and so one transaction group, for many ids. It goes over them
 * until nothing more can be removed, since they may stand on each other. What it cannot remove it
 * explains by what is in the way.
 *
 * What others of ours stand on is taken out from under them: storage/<id>@extracted is renamed to
 * @dropped-<id>, and one of those, the heir, is promoted, which makes it the owner of that
 * snapshot. ZFS destroys the snapshot when the last clone of it is gone; the heir, if it is removed
 * before the others, hands it on to one of them. Whoever is killed in between leaves something that
 * has the name of <id>, for which removing it again finds the rest to do.
 */

/* heir_of(snapshot, base): one of ours that is a clone of it. */
#define HEIR_OF                                                                                    \
    "local function heir_of(snapshot, base)\n"                                                     \
    "    for clone in zfs.list.clones(snapshot) do\n"                                              \
    "        for _, folder in ipairs({base .. '/storage/', base .. '/runtime/'}) do\n"             \
    "            local id = string.sub(clone, #folder + 1)\n"                                      \
    "            local ours = tostring(tonumber(id)) == id\n"                                      \
    "            if ours and folder .. id == clone then return clone end\n"                        \
    "        end\n"                                                                                \
    "    end\n"                                                                                    \
    "    return nil\n"                                                                             \
    "end\n"

static const char remove_program[] = //
    VARVE_ZFS_IS_OURS HEIR_OF
    "local args = ...\n"
    "local base = args['base']\n"
    "local storage, runtime = base .. '/storage', base .. '/runtime'\n"
    "\n"
    "local function all(iterator)\n"
    "    local names = {}\n"
    "    for name in iterator do names[#names + 1] = name end\n"
    "    return names\n"
    "end\n"
    "\n"
    "local function explain(dataset, errno)\n"
    "    local why = {dataset = dataset, errno = errno}\n"
    "    if string.find(dataset, '@', 1, true) then\n"
    "        why.clones = all(zfs.list.clones(dataset))\n"
    "        why.holds = all(zfs.list.holds(dataset))\n"
    "    else\n"
    "        why.snapshots, why.comparisons, why.clones = {}, {}, {}\n"
    "        for name in zfs.list.snapshots(dataset) do\n"
    "            local kind = why.snapshots\n"
    "            if string.find(name, '@varve-changes-', 1, true) then kind = why.comparisons end\n"
    "            if string.find(name, '@dropped-', 1, true) then\n"
    "                kind, name = why.clones, zfs.list.clones(name)()\n"
    "            end\n"
    "            kind[#kind + 1] = name\n"
    "        end\n"
    "        why.children = all(zfs.list.children(dataset))\n"
    "    end\n"
    "    return why\n"
    "end\n"
    "\n"
    "local function destroy(dataset)\n"
    "    if not zfs.exists(dataset) then return nil end\n"
    "    local errno = zfs.sync.destroy(dataset)\n"
    "    if errno == 0 then return nil end\n"
    "    return explain(dataset, errno)\n"
    "end\n"
    "\n"
    "local function promote(heir)\n"
    "    local errno = zfs.sync.promote(heir)\n"
    "    if errno == 0 and zfs.get_prop(heir, 'origin') == nil then\n"
    "        zfs.sync.set_prop(heir, 'org.varve:received', args['uuid'])\n"
    "    end\n"
    "    return errno\n"
    "end\n"
    "\n"
    "local function hand_on(dataset)\n"
    "    for _, name in ipairs(all(zfs.list.snapshots(dataset))) do\n"
    "        if string.find(name, '@dropped-', 1, true) and zfs.exists(name) then\n"
    "            local heir = heir_of(name, base)\n"
    "            local errno = zfs.sync.destroy({name, defer = true})\n"
    "            if errno == 0 and heir ~= nil then errno = promote(heir) end\n"
    "            if errno ~= 0 then return explain(name, errno) end\n"
    "        end\n"
    "    end\n"
    "    return nil\n"
    "end\n"
    "\n"
    "local function place(id)\n"
    "    for _, folder in ipairs({runtime, storage}) do\n"
    "        if zfs.exists(folder .. '/' .. id) then return folder .. '/' .. id end\n"
    "    end\n"
    "    return nil\n"
    "end\n"
    "\n"
    "-- See capture.c.\n"
    "local function undo_capture(id, of)\n"
    "    local captured, source = storage .. '/' .. id, place(of)\n"
    "    local snapshot = '@capture-' .. id\n"
    "    if zfs.exists(captured .. snapshot) then\n"
    "        local clones = all(zfs.list.clones(captured .. snapshot))\n"
    "        if #clones == 1 and clones[1] == source then\n"
    "            local errno = promote(source)\n"
    "            if errno ~= 0 then return explain(captured .. snapshot, errno) end\n"
    "        end\n"
    "    end\n"
    "    local why = destroy(captured .. snapshot) or destroy(captured)\n"
    "    if why == nil and source ~= nil then why = destroy(source .. snapshot) end\n"
    "    if why == nil then zfs.sync.inherit(storage, 'org.varve:capture-' .. id) end\n"
    "    return why\n"
    "end\n"
    "\n"
    "local function source_of(id)\n"
    "    local snapshot = storage .. '/' .. id .. '@capture-' .. id\n"
    "    if zfs.exists(snapshot) then return zfs.get_prop(snapshot, 'org.varve:captured') end\n"
    "    return zfs.get_prop(storage, 'org.varve:capture-' .. id)\n"
    "end\n"
    "\n"
    "local function remove(id)\n"
    "    local of = source_of(id)\n"
    "    if of ~= nil then return undo_capture(id, of) end\n"
    "    for _, folder in ipairs({runtime, storage}) do\n"
    "        local dataset, why = folder .. '/' .. id, nil\n"
    "        if zfs.exists(dataset) and is_ours(dataset, base, args['uuid']) then\n"
    "            why = destroy(dataset .. '@extracted') or hand_on(dataset) or destroy(dataset)\n"
    "        end\n"
    "        if why ~= nil then return why end\n"
    "    end\n"
    "    return nil\n"
    "end\n"
    "\n"
    "local waiting, failed = args['ids'], {}\n"
    "repeat\n"
    "    local left = {}\n"
    "    failed = {}\n"
    "    for _, id in ipairs(waiting) do\n"
    "        failed[id] = remove(id)\n"
    "        if failed[id] ~= nil then left[#left + 1] = id end\n"
    "    end\n"
    "    local progress = #left < #waiting\n"
    "    waiting = left\n"
    "until not progress\n"
    "return failed\n";

/* Whether any of the ids has something on disk. */
static const char present_program[] = //
    "local args = ...\n"
    "local base = args['base']\n"
    "for _, id in ipairs(args['ids']) do\n"
    "    if zfs.exists(base .. '/runtime/' .. id) or zfs.exists(base .. '/storage/' .. id) or\n"
    "        zfs.get_prop(base .. '/storage', 'org.varve:capture-' .. id) then\n"
    "        return {present = 1}\n"
    "    end\n"
    "end\n"
    "return {}\n";

/* How long others may have something of ours in use before that is a failure. */
#define TRIES 10
#define PAUSE (50 * 1000)

/* --- one program ------------------------------------------------------------------------------ */

typedef struct {
    guint64 id;
    GError **error;    /* where to tell why not */
    gboolean waits;    /* that may pass by itself */
    gboolean stood_on; /* there are clones of it */
} Removal;

/* What stands in the way, and what can be done about it. */
static const struct {
    const char *table;
    VarveErrorCode code;
    const char *what, *remedy;
} obstacles[] = {
    {"holds", VARVE_ERROR_BUSY, "it is held by", "let go of it with 'zfs release TAG SNAPSHOT'"},
    {"clones", VARVE_ERROR_FAILED_PRECONDITION, "it is the origin of", "destroy that first"},
    {"snapshots", VARVE_ERROR_FAILED_PRECONDITION,
     "it has snapshots that are not Varve's:", "'zfs destroy' them first"},
    {"children", VARVE_ERROR_FAILED_PRECONDITION,
     "it has datasets beneath it that are not Varve's:", "'zfs destroy' them first"},
    /* See changes.c. */
    {"comparisons", VARVE_ERROR_BUSY, "somebody is being told its changes, from",
     "wait until that is done"},
};

static gboolean
set_obstacle(Removal *removal, nvlist_t *why, const char *dataset)
{
    for (gsize i = 0; i < G_N_ELEMENTS(obstacles); i++) {
        g_autofree char *names = varve_zfs_join(varve_zfs_table(why, obstacles[i].table));
        if (names == NULL)
            continue;
        removal->waits = obstacles[i].code == VARVE_ERROR_BUSY;
        removal->stood_on = g_str_equal(obstacles[i].table, "clones");
        varve_error_set(removal->error, obstacles[i].code, "destroying %s: %s %s; %s", dataset,
                        obstacles[i].what, names, obstacles[i].remedy);
        return TRUE;
    }
    return FALSE;
}

static void
set_failure(Removal *removal, nvlist_t *why)
{
    const char *dataset = varve_zfs_string(why, "dataset");
    int errnum = (int)varve_zfs_number(why, "errno", EINVAL);
    if (set_obstacle(removal, why, dataset))
        return;
    removal->waits = errnum == EBUSY;
    if (errnum == EBUSY)
        varve_error_set(removal->error, VARVE_ERROR_BUSY,
                        "destroying %s: it is mounted, perhaps in another mount namespace: unmount "
                        "it ('grep %s /proc/*/mounts' tells where)",
                        dataset, dataset);
    else
        varve_zfs_set_error(removal->error, errnum, "destroying", dataset);
}

/* Highest first, since children mostly have higher ids than their parents. */
static int
compare(const void *a, const void *b)
{
    guint64 left = (*(Removal *const *)a)->id, right = (*(Removal *const *)b)->id;
    return left < right ? 1 : left > right ? -1 : 0;
}

static nvlist_t *
run_program(const VarveZfs *zfs, VarveZfsProgramKind kind, const char *program, Removal **removals,
            gsize n, GError **error)
{
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    g_autofree char *text = g_malloc(n * 24);
    g_autofree char **ids = g_new(char *, n);
    for (gsize i = 0; i < n; i++) {
        ids[i] = text + i * 24;
        g_snprintf(ids[i], 24, "%" G_GUINT64_FORMAT, removals[i]->id);
    }
    fnvlist_add_string_array(args, "ids", ids, (guint)n);
    fnvlist_add_string(args, "uuid", zfs->uuid);
    return varve_zfs_run(zfs->base, kind, program, args, "removing from", error);
}

/* Tries once. */
static void
try_removals(const VarveZfs *zfs, Removal **removals, gsize n)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(nvlist_t) result =
        run_program(zfs, VARVE_ZFS_CHANGE, remove_program, removals, n, &failure);
    for (gsize i = 0; i < n; i++) {
        char id[24];
        g_snprintf(id, sizeof id, "%" G_GUINT64_FORMAT, removals[i]->id);
        nvlist_t *why = varve_zfs_table(result, id);
        g_clear_error(removals[i]->error);
        removals[i]->waits = removals[i]->stood_on = FALSE;
        if (result == NULL)
            *removals[i]->error = g_error_copy(failure);
        else if (why != NULL)
            set_failure(removals[i], why);
    }
}

/* --- what is stood on ------------------------------------------------------------------------- */

/* What a snapshot was captured of, if nothing else stands on it; else one of ours that does. */
static const char stood_on_program[] = //
    HEIR_OF "local args = ...\n"
            "local base, snapshot = args['base'], args['snapshot']\n"
            "if not zfs.exists(snapshot) then return {} end\n"
            "local of, clones = zfs.get_prop(snapshot, 'org.varve:captured'), {}\n"
            "for clone in zfs.list.clones(snapshot) do clones[#clones + 1] = clone end\n"
            "if of ~= nil and #clones == 1 and (clones[1] == base .. '/runtime/' .. of or\n"
            "                                   clones[1] == base .. '/storage/' .. of) then\n"
            "    return {of = of}\n"
            "end\n"
            "return {heir = heir_of(snapshot, base)}\n";

/* Prepares what remove_program finishes: either what was captured goes back to what it was captured
 * of, or an heir gets it. Sets *prepared. */
static gboolean
prepare_stood_on(const VarveZfs *zfs, guint64 id, gboolean *prepared, GError **error)
{
    VarveZfsName extracted = varve_zfs_extracted(zfs, id);
    VarveZfsName committed = varve_zfs_committed(zfs, id);
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    fnvlist_add_string(args, "snapshot", extracted.text);
    g_autoptr(nvlist_t) found =
        varve_zfs_run(zfs->base, VARVE_ZFS_LOOK, stood_on_program, args, "looking at", error);
    if (found == NULL)
        return FALSE;
    gboolean captured = varve_zfs_string(found, "of") != NULL;
    *prepared = captured || varve_zfs_string(found, "heir") != NULL;
    VarveZfsName name =
        captured ? varve_zfs_capture(&committed, id) : varve_zfs_dropped(&committed, id);
    return !*prepared || varve_zfs_rename(&extracted, &name, error);
}

/* --- all -------------------------------------------------------------------------------------- */

/* Those that a further try may help. */
static gsize
pick(const VarveZfs *zfs, Removal **removals, gsize n, gboolean first)
{
    gsize left = 0;
    for (gsize i = 0; i < n; i++) {
        gboolean prepared = FALSE;
        GError *why = NULL;
        if (removals[i]->stood_on && first &&
            !prepare_stood_on(zfs, removals[i]->id, &prepared, &why)) {
            g_clear_error(removals[i]->error);
            *removals[i]->error = why;
        } else if (removals[i]->waits || prepared) {
            removals[left++] = removals[i];
        }
    }
    return left;
}

/* Views have nothing on disk, so that no transaction group need be waited for. */
static gboolean
is_any_present(const VarveZfs *zfs, Removal **removals, gsize n)
{
    g_autoptr(nvlist_t) result =
        run_program(zfs, VARVE_ZFS_LOOK, present_program, removals, n, NULL);
    return result == NULL || varve_zfs_number(result, "present", 0) != 0;
}

static void
remove_all(const VarveZfs *zfs, Removal **removals, gsize n)
{
    if (!is_any_present(zfs, removals, n))
        return;
    for (guint try = 0; n > 0 && try < TRIES; try++) {
        if (try > 1)
            g_usleep(PAUSE);
        try_removals(zfs, removals, n);
        n = pick(zfs, removals, n, try == 0);
    }
}

void
varve_zfs_remove_many(gpointer self, const guint64 *ids, gsize n, GError **errors)
{
    g_autofree Removal *all = g_new0(Removal, n);
    g_autofree Removal **removals = g_new(Removal *, n);
    for (gsize i = 0; i < n; i++) {
        all[i] = (Removal){.id = ids[i], .error = &errors[i]};
        removals[i] = &all[i];
    }
    qsort(removals, n, sizeof *removals, compare);
    remove_all(self, removals, n);
}

gboolean
varve_zfs_remove(gpointer self, guint64 id, GError **error)
{
    GError *why = NULL;
    varve_zfs_remove_many(self, &id, 1, &why);
    if (why != NULL)
        g_propagate_error(error, why);
    return why == NULL;
}
