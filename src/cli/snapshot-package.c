/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/layer.h"
#include "cli/snapshot.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define option cli_snapshot_options

/* What tells of the layer goes where the layer does not. */
static void
print_layer(const Cli *cli, const VarveLayer *layer, gboolean to_stdout)
{
    cli_clear_progress();
    if (cli->json) {
        json_t *object = json_object();
        cli_layer_to_json(object, layer);
        if (!to_stdout) {
            cli_json_print(object);
            return;
        }
        json_dumpf(object, stderr, JSON_COMPACT | JSON_ENSURE_ASCII);
        fputc('\n', stderr);
        json_decref(object);
        return;
    }
    if (!to_stdout)
        printf("%s\n", layer->diff_id);
    cli_layer_report(layer);
}

static gboolean
package_to(const Cli *cli, const char *key, VarveLayerCompression compression, int fd,
           GError **error)
{
    g_auto(VarveLayer) layer = {0};
    const VarveLayerOptions options = {.compression = compression};
    if (!varve_snapshot_package(cli->pool, key, &options, fd, &layer, error))
        return FALSE;
    print_layer(cli, &layer, fd == STDOUT_FILENO);
    return TRUE;
}

static gboolean
fail_output(GError **error, const char *doing)
{
    g_set_error(error, VARVE_ERROR,
                errno == EEXIST   ? VARVE_ERROR_ALREADY_EXISTS
                : errno == ENOSPC ? VARVE_ERROR_NO_SPACE
                                  : VARVE_ERROR_INTERNAL,
                "%s %s: %s", doing, option.output, strerror(errno));
    return FALSE;
}

static gboolean
package_to_file(const Cli *cli, const char *key, VarveLayerCompression compression, GError **error)
{
    int fd = open(option.output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return fail_output(error, "making");
    gboolean ok = package_to(cli, key, compression, fd, error);
    if (close(fd) < 0 && ok)
        ok = fail_output(error, "writing");
    if (!ok)
        (void)unlink(option.output);
    return ok;
}

gboolean
cli_snapshot_package(const Cli *cli, char **args, GError **error)
{
    VarveLayerCompression compression;
    if (!cli_layer_compression(option.compression, &compression, error))
        return FALSE;
    if (option.output == NULL)
        return cli_usage_error(error, "--output says where to: a file, or - for standard output");
    if (!g_str_equal(option.output, "-"))
        return package_to_file(cli, args[0], compression, error);
    if (isatty(STDOUT_FILENO))
        return cli_usage_error(error, "a layer is nothing for a terminal");
    return package_to(cli, args[0], compression, STDOUT_FILENO, error);
}
