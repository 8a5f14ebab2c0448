/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"
#include <glib/gstdio.h>
#include <string.h>

static void
test_defaults(void)
{
    g_autoptr(VarveConfig) config = varve_config_new();
    g_assert_cmpstr(config->root, ==, "/var/lib/varve");
    g_assert_cmpstr(config->socket, ==, "/run/varve/varved.sock");
    g_assert_null(config->socket_group);
    g_assert_null(config->fallback_pool);
    g_assert_cmpint(config->log_level, ==, VARVE_LOG_INFO);
    g_assert_cmpuint(config->workers, ==, 64);
    g_assert_cmpuint(config->pools->len, ==, 0);
}

static void
test_whole(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveConfig) config = varve_config_parse("x.conf",
                                                       "# comment\n"
                                                       "; another\n"
                                                       "\n"
                                                       "[varved]\r\n"
                                                       "  root=/srv/varve \n"
                                                       "log-level = debug\n"
                                                       "socket-group = containers\n"
                                                       "fallback-pool =\n"
                                                       "workers = 1\n"
                                                       "[pool fast]\n"
                                                       "driver = btrfs\n"
                                                       "file = /srv/a = b.img\n"
                                                       "[pool  slow ]\n",
                                                       &error);
    g_assert_no_error(error);
    g_assert_cmpstr(config->file, ==, "x.conf");
    g_assert_cmpstr(config->root, ==, "/srv/varve");
    g_assert_cmpstr(config->socket, ==, "/run/varve/varved.sock");
    g_assert_cmpstr(config->socket_group, ==, "containers");
    g_assert_null(config->fallback_pool);
    g_assert_cmpint(config->log_level, ==, VARVE_LOG_DEBUG);
    g_assert_cmpuint(config->workers, ==, 1);

    g_assert_cmpuint(config->pools->len, ==, 2);
    const VarveConfigPool *fast = config->pools->pdata[0], *slow = config->pools->pdata[1];
    g_assert_cmpstr(fast->name, ==, "fast");
    g_assert_cmpstr(fast->driver, ==, "btrfs");
    g_assert_cmpuint(fast->line, ==, 10);
    g_assert_cmpuint(fast->driver_line, ==, 11);
    g_assert_cmpstr(slow->name, ==, "slow");
    g_assert_cmpstr(slow->driver, ==, "auto");

    g_autoptr(GHashTable) settings = varve_config_pool_settings(fast);
    g_assert_cmpuint(g_hash_table_size(settings), ==, 1);
    g_assert_cmpstr(g_hash_table_lookup(settings, "file"), ==, "/srv/a = b.img");
    g_assert_cmpuint(g_array_index(fast->settings, VarveConfigSetting, 0).line, ==, 12);
}

static const struct {
    const char *text, *message;
} refusals[] = {
    {"root = /x\n", "f:1: setting 'root' stands before any section"},
    {"[varved]\nlog-levl = info\n",
     "f:2: unknown setting 'log-levl' in [varved]: did you mean 'log-level'?"},
    {"[varved]\n\ncolour-of-sea = blue\n",
     "f:3: unknown setting 'colour-of-sea' in [varved]: there are root, socket, socket-group, "
     "fallback-pool, log-level, workers"},
    {"[varved]\nRoot = /x\n", "f:2: unknown setting 'Root' in [varved]: did you mean 'root'?"},
    {"[varved]\n[pools x]\n",
     "f:2: unknown section [pools x]: there are [varved], [diff], [http], [docker], "
     "[pool NAME] and [host NAME]"},
    {"[pool]\n",
     "f:1: unknown section [pool]: there are [varved], [diff], [http], [docker], [pool NAME] and "
     "[host NAME]"},
    {"[varved\n", "f:1: section without a ']' at its end: '[varved'"},
    {"[varved]\nroot\n", "f:2: neither a [section] nor a 'setting = value': 'root'"},
    {"[varved]\n= x\n", "f:2: neither a [section] nor a 'setting = value': '= x'"},
    {"[varved]\nroot = var\n", "f:2: setting 'root': 'var' is not an absolute path"},
    {"[varved]\nroot =\n", "f:2: setting 'root': '' is not an absolute path"},
    {"[varved]\nworkers = 0\n", "f:2: setting 'workers': '0' is not a number from 1 to 1024"},
    {"[varved]\nworkers = 12x\n", "f:2: setting 'workers': '12x' is not a number from 1 to 1024"},
    {"[varved]\nlog-level = loud\n",
     "f:2: setting 'log-level': unknown log level 'loud': use error, warning, info or debug"},
    {"[varved]\nroot = /x\nroot = /x\n", "f:3: setting 'root' was already given in line 2"},
    {"[varved]\n[pool a]\n[varved]\n", "f:3: section [varved] was already given in line 1"},
    {"[pool a]\n[pool b]\n[pool  a]\n", "f:3: section [pool a] was already given in line 1"},
    {"[pool a]\ndriver=x\ndriver=y\n", "f:3: setting 'driver' was already given in line 2"},
    {"[diff]\nroot = /x\n", "f:2: unknown setting 'root' in [diff]: there are content, containerd"},
    {"[diff]\ncontents = /x\n",
     "f:2: unknown setting 'contents' in [diff]: did you mean 'content'?"},
    {"[varved]\ncontainerd = /x\n",
     "f:2: unknown setting 'containerd' in [varved]: there are root, socket, socket-group, "
     "fallback-pool, log-level, workers"},
    {"[diff]\ncontent = x\n", "f:2: setting 'content': 'x' is not an absolute path"},
    {"[diff]\n[diff]\n", "f:2: section [diff] was already given in line 1"},
    {"[pool a]\npath=/x\npath=/y\n", "f:3: setting 'path' was already given in line 2"},
};

