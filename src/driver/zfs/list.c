/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "driver/zfs/zfs.h"
#include <string.h>
#include <varve/log.h>

/* The names in both folders, with whether their origin is ours; what else is beside the folders;
 * and the ids of captures that were begun (capture.c). */
static const char list_program[] = //
    VARVE_ZFS_IS_OURS
    "local args = ...\n"
    "local base = args['base']\n"
    "local storage, runtime = base .. '/storage', base .. '/runtime'\n"
    "local function look(folder)\n"
    "    local found = {}\n"
    "    for child in zfs.list.children(folder) do\n"
    "        found[string.sub(child, #folder + 2)] = is_ours(child, base, args['uuid'])\n"
    "    end\n"
    "    return found\n"
    "end\n"
    "local result = {storage = look(storage), runtime = look(runtime), others = {}, begun = {}}\n"
    "for child in zfs.list.children(base) do\n"
    "    if child ~= storage and child ~= runtime then\n"
    "        result.others[string.sub(child, #base + 2)] = false\n"
    "    end\n"
    "end\n"
    "local note = 'org.varve:capture-'\n"
    "for name, value, source in zfs.list.properties(storage) do\n"
    "    if source == storage and string.sub(name, 1, #note) == note then\n"
    "        result.begun[string.sub(name, #note + 1)] = true\n"
    "    end\n"
    "end\n"
    "return result\n";

static void
warn(const VarveZfs *zfs, const char *folder, const char *name)
{
    g_autofree char *dataset =
        g_strconcat(zfs->base, *folder != '\0' ? "/" : "", folder, "/", name, NULL);
    varve_log(VARVE_LOG_WARNING, "a dataset in a pool's is not Varve's: it is left alone", "pool",
              zfs->host->name, "dataset", dataset, NULL);
}

static gboolean
tell(const VarveZfs *zfs, nvlist_t *found, const char *folder, VarveDriverListFunc func,
     gpointer data, GError **error)
{
    for (nvpair_t *pair = NULL;
         found != NULL && (pair = nvlist_next_nvpair(found, pair)) != NULL;) {
        guint64 id;
        const char *name = nvpair_name(pair);
        if (g_str_equal(folder, "storage") && g_str_equal(name, "empty"))
            continue;
        if (!fnvpair_value_boolean_value(pair) || !varve_zfs_parse_id(name, &id))
            warn(zfs, folder, name);
        else if (!func(id, data, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
varve_zfs_list(gpointer self, VarveDriverListFunc func, gpointer data, GError **error)
{
    const VarveZfs *zfs = self;
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    fnvlist_add_string(args, "uuid", zfs->uuid);
    g_autoptr(nvlist_t) result =
        varve_zfs_run(zfs->base, VARVE_ZFS_LOOK, list_program, args, "listing", error);
    return result != NULL && tell(zfs, varve_zfs_table(result, "others"), "", func, data, error) &&
           tell(zfs, varve_zfs_table(result, "storage"), "storage", func, data, error) &&
           tell(zfs, varve_zfs_table(result, "runtime"), "runtime", func, data, error) &&
           tell(zfs, varve_zfs_table(result, "begun"), "storage", func, data, error);
}
