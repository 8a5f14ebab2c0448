/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_NAMES_H
#define VARVE_CLI_NAMES_H

/* Bare lists of names: what -q and -0 ask for, for scripts. */

#include <glib.h>

/* The options' values; verbs that have them say so in their table (CliVerb.lists_names). */
extern struct CliNames {
    gboolean quiet, null;
} cli_names;

extern const GOptionEntry cli_names_options[];

/* Whether names alone are asked for. */
gboolean cli_names_wanted(void);

/* Prints one: its very bytes, but to a terminal escaped. */
void cli_names_print(const char *name);

#endif
