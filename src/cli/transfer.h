/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_TRANSFER_H
#define VARVE_CLI_TRANSFER_H

/* What sending and receiving have in common, whatever noun it is for. */

#include "cli/cli.h"

extern struct CliTransferOptions {
    char **base, **accept;
    char *haves_from, *format, *compression, *resume;
    gboolean keep;
} cli_transfer_options;

extern const GOptionEntry cli_send_options[];

#define CLI_KEEP_OPTION                                                                            \
    {                                                                                              \
        "keep", 'k', 0, G_OPTION_ARG_NONE, &cli_transfer_options.keep,                             \
            "keep what came when it breaks off, to go on with", NULL                               \
    }

/* The universal id of what --base names, unless that is one itself; NULL with the error set. */
typedef char *(*CliBaseFunc)(const Cli *cli, VarvePool *pool, const char *base, GError **error);

/* Sends a snapshot to standard output, as the options say. */
gboolean cli_transfer_send(const Cli *cli, VarvePool *pool, const char *key, CliBaseFunc find_base,
                           GError **error);

/* Receives from standard input. */
typedef gboolean (*CliReceiveFunc)(VarveSource source, const VarveReceiveOptions *options,
                                   VarveTransfer *transfer, gpointer data, GError **error);

/* Calls func, with what the options say in addition to *options; tells of it on stderr, or how to
 * go on when it broke off. */
gboolean cli_transfer_receive(const Cli *cli, const VarveReceiveOptions *options,
                              CliReceiveFunc func, gpointer data, VarveTransfer *transfer,
                              GError **error);

/* How far a transfer is, drawn on a terminal in place of the engine's progress; data is a drawing
 * whose verb is set. NULL: there is no terminal. */
typedef struct {
    const char *verb;     /* "sending" */
    gint64 started, last; /* 0: not yet */
    guint64 first;        /* bytes that were there when it began */
} CliTransferDrawing;
VarveTransferProgressFunc cli_transfer_show_progress(const Cli *cli);

/* Tells of it in a line on stderr: "sent 'db-monday', the difference: ...". */
void cli_transfer_tell(const char *done, const VarveTransfer *transfer);

/* Tells of what was sent or received on standard output, as JSON. */
void cli_transfer_print(const VarveTransfer *transfer);

#endif
