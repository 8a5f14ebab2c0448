/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/names.h"
#include "cli/text.h"
#include <stdio.h>
#include <unistd.h>

struct CliNames cli_names;

const GOptionEntry cli_names_options[] = {
    {"quiet", 'q', 0, G_OPTION_ARG_NONE, &cli_names.quiet, "print the names only, one to a line",
     NULL},
    {"null", '0', 0, G_OPTION_ARG_NONE, &cli_names.null,
     "print the names only, each ended by a NUL byte", NULL},
    {NULL},
};

gboolean
cli_names_wanted(void)
{
    return cli_names.quiet || cli_names.null;
}

void
cli_names_print(const char *name)
{
    g_autofree char *escaped = isatty(STDOUT_FILENO) ? cli_escape(name) : NULL;
    fputs(escaped != NULL ? escaped : name, stdout);
    putchar(cli_names.null ? '\0' : '\n');
}
