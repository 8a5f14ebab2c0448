/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_PROGRESS_H
#define VARVE_CLI_PROGRESS_H

/*
 * What operations on images tell of their progress, on stderr:
 *
 *     on a terminal      a line for each item, drawn in place, and one for all of them
 *     with --progress    a line for each change, or with --json an object on a line of its own:
 *                        {"progress": {"item": "sha256:...", "kind": "layer", "stage": "fetching",
 *                         "done": 1, "total": 2}}
 *     otherwise          nothing
 */

#include "cli/cli.h"

typedef struct CliProgress CliProgress;

/* lines: --progress was given. */
CliProgress *cli_progress_new(const Cli *cli, VarveImages *images, gboolean lines);

/* Takes it off the terminal. */
void cli_progress_free(CliProgress *progress);

/* Says in a line what was done, where progress was shown and is not JSON: "fetched 3 of 5". */
void cli_progress_sum_up(CliProgress *progress, const char *verb, const VarveImageMoved *moved);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CliProgress, cli_progress_free)

#endif
