/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "driver/zfs/note.h"
#include "driver/zfs/zfs.h"
#include <libzfs_core.h>

/* --- looking ---------------------------------------------------------------------------------- */

/* What is there: the mark, which must be the base's own, not inherited; the parts that are missing;
 * and the properties of those that hold snapshots. */
static const char look_program[] = //
    "local args = ...\n"
    "local base, found = args['base'], {missing = {}, properties = {}}\n"
    "if not zfs.exists(base) then\n"
    "    found.missing[1] = base\n"
    "    return found\n"
    "end\n"
    "local mark, source = zfs.get_prop(base, 'org.varve:pool')\n"
    "if source == base then found.mark = mark end\n"
    "for _, part in ipairs({'storage', 'runtime', 'storage/empty@extracted'}) do\n"
    "    local dataset = base .. '/' .. part\n"
    "    if not zfs.exists(dataset) then found.missing[#found.missing + 1] = dataset end\n"
    "end\n"
    "if #found.missing > 0 then return found end\n"
    "for _, part in ipairs({'storage', 'runtime'}) do\n"
    "    local dataset, properties = base .. '/' .. part, {}\n"
    "    for _, name in ipairs(args['names']) do\n"
    "        local value, set_by = zfs.get_prop(dataset, name)\n"
    "        properties[name] = {value = value, source = set_by}\n"
    "    end\n"
    "    found.properties[dataset] = properties\n"
    "end\n"
    "return found\n";

static gboolean
check_properties(nvlist_t *properties, GError **error)
{
    g_autoptr(GString) conflicts = g_string_new(NULL);
    for (nvpair_t *pair = NULL;
         properties != NULL && (pair = nvlist_next_nvpair(properties, pair)) != NULL;)
        varve_zfs_properties_check(nvpair_name(pair), fnvpair_value_nvlist(pair), conflicts);
    if (conflicts->len == 0)
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "with these properties snapshots would not keep all of their content: "
                           "%s",
                           conflicts->str);
}

static gboolean
check_mark(const VarveZfs *zfs, const char *mark, GError **error)
{
    if (g_strcmp0(mark, zfs->uuid) == 0)
        return TRUE;
    if (mark == NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the dataset %s is not this pool's: it does not have the property "
                               "%s=%s; it was left alone",
                               zfs->base, VARVE_ZFS_POOL_PROPERTY, zfs->uuid);
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the dataset %s is another pool's: its property %s is %s and should be "
                           "%s; it was left alone",
                           zfs->base, VARVE_ZFS_POOL_PROPERTY, mark, zfs->uuid);
}

gboolean
varve_zfs_check_existing(VarveZfs *zfs, GError **error)
{
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    varve_zfs_properties_add_names(args, "names");
    g_autoptr(nvlist_t) found =
        varve_zfs_run(zfs->base, VARVE_ZFS_LOOK, look_program, args, "looking at", error);
    if (found == NULL)
        return FALSE;
    const char *mark = varve_zfs_string(found, "mark");
    g_autofree char *missing = varve_zfs_join(varve_zfs_table(found, "missing"));
    gboolean gone = missing != NULL && g_str_equal(missing, zfs->base);
    if (!gone && !check_mark(zfs, mark, error))
        return FALSE;
    if (missing != NULL)
        return varve_error_set(error, gone ? VARVE_ERROR_NOT_FOUND : VARVE_ERROR_CORRUPT,
                               "of the pool's datasets these are missing: %s", missing);
    return check_properties(varve_zfs_table(found, "properties"), error);
}

/* --- making ----------------------------------------------------------------------------------- */

/* What is in a dataset, or beneath it, except for what args['known'] names. Not beneath what is
 * found already. */
