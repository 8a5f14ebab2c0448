/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_RUN_H
#define VARVE_CLI_RUN_H

/* The run command's parts: run.c has the table and the command. */

#include "cli/cli.h"

/* Variables for a container, from files (each line KEY=VALUE, or KEY for the caller's value; empty
 * ones and those that begin with # say nothing) and then from options, of the same two forms. Lists
 * end with NULL, and may be NULL; so does the result. */
char **cli_run_env(char *const *files, char *const *pairs, GError **error);

/* "512m": a number of bytes, or of k, m or g. */
gboolean cli_run_parse_size(const char *option, const char *text, guint64 *size, GError **error);

#endif
