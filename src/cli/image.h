/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_IMAGE_H
#define VARVE_CLI_IMAGE_H

/* The image noun's parts: image.c has the table and the verbs that change images. */

#include "cli/cli.h"

/* The values of its verbs' options. */
extern struct CliImageOptions {
    char *name, *only, *output, *format, *platform;
    char *from, *author, *message, *compression;
    char **changes;
    gboolean full, raw, progress;
} cli_image_options;

/* Reads --platform: NULL when it is not given; FALSE when it is wrong. */
gboolean cli_image_platform(VarvePlatform **platform, GError **error);

/* Prints what was unpacked: the snapshot's name, or with --json an object. */
void cli_print_unpacked(const Cli *cli, const VarveImageUnpacked *unpacked);

/* --- image-commit.c ------------------------------------------------------------------------ */

gboolean cli_image_commit(const Cli *cli, char **args, GError **error);

/* --- image-show.c -------------------------------------------------------------------------- */

/* What import or pull made: names, or with --json objects. */
void cli_print_images(const Cli *cli, GPtrArray *infos);

gboolean cli_image_ls(const Cli *cli, char **args, GError **error);
gboolean cli_image_inspect(const Cli *cli, char **args, GError **error);
gboolean cli_image_history(const Cli *cli, char **args, GError **error);

/* --- image-registry.c ---------------------------------------------------------------------- */

extern const GOptionEntry cli_image_pull_options[];
extern const GOptionEntry cli_image_push_options[];

gboolean cli_image_pull(const Cli *cli, char **args, GError **error);
gboolean cli_image_push(const Cli *cli, char **args, GError **error);

#endif