static const char content_program[] = //
    "local args = ...\n"
    "local known, found = {}, {}\n"
    "for _, name in ipairs(args['known']) do known[name] = true end\n"
    "local function add(name)\n"
    "    if not known[name] then found[#found + 1] = name end\n"
    "    return known[name]\n"
    "end\n"
    "local function walk(dataset)\n"
    "    for snapshot in zfs.list.snapshots(dataset) do add(snapshot) end\n"
    "    for child in zfs.list.children(dataset) do\n"
    "        if add(child) then walk(child) end\n"
    "    end\n"
    "end\n"
    "walk(args['base'])\n"
    "local mark, source = zfs.get_prop(args['base'], 'org.varve:pool')\n"
    "if source ~= args['base'] then mark = nil end\n"
    "return {content = found, mark = mark, type = zfs.get_prop(args['base'], 'type')}\n";

static nvlist_t *
look_for_content(const char *base, const char *const *known, guint n, GError **error)
{
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    fnvlist_add_string_array(args, "known", (char **)known, n);
    return varve_zfs_run(base, VARVE_ZFS_LOOK, content_program, args, "looking at", error);
}

/* An existing dataset may become a base if nothing is in it that we could be mixed up with. */
static gboolean
check_adoptable(const char *base, GError **error)
{
    g_autoptr(nvlist_t) found = look_for_content(base, &base, 1, error);
    if (found == NULL)
        return FALSE;
    if (varve_zfs_string(found, "mark") != NULL)
        return varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS,
                               "the dataset %s holds a pool already: choose another one, or, if "
                               "that pool is gone, remove it with 'zfs destroy -r %s'",
                               base, base);
    if (g_strcmp0(varve_zfs_string(found, "type"), "filesystem") != 0)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "the dataset %s is no file system", base);
    g_autofree char *content = varve_zfs_join(varve_zfs_table(found, "content"));
    return content == NULL ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "the dataset %s is not empty, it has %s: choose one that does not exist "
                           "yet",
                           base, content);
}

static gboolean
create_dataset(const char *name, nvlist_t *properties, GError **error)
{
    int errnum = lzc_create(name, LZC_DATSET_TYPE_ZFS, properties, NULL, 0);
    return errnum == 0 || varve_zfs_set_error(error, errnum, "creating", name);
}

static const char mark_program[] = //
    "local args = ...\n"
    "return {errno = zfs.sync.set_prop(args['base'], 'org.varve:pool', args['mark'])}\n";

static gboolean
adopt(const VarveZfs *zfs, GError **error)
{
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    fnvlist_add_string(args, "mark", zfs->uuid);
    g_autoptr(nvlist_t) result =
        varve_zfs_run(zfs->base, VARVE_ZFS_CHANGE, mark_program, args, "marking", error);
    int errnum = result != NULL ? (int)varve_zfs_number(result, "errno", EINVAL) : 0;
    return result != NULL &&
           (errnum == 0 || varve_zfs_set_error(error, errnum, "marking", zfs->base));
}

static gboolean
create_base(const VarveZfs *zfs, GError **error)
{
    g_autofree char *parent = g_path_get_dirname(zfs->base);
    if (g_str_equal(parent, ".") || !lzc_exists(parent))
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "there is no dataset %s that could hold %s", parent, zfs->base);
    g_autoptr(nvlist_t) properties = varve_zfs_properties_new();
    fnvlist_add_string(properties, VARVE_ZFS_POOL_PROPERTY, zfs->uuid);
    fnvlist_add_string(properties, VARVE_ZFS_MADE_PROPERTY, "yes");
    return create_dataset(zfs->base, properties, error);
}

static gboolean
make_parts(const VarveZfs *zfs, gboolean inherit, GError **error)
{
    VarveZfsName storage = varve_zfs_below(zfs, "storage"), empty, extracted;
    VarveZfsName runtime = varve_zfs_below(zfs, "runtime");
    empty = varve_zfs_below(zfs, "storage/empty");
    extracted = varve_zfs_extracted(zfs, 0);
    g_autoptr(nvlist_t) properties = inherit ? NULL : varve_zfs_properties_new();
    if (!create_dataset(storage.text, properties, error) ||
        !create_dataset(runtime.text, properties, error) ||
        !create_dataset(empty.text, NULL, error))
        return FALSE;
    g_autoptr(nvlist_t) snapshots = fnvlist_alloc(), errors = NULL;
    fnvlist_add_boolean(snapshots, extracted.text);
    int errnum = lzc_snapshot(snapshots, NULL, &errors);
    return errnum == 0 || varve_zfs_set_error(error, errnum, "creating", extracted.text);
}

