/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

gboolean
cli_for_each(const Cli *cli, char **names, CliEachFunc func, gpointer data, GError **error)
{
    g_autoptr(GError) last = NULL;
    for (; *names != NULL && !g_error_matches(last, VARVE_ERROR, VARVE_ERROR_CANCELLED); names++) {
        g_autoptr(GError) failure = NULL;
        if (func(*names, data, &failure))
            continue;
        if (last != NULL)
            cli_report_error(last, NULL, cli->json);
        g_clear_error(&last);
        last = g_steal_pointer(&failure);
    }
    if (last == NULL)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&last));
    return FALSE;
}
