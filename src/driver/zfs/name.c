/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "driver/zfs/zfs.h"
#include <string.h>

/* The longest that comes after a base: two ids of 20 digits at most, in
 * "/runtime/<id>@capture-<id>". */
#define LONGEST_TAIL 58

static VarveZfsName G_GNUC_PRINTF(1, 2) make_name(const char *format, ...)
{
    VarveZfsName name;
    va_list args;
    va_start(args, format);
    g_vsnprintf(name.text, sizeof name.text, format, args);
    va_end(args);
    return name;
}

VarveZfsName
varve_zfs_active(const VarveZfs *zfs, guint64 id)
{
    return make_name("%s/runtime/%" G_GUINT64_FORMAT, zfs->base, id);
}

VarveZfsName
varve_zfs_committed(const VarveZfs *zfs, guint64 id)
{
    return make_name("%s/storage/%" G_GUINT64_FORMAT, zfs->base, id);
}

VarveZfsName
varve_zfs_extracted(const VarveZfs *zfs, guint64 id)
{
    if (id == 0)
        return make_name("%s/storage/empty@extracted", zfs->base);
    return make_name("%s/storage/%" G_GUINT64_FORMAT "@extracted", zfs->base, id);
}

VarveZfsName
varve_zfs_active_extracted(const VarveZfs *zfs, guint64 id)
{
    return make_name("%s/runtime/%" G_GUINT64_FORMAT "@extracted", zfs->base, id);
}

VarveZfsName
varve_zfs_capture(const VarveZfsName *dataset, guint64 id)
{
    return make_name("%s@capture-%" G_GUINT64_FORMAT, dataset->text, id);
}

VarveZfsName
varve_zfs_dropped(const VarveZfsName *dataset, guint64 id)
{
    return make_name("%s@dropped-%" G_GUINT64_FORMAT, dataset->text, id);
}

VarveZfsName
varve_zfs_below(const VarveZfs *zfs, const char *name)
{
    return make_name("%s/%s", zfs->base, name);
}

char *
varve_zfs_pool_of(const char *dataset)
{
    return g_strndup(dataset, strcspn(dataset, "/@"));
}

gboolean
varve_zfs_parse_id(const char *text, guint64 *id)
{
    char canonical[24];
    *id = g_ascii_strtoull(text, NULL, 10);
    g_snprintf(canonical, sizeof canonical, "%" G_GUINT64_FORMAT, *id);
    return g_str_equal(canonical, text);
}

/* zfs(8), "ZFS Dataset naming"; without the blank, which would have to be quoted everywhere. */
static gboolean
is_component(const char *text)
{
    return *text != '\0' && !g_str_equal(text, ".") && !g_str_equal(text, "..") &&
           strspn(text, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_-.:") == strlen(text);
}

gboolean
varve_zfs_check_base(const char *base, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(base, "/", -1);
    gboolean ok = g_ascii_isalpha(*base);
    for (char **part = parts; ok && *part != NULL; part++)
        ok = is_component(*part);
    if (!ok)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "'%s' is not the name of a dataset: that is POOL/NAME/..., of "
                               "letters, digits, '_', '-', '.' and ':'",
                               base);
    if (strlen(base) + LONGEST_TAIL < ZFS_MAX_DATASET_NAME_LEN)
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "the dataset's name '%s' is too long: %d bytes at most", base,
                           ZFS_MAX_DATASET_NAME_LEN - LONGEST_TAIL - 1);
}