static const char destroy_program[] = //
    "local args = ...\n"
    "local base = args['base']\n"
    "local function destroy(name)\n"
    "    local errno = 0\n"
    "    if zfs.exists(name) then errno = zfs.sync.destroy(name) end\n"
    "    if errno == 0 then return nil end\n"
    "    return {dataset = name, errno = errno}\n"
    "end\n"
    "local function leave()\n"
    "    if not zfs.exists(base) then return nil end\n"
    "    local made, source = zfs.get_prop(base, 'org.varve:made')\n"
    "    if source == base and string.find(base, '/', 1, true) then return destroy(base) end\n"
    "    zfs.sync.inherit(base, 'org.varve:pool')\n"
    "end\n"
    "return destroy(base .. '/storage/empty@extracted') or destroy(base .. '/storage/empty')\n"
    "    or destroy(base .. '/storage') or destroy(base .. '/runtime') or leave() or {}\n";

static gboolean
destroy_parts(const VarveZfs *zfs, GError **error)
{
    g_autoptr(nvlist_t) result =
        varve_zfs_run(zfs->base, VARVE_ZFS_CHANGE, destroy_program, NULL, "destroying", error);
    if (result == NULL)
        return FALSE;
    int errnum = (int)varve_zfs_number(result, "errno", 0);
    return errnum == 0 ||
           varve_zfs_set_error(error, errnum, "destroying", varve_zfs_string(result, "dataset"));
}

gboolean
varve_zfs_make_base(VarveZfs *zfs, GError **error)
{
    if (!varve_zfs_check_pool(zfs->base, error))
        return FALSE;
    gboolean there = lzc_exists(zfs->base);
    if (zfs->image == NULL) {
        if (there && !check_adoptable(zfs->base, error))
            return FALSE;
        if (!varve_zfs_note_write(zfs->host, "uuid", zfs->uuid, error))
            return FALSE;
    }
    gboolean marked = zfs->image != NULL || (there ? adopt(zfs, error) : create_base(zfs, error));
    if (marked && make_parts(zfs, zfs->image != NULL || !there, error))
        return TRUE;
    GError *undo_error = NULL;
    if (marked && !destroy_parts(zfs, &undo_error))
        varve_error_log_undo("destroying the datasets of a pool that could not be made",
                             undo_error);
    if (zfs->image == NULL)
        varve_zfs_note_delete(zfs->host, "uuid");
    return FALSE;
}

/* --- the end ---------------------------------------------------------------------------------- */

gboolean
varve_zfs_check_vacant(const VarveZfs *zfs, GError **error)
{
    VarveZfsName storage = varve_zfs_below(zfs, "storage"), extracted;
    VarveZfsName runtime = varve_zfs_below(zfs, "runtime");
    VarveZfsName empty = varve_zfs_below(zfs, "storage/empty");
    extracted = varve_zfs_extracted(zfs, 0);
    const char *known[] = {zfs->base, storage.text, runtime.text, empty.text, extracted.text};
    g_autoptr(nvlist_t) found =
        look_for_content(zfs->base, known, (guint)G_N_ELEMENTS(known), error);
    if (found == NULL)
        return FALSE;
    g_autofree char *content = varve_zfs_join(varve_zfs_table(found, "content"));
    return content == NULL ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "the pool's dataset %s holds what is not the pool's: %s; move it "
                           "('zfs rename') or destroy it",
                           zfs->base, content);
}

gboolean
varve_zfs_destroy_base(VarveZfs *zfs, GError **error)
{
    if (!varve_zfs_check_vacant(zfs, error) || !destroy_parts(zfs, error))
        return FALSE;
    varve_zfs_note_delete(zfs->host, "uuid");
    return TRUE;
}
