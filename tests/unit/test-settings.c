/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "driver/driver.h"

static const VarveDriverSetting own_settings[] = {
    {"file", VARVE_SETTING_PATH, NULL, NULL, "a file"},
    {"size", VARVE_SETTING_SIZE, NULL, "100G", "how large it is"},
    {"strict", VARVE_SETTING_BOOL, NULL, "false", "whether to be strict"},
    {"level", VARVE_SETTING_CHOICE, "low|high", "low", "how much"},
    {NULL},
};

static const VarveDriver driver = {.name = "example", .settings = own_settings};

static GHashTable *
settings(const char *name, const char *value)
{
    GHashTable *table = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(table, (gpointer)name, (gpointer)value);
    return table;
}

static void
assert_refused(const VarveDriver *of, const char *name, const char *value, const char *reason)
{
    g_autoptr(GHashTable) table = settings(name, value);
    g_autoptr(GError) error = NULL;
    g_assert_false(varve_driver_check_settings(of, table, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
    g_assert_nonnull(strstr(error->message, name));
    g_assert_nonnull(strstr(error->message, reason));
}

static void
assert_taken(const VarveDriver *of, const char *name, const char *value)
{
    g_autoptr(GHashTable) table = settings(name, value);
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_driver_check_settings(of, table, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(varve_driver_setting(of, table, name), ==, value);
}

static void
test_unknown(void)
{
    assert_refused(&driver, "colour", "red", "file, size, strict, level, path, durability");
    assert_refused(&varve_driver_native, "file", "/x", "path, durability");
    assert_refused(&driver, "", "x", "unknown setting ''");
    g_assert_true(varve_driver_check_settings(&driver, NULL, NULL));
}

static void
test_types(void)
{
    assert_taken(&driver, "file", "/var/x");
    assert_refused(&driver, "file", "var/x", "an absolute path");
    assert_refused(&driver, "file", "", "an absolute path");
    assert_taken(&driver, "size", "1.5G");
    assert_refused(&driver, "size", "much", "not a size");
    assert_taken(&driver, "strict", "true");
    assert_refused(&driver, "strict", "yes", "true or false");
    assert_taken(&driver, "level", "high");
    assert_refused(&driver, "level", "low|high", "low|high");
    assert_refused(&driver, "level", "", "low|high");
}

static void
test_common(void)
{
    assert_taken(&varve_driver_overlay, "path", "/srv/pool");
    assert_refused(&varve_driver_overlay, "path", "pool", "an absolute path");
    assert_taken(&varve_driver_overlay, "durability", "relaxed");
    assert_refused(&varve_driver_overlay, "durability", "none", "strict|relaxed");
}

static void
test_fallbacks(void)
{
    g_autoptr(GHashTable) table = settings("level", "high");
    g_assert_cmpstr(varve_driver_setting(&driver, NULL, "size"), ==, "100G");
    g_assert_cmpstr(varve_driver_setting(&driver, table, "strict"), ==, "false");
    g_assert_cmpstr(varve_driver_setting(&driver, table, "durability"), ==, "strict");
    g_assert_null(varve_driver_setting(&driver, table, "path"));
}

static void
test_sizes(void)
{
    static const struct {
        const char *text;
        guint64 bytes;
    } good[] = {
        {"0", 0},
        {"1", 1},
        {"1024", 1024},
        {"1K", 1024},
        {"1.5G", G_GUINT64_CONSTANT(1610612736)},
        {"100G", G_GUINT64_CONSTANT(107374182400)},
        {"0.25M", 262144},
        {"2T", G_GUINT64_CONSTANT(2199023255552)},
        {"18446744073709551614", G_MAXUINT64 - 1},
        {"16777215T", G_GUINT64_CONSTANT(18446742974197923840)},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
        guint64 bytes = 99;
        g_autoptr(GError) error = NULL;
        g_assert_true(varve_driver_parse_size(good[i].text, &bytes, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(bytes, ==, good[i].bytes);
    }

    static const char *const bad[] = {
        "",
        " 1",
        "1 ",
        "-1",
        "+1",
        "G",
        ".5G",
        "1.G",
        "1.5",
        "1.5.5G",
        "1E",
        "1GG",
        "1GiB",
        "0x10",
        "nan",
        "1e3K",
        "1P",
        "inf",
        "18446744073709551616",
        "99999999999999999999999",
        "16777216T",
        "16777215.99999999999999999999T",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        guint64 bytes;
        g_autoptr(GError) error = NULL;
        g_test_message("'%s'", bad[i]);
        g_assert_false(varve_driver_parse_size(bad[i], &bytes, &error));
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
    }
}

/* There is no module beside this program, so zfs is known, and missing for a reason. */
static void
test_missing_module(void)
{
    g_autoptr(GError) found = NULL, probed = NULL;
    g_assert_null(varve_driver_find("zfs", &found));
    g_assert_error(found, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
    g_assert_nonnull(strstr(found->message, "'zfs' is not installed"));
    g_assert_false(varve_driver_all()[1]->probe("/", NULL, &probed));
    g_assert_cmpstr(probed->message, ==, found->message);
}

static void
test_find(void)
{
    static const char *const names[] = {"btrfs", "zfs", "overlay", "native", "mock"};
    const VarveDriver *const *all = varve_driver_all();
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_cmpstr(all[i]->name, ==, names[i]);
        g_assert_true((all[i]->commit == NULL) == (all[i]->reopen == NULL));
        if (!g_str_equal(names[i], "zfs"))
            g_assert_true(varve_driver_find(names[i], NULL) == all[i]);
    }
    g_assert_null(all[G_N_ELEMENTS(names)]);

    g_autoptr(GError) unknown = NULL;
    g_assert_null(varve_driver_find("aufs", &unknown));
    g_assert_error(unknown, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(unknown->message, "btrfs, zfs, overlay, native"));

    g_autoptr(GError) blank = NULL;
    g_assert_null(varve_driver_find("", &blank));
    g_assert_error(blank, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
}

static void
test_auto(void)
{
    /* No driver but native takes a path that is not there. */
    g_assert_true(varve_driver_auto("/nonexistent/varve") == &varve_driver_native);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/settings/unknown", test_unknown);
    g_test_add_func("/settings/types", test_types);
    g_test_add_func("/settings/common", test_common);
    g_test_add_func("/settings/fallbacks", test_fallbacks);
    g_test_add_func("/settings/sizes", test_sizes);
    g_test_add_func("/drivers/find", test_find);
    g_test_add_func("/drivers/missing-module", test_missing_module);
    g_test_add_func("/drivers/auto", test_auto);
    return g_test_run();
}
