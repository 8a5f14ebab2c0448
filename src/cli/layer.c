/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/layer.h"
#include "cli/cli.h"
#include "cli/text.h"
#include <stdio.h>

gboolean
cli_layer_compression(const char *text, VarveLayerCompression *compression, GError **error)
{
    static const char *const names[] = {
        [VARVE_LAYER_GZIP] = "gzip", [VARVE_LAYER_ZSTD] = "zstd", [VARVE_LAYER_PLAIN] = "none"};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (text == NULL || g_str_equal(text, names[i])) {
            *compression = (VarveLayerCompression)i;
            return TRUE;
        }
    }
    return cli_usage_error(error, "--compression is gzip, zstd or none, not '%s'", text);
}

void
cli_layer_to_json(json_t *object, const VarveLayer *layer)
{
    cli_json_set(object, "diff_id", layer->diff_id);
    cli_json_set(object, "digest", layer->digest);
    cli_json_set(object, "media_type", layer->media_type);
    cli_json_set_int(object, "size", layer->size);
    cli_json_set_int(object, "bytes", layer->plain);
    cli_json_set_int(object, "entries", layer->entries);
    cli_json_set_int(object, "whiteouts", layer->whiteouts);
    cli_json_set_int(object, "sockets", layer->sockets);
    cli_json_set_int(object, "changed_meanwhile", layer->unquiet);
}

void
cli_layer_report(const VarveLayer *layer)
{
    g_autofree char *plain = cli_format_size(layer->plain);
    g_autofree char *size = cli_format_size(layer->size);
    fprintf(stderr, "%" G_GUINT64_FORMAT " entries, %s, compressed %s\n", layer->entries, plain,
            size);
    if (layer->unquiet > 0)
        fprintf(stderr, "varve: %" G_GUINT64_FORMAT " files changed while they were read\n",
                layer->unquiet);
}
