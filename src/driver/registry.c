/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/module.h"
#include "driver/driver.h"
#include "driver/zfs/settings.h"
#include <string.h>

/* --- the table -------------------------------------------------------------------------------- */

/* Stands in for the module of zfs where that is missing, so that it can be told why. */
static GError *zfs_problem;

static gboolean
missing_zfs_probe(const char *path, GHashTable *settings, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION, "%s", zfs_problem->message);
}

static const VarveDriver missing_zfs = {
    .name = "zfs",
    .summary = VARVE_ZFS_SUMMARY,
    .settings = varve_zfs_settings,
    .probe = missing_zfs_probe,
};

static gpointer
make_table(gpointer data)
{
    const VarveDriver *zfs = varve_module_load("zfs", "the driver 'zfs'", &zfs_problem);
    /* In the order in which "auto" tries them: native last, since it works anywhere. A mock refuses
     * unless it is asked for. */
    const VarveDriver *const drivers[] = {
        &varve_driver_btrfs,   zfs != NULL ? zfs : &missing_zfs,
        &varve_driver_overlay, &varve_driver_native,
        &varve_driver_mock,    NULL,
    };
    return g_memdup2(drivers, sizeof(drivers));
}

const VarveDriver *const *
varve_driver_all(void)
{
    static GOnce once = G_ONCE_INIT;
    return g_once(&once, make_table, NULL);
}

static const VarveDriverSetting common_settings[] = {
    {"path", VARVE_SETTING_PATH, NULL, NULL,
     "the directory that holds the pool's snapshots; when not given, one beneath the root"},
    {"durability", VARVE_SETTING_CHOICE, "strict|relaxed", "strict",
     "strict: a commit returns when its content is on disk; relaxed: it does not wait for that"},
    {NULL},
};

const VarveDriverSetting *
varve_driver_common_settings(void)
{
    return common_settings;
}

static gboolean
is_there(const VarveDriver *driver, GError **error)
{
    return driver != &missing_zfs || driver->probe(NULL, NULL, error);
}

const VarveDriver *
varve_driver_find(const char *name, GError **error)
{
    if (*name == '\0') {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "the driver's name is empty");
        return NULL;
    }
    g_autoptr(GString) known = g_string_new(NULL);
    for (const VarveDriver *const *driver = varve_driver_all(); *driver != NULL; driver++) {
        if (g_str_equal((*driver)->name, name))
            return is_there(*driver, error) ? *driver : NULL;
        g_string_append_printf(known, "%s%s", known->len > 0 ? ", " : "", (*driver)->name);
    }
    varve_error_set(error, VARVE_ERROR_NOT_FOUND, "unknown driver '%s': there are %s", name,
                    known->str);
    return NULL;
}

const VarveDriver *
varve_driver_auto(const char *path)
{
    for (const VarveDriver *const *driver = varve_driver_all(); *driver != NULL; driver++) {
        if ((*driver)->probe(path, NULL, NULL))
            return *driver;
    }
    return &varve_driver_native;
}

static const VarveDriverSetting *
find_in(const VarveDriverSetting *table, const char *name)
{
    for (const VarveDriverSetting *setting = table; setting && setting->name; setting++) {
        if (g_str_equal(setting->name, name))
            return setting;
    }
    return NULL;
}

static const VarveDriverSetting *
find_setting(const VarveDriver *driver, const char *name)
{
    const VarveDriverSetting *setting = find_in(driver->settings, name);
    return setting != NULL ? setting : find_in(common_settings, name);
}

static void
append_names(GString *text, const VarveDriverSetting *table)
{
    for (const VarveDriverSetting *setting = table; setting && setting->name; setting++)
        g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "", setting->name);
}

static gboolean
unknown_setting(const VarveDriver *driver, const char *name, GError **error)
{
    g_autoptr(GString) known = g_string_new(NULL);
    append_names(known, driver->settings);
    append_names(known, common_settings);
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "unknown setting '%s' of driver %s: there are %s", name, driver->name,
                           known->str);
}

static gboolean
is_choice(const char *choices, const char *value)
{
    g_auto(GStrv) allowed = g_strsplit(choices, "|", -1);
    return g_strv_contains((const char *const *)allowed, value);
}

static gboolean
check_value(const VarveDriverSetting *setting, const char *value, GError **error)
{
    const char *want = NULL;
    switch (setting->type) {
    case VARVE_SETTING_TEXT:
        want = *value != '\0' ? NULL : "at least one character";
        break;
    case VARVE_SETTING_PATH:
        want = g_path_is_absolute(value) ? NULL : "an absolute path";
        break;
    case VARVE_SETTING_SIZE:
        if (!varve_driver_parse_size(value, NULL, error)) {
            g_prefix_error(error, "setting '%s': ", setting->name);
            return FALSE;
        }
        break;
    case VARVE_SETTING_BOOL:
        want = is_choice("true|false", value) ? NULL : "true or false";
        break;
    case VARVE_SETTING_CHOICE:
        want = is_choice(setting->choices, value) ? NULL : setting->choices;
        break;
    }
    if (want == NULL)
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "setting '%s': '%s' is not allowed, it must be %s", setting->name, value,
                           want);
}

gboolean
varve_driver_check_settings(const VarveDriver *driver, GHashTable *settings, GError **error)
{
    if (settings == NULL)
        return TRUE;

    GHashTableIter iter;
    gpointer name, value;
    g_hash_table_iter_init(&iter, settings);
    while (g_hash_table_iter_next(&iter, &name, &value)) {
        const VarveDriverSetting *setting = find_setting(driver, name);
        if (setting == NULL)
            return unknown_setting(driver, name, error);
        if (!check_value(setting, value, error))
            return FALSE;
    }
    return TRUE;
}

const char *
varve_driver_setting(const VarveDriver *driver, GHashTable *settings, const char *name)
{
    const char *value = settings != NULL ? g_hash_table_lookup(settings, name) : NULL;
    if (value != NULL)
        return value;
    const VarveDriverSetting *setting = find_setting(driver, name);
    return setting != NULL ? setting->fallback : NULL;
}

/* The factor that a size's suffix stands for; 0 when it is none. */
static guint64
suffix_factor(const char *suffix)
{
    static const char letters[] = "KMGT";
    if (*suffix == '\0')
        return 1;
    const char *letter = strchr(letters, g_ascii_toupper(*suffix));
    if (letter == NULL || suffix[1] != '\0')
        return 0;
    return G_GUINT64_CONSTANT(1) << (10 * (letter - letters + 1));
}

gboolean
varve_driver_parse_size(const char *text, guint64 *bytes, GError **error)
{
    gsize digits = strspn(text, "0123456789");
    const char *suffix = text + digits;
    gdouble fraction = 0, weight = 1;
    if (*suffix == '.') {
        while (g_ascii_isdigit(*++suffix))
            fraction += (*suffix - '0') * (weight /= 10);
    }

    guint64 factor = suffix_factor(suffix), whole, result;
    gboolean well_formed =
        digits > 0 && factor != 0 && (suffix == text + digits || factor > 1) && suffix[-1] != '.';
    if (!well_formed)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "'%s' is not a size: use bytes, or K, M, G or T as in 1.5G", text);

    /* strtoull stops at the largest number, which the multiplication or the check refuses. */
    whole = g_ascii_strtoull(text, NULL, 10);
    if (whole == G_MAXUINT64 || !g_uint64_checked_mul(&result, whole, factor) ||
        !g_uint64_checked_add(&result, result, (guint64)(fraction * (gdouble)factor)))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "the size '%s' is too large",
                               text);
    if (bytes != NULL)
        *bytes = result;
    return TRUE;
}