static void
test_refusals(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(varve_config_parse("f", refusals[i].text, &error));
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
        g_assert_cmpstr(error->message, ==, refusals[i].message);
    }
}

/* The same names may stand in different sections. */
static void
test_same_names(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveConfig) config = varve_config_parse(
        "f", "[pool varved]\npath=/a\n[varved]\nroot=/x\n[pool b]\npath=/a\n", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(config->pools->len, ==, 2);
}

static void
test_diff(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveConfig) none = varve_config_parse("f", "[diff]\ncontent =\n", &error);
    g_assert_no_error(error);
    g_assert_null(none->diff_content);
    g_assert_null(none->diff_containerd);
    g_autoptr(VarveConfig) both =
        varve_config_parse("f", "[diff]\ncontent = /a b\n[pool x]\n[varved]\n", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(both->diff_content, ==, "/a b");
    g_assert_null(both->diff_containerd);
}

static void
write_and_load(const char *text, gsize length, GError **error)
{
    g_autofree char *file = NULL;
    int fd = g_file_open_tmp("varve-XXXXXX", &file, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_close(fd, NULL);
    g_assert_true(g_file_set_contents(file, text, (gssize)length, NULL));
    g_autoptr(VarveConfig) config = varve_config_load(file, error);
    g_assert_cmpint(config == NULL, ==, *error != NULL);
    g_unlink(file);
}

static void
test_files(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(varve_config_load("/nonexistent/varved.conf", &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_null(varve_config_load("/", &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);

    write_and_load("", 0, &error);
    g_assert_no_error(error);
    static const char nul[] = "[varved]\nroot = /x\0y\n";
    write_and_load(nul, sizeof(nul) - 1, &error);
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    write_and_load("[varved]\nroot = /\xff\n", 18, &error);
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
}

/* What `varved --help-config` prints is a configuration, commented in or out. */
static void
test_describe(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    varve_config_describe(text);
    g_auto(GStrv) lines = g_strsplit(text->str, "\n", -1);
    g_autoptr(GString) active = g_string_new(NULL);
    guint settings = 0;
    for (char **line = lines; *line != NULL; line++) {
        gboolean is_setting = **line == '#' && (*line)[1] != ' ';
        settings += is_setting;
        g_assert_cmpuint(strlen(*line), <=, 100);
        g_string_append_printf(active, "%s\n", *line + is_setting);
    }
    g_autoptr(VarveConfig) config = varve_config_parse("f", active->str, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(settings, ==, 17);
    g_assert_cmpstr(config->root, ==, "/var/lib/varve");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/config/defaults", test_defaults);
    g_test_add_func("/config/whole", test_whole);
    g_test_add_func("/config/refusals", test_refusals);
    g_test_add_func("/config/same-names", test_same_names);
    g_test_add_func("/config/diff", test_diff);
    g_test_add_func("/config/files", test_files);
    g_test_add_func("/config/describe", test_describe);
    return g_test_run();
}
