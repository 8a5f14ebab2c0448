/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_REMOTE_H
#define VARVE_CLI_REMOTE_H

/* The options of verbs that speak to a registry: how it is spoken to. */

#include "cli/cli.h"

extern struct CliRemoteOptions {
    char *ca, *certs, *creds, *password_file, *auth_file;
    char **mirrors;
    gboolean plain_http, progress;
    gint jobs, retries;
} cli_remote_options;

/* Entries of a verb's table. */
#define CLI_MIRROR_OPTION                                                                          \
    {                                                                                              \
        "mirror", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &cli_remote_options.mirrors,                  \
            "try this first; may be given several times", "HOST[:PORT][/PATH]"                     \
    }
#define CLI_JOBS_OPTION                                                                            \
    {                                                                                              \
        "jobs", 'j', 0, G_OPTION_ARG_INT, &cli_remote_options.jobs,                                \
            "blobs at the same time (default: 3)", "N"                                             \
    }
#define CLI_REMOTE_OPTIONS                                                                         \
    {"creds",                                                                                      \
     0,                                                                                            \
     0,                                                                                            \
     G_OPTION_ARG_FILENAME,                                                                        \
     &cli_remote_options.creds,                                                                    \
     "who to be there; others on this machine can see a password here",                            \
     "USER[:PASSWORD]"},                                                                           \
        {"password-file",                                                                          \
         0,                                                                                        \
         0,                                                                                        \
         G_OPTION_ARG_FILENAME,                                                                    \
         &cli_remote_options.password_file,                                                        \
         "where the password is, in the first line; - is standard input",                          \
         "FILE"},                                                                                  \
        {"auth-file",                                                                              \
         0,                                                                                        \
         0,                                                                                        \
         G_OPTION_ARG_FILENAME,                                                                    \
         &cli_remote_options.auth_file,                                                            \
         "Docker's configuration, with credentials (default: ~/.docker/config.json)",              \
         "FILE"},                                                                                  \
        {"plain-http",                                                                             \
         0,                                                                                        \
         0,                                                                                        \
         G_OPTION_ARG_NONE,                                                                        \
         &cli_remote_options.plain_http,                                                           \
         "the registry may be spoken to without TLS",                                              \
         NULL},                                                                                    \
        {"ca",                                                                                     \
         0,                                                                                        \
         0,                                                                                        \
         G_OPTION_ARG_FILENAME,                                                                    \
         &cli_remote_options.ca,                                                                   \
         "certificates that are trusted beside the system's",                                      \
         "FILE"},                                                                                  \
        {"certs",                                                                                  \
         0,                                                                                        \
         0,                                                                                        \
         G_OPTION_ARG_FILENAME,                                                                    \
         &cli_remote_options.certs,                                                                \
         "certificates by host (default: /etc/docker/certs.d)",                                    \
         "DIR"},                                                                                   \
        {"retries",                                                                                \
         0,                                                                                        \
         0,                                                                                        \
         G_OPTION_ARG_INT,                                                                         \
         &cli_remote_options.retries,                                                              \
         "how often in succession to try again (default: 5)",                                      \
         "N"},                                                                                     \
    {                                                                                              \
        "progress", 0, 0, G_OPTION_ARG_NONE, &cli_remote_options.progress,                         \
            "tell each step on standard error, with --json as JSON", NULL                          \
    }

/* What they say. */
typedef struct {
    VarveImageRemote remote;
    char *user, *password;
} CliRemote;

gboolean cli_remote_read(CliRemote *remote, GError **error);
void cli_remote_clear(CliRemote *remote);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CliRemote, cli_remote_clear)

#endif
