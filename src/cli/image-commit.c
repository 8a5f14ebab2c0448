/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image.h"
#include "cli/layer.h"
#include <stdio.h>
#include <string.h>

#define option cli_image_options

/* What makes builds repeatable: https://reproducible-builds.org/specs/source-date-epoch/ */
static gboolean
read_source_date(VarveImageCommit *wish, GError **error)
{
    const char *text = g_getenv("SOURCE_DATE_EPOCH");
    guint64 seconds;
    if (text == NULL || *text == '\0')
        return TRUE;
    if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, &seconds, NULL))
        return cli_usage_error(error, "SOURCE_DATE_EPOCH is a number of seconds, not '%s'", text);
    wish->has_created = TRUE;
    wish->created = (gint64)seconds;
    return TRUE;
}

static void
print_image(const Cli *cli, const VarveImageInfo *info, const VarveLayer *layer)
{
    cli_clear_progress();
    if (!cli->json) {
        printf("%s\n", info->name);
        cli_layer_report(layer);
        return;
    }
    json_t *object = json_object(), *made = json_object();
    cli_json_set(object, "name", info->name);
    cli_json_set(object, "digest", info->digest);
    cli_json_set(object, "media_type", info->media_type);
    cli_layer_to_json(made, layer);
    json_object_set_new(object, "layer", made);
    cli_json_print(object);
}

gboolean
cli_image_commit(const Cli *cli, char **args, GError **error)
{
    g_auto(VarveLayer) layer = {0};
    VarveImageCommit wish = {
        .from = option.from,
        .author = option.author,
        .message = option.message,
        .changes = (const char *const *)option.changes,
    };
    if (!cli_layer_compression(option.compression, &wish.layer.compression, error) ||
        !read_source_date(&wish, error))
        return FALSE;
    g_autoptr(VarveImages) images = varve_images_open(cli->engine, error);
    if (images == NULL)
        return FALSE;
    g_autoptr(VarveImageInfo) info =
        varve_images_commit(images, cli->pool, args[0], args[1], &wish, &layer, error);
    if (info == NULL)
        return FALSE;
    print_image(cli, info, &layer);
    return TRUE;
}
