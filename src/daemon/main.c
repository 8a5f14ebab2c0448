/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/daemon.h"
#include "daemon/log-writer.h"
#include "daemon/pools.h"
#include "daemon/signals.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define EXIT_USAGE 2

typedef struct {
    VarveDaemonOptions daemon;
    gboolean check_config, help_config, version;
} Options;

static gboolean
parse_options(int argc, char **argv, Options *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"root", 0, 0, G_OPTION_ARG_FILENAME, &options->daemon.root,
         "Directory of the store and the pools", "DIR"},
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &options->daemon.socket, "Unix socket to listen on",
         "PATH"},
        {"config", 0, 0, G_OPTION_ARG_FILENAME, &options->daemon.config,
         "Configuration file (default: /etc/varve/varved.conf, if it exists)", "FILE"},
        {"log-level", 0, 0, G_OPTION_ARG_STRING, &options->daemon.log_level,
         "error, warning, info or debug", "LEVEL"},
        {"check-config", 0, 0, G_OPTION_ARG_NONE, &options->check_config,
         "Check the configuration and exit", NULL},
        {"help-config", 0, 0, G_OPTION_ARG_NONE, &options->help_config,
         "Print a configuration with every setting explained", NULL},
        {"version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version", NULL},
        {NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_set_summary(context,
                                 "Serves containerd's snapshot and diff APIs from Varve's pools.");
    g_option_context_set_description(context, "Options win over the configuration file. See "
                                              "varved(8) and varved.conf(5).");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, error))
        return FALSE;
    if (argc == 1)
        return TRUE;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "unexpected argument '%s'",
                argv[1]);
    return FALSE;
}

static void
clear_options(Options *options)
{
    g_free(options->daemon.root);
    g_free(options->daemon.socket);
    g_free(options->daemon.config);
    g_free(options->daemon.log_level);
}

/* Two heaps serve all workers without much waiting, and keep what is resident small: by default
 * there would be eight for each processor. Every connection and pool holds descriptors. */
static void
set_limits(void)
{
    mallopt(M_ARENA_MAX, 2);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int
print_config_help(void)
{
    g_autoptr(GString) text =
        g_string_new("# varved.conf(5). What is commented out stands at its default.\n\n");
    varve_config_describe(text);
    varve_config_describe_hosts(text);
    varve_pools_describe(text);
    fputs(text->str, stdout);
    return EXIT_SUCCESS;
}

static int
check_config(const VarveDaemonOptions *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveConfig) config = varve_daemon_load(options, &error);
    if (config != NULL)
        return EXIT_SUCCESS;
    fprintf(stderr, "varved: %s\n", error->message);
    return varve_error_exit_status(error);
}

static int
run(const VarveDaemonOptions *options)
{
    g_autoptr(GError) error = NULL;
    varve_log_writer_install();
    varve_signals_block();
    set_limits();
    if (varve_daemon_run(options, &error))
        return EXIT_SUCCESS;
    varve_log(VARVE_LOG_ERROR, "varved cannot go on", "error", error->message, NULL);
    return varve_error_exit_status(error);
}

static int
dispatch(const Options *options)
{
    if (options->version) {
        puts("varved " VARVE_VERSION);
        return EXIT_SUCCESS;
    }
    if (options->help_config)
        return print_config_help();
    return options->check_config ? check_config(&options->daemon) : run(&options->daemon);
}

int
main(int argc, char **argv)
{
    Options options = {0};
    g_autoptr(GError) error = NULL;
    int status = EXIT_USAGE;
    if (parse_options(argc, argv, &options, &error))
        status = dispatch(&options);
    else
        fprintf(stderr, "varved: %s\nTry 'varved --help'.\n", error->message);
    clear_options(&options);
    return status;
}
