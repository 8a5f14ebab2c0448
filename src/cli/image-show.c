/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image.h"
#include "cli/json.h"
#include "cli/names.h"
#include "cli/table.h"
#include "cli/text.h"
#include <stdio.h>
#include <string.h>

/* --- lists --------------------------------------------------------------------------------- */

static json_t *
platforms_to_json(GPtrArray *platforms)
{
    json_t *array = json_array();
    for (guint i = 0; i < platforms->len; i++) {
        g_autofree char *text = varve_platform_format(g_ptr_array_index(platforms, i));
        json_array_append_new(array, json_string(text));
    }
    return array;
}

static json_t *
info_to_json(const VarveImageInfo *info)
{
    json_t *object = json_object();
    cli_json_set(object, "name", info->name);
    cli_json_set(object, "digest", info->digest);
    cli_json_set(object, "media_type", info->media_type);
    cli_json_set_time(object, "created", info->created);
    cli_json_set_time(object, "updated", info->updated);
    cli_json_set_int(object, "size", info->size);
    cli_json_set_int(object, "blobs", info->blobs);
    json_object_set_new(object, "platforms", platforms_to_json(info->platforms));
    json_object_set_new(object, "complete", json_boolean(info->complete));
    return object;
}

static char *
join_platforms(const VarveImageInfo *info)
{
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < info->platforms->len; i++) {
        g_autofree char *platform = varve_platform_format(g_ptr_array_index(info->platforms, i));
        g_string_append_printf(text, "%s%s", i > 0 ? ", " : "", platform);
    }
    g_autofree char *joined = g_string_free(text, FALSE);
    return *joined != '\0' ? cli_escape(joined) : g_strdup("-");
}

static void
print_rows(GPtrArray *infos)
{
    gboolean full = cli_image_options.full;
    g_autoptr(CliTable) table = cli_table_new("NAME|DIGEST|PLATFORMS|>SIZE|UPDATED");
    for (guint i = 0; i < infos->len; i++) {
        const VarveImageInfo *info = g_ptr_array_index(infos, i);
        g_autofree char *familiar = varve_image_name_familiar(info->name);
        cli_table_add(table, cli_escape(full ? info->name : familiar),
                      cli_display_name(info->digest, full), join_platforms(info),
                      cli_format_size(info->size),
                      full ? cli_format_time(info->updated) : cli_format_age(info->updated));
    }
    cli_table_print(table);
}

static void
print_json(GPtrArray *infos)
{
    gsize count = 0;
    for (guint i = 0; i < infos->len; i++)
        cli_json_list_add(&count, info_to_json(g_ptr_array_index(infos, i)));
    cli_json_list_end(&count);
}

void
cli_print_images(const Cli *cli, GPtrArray *infos)
{
    if (cli->json)
        print_json(infos);
    for (guint i = 0; i < infos->len && !cli->json; i++) {
        const VarveImageInfo *info = g_ptr_array_index(infos, i);
        puts(info->name);
    }
}

gboolean
cli_image_ls(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveImages) images = varve_images_open(cli->engine, error);
    if (images == NULL)
        return FALSE;
    g_autoptr(GPtrArray) infos = varve_images_list(images, error);
    if (infos == NULL)
        return FALSE;
    if (cli->json && !cli_names_wanted())
        print_json(infos);
    else if (!cli_names_wanted())
        print_rows(infos);
    for (guint i = 0; i < infos->len && cli_names_wanted(); i++)
        cli_names_print(((VarveImageInfo *)g_ptr_array_index(infos, i))->name);
    return TRUE;
}

/* --- one image ----------------------------------------------------------------------------- */

static VarveImageDetails *
look_up(const Cli *cli, const char *name, GError **error)
{
    g_autoptr(VarvePlatform) platform = NULL;
    if (!cli_image_platform(&platform, error))
        return NULL;
    g_autoptr(VarveImages) images = varve_images_open(cli->engine, error);
    return images != NULL ? varve_images_inspect(images, name, platform, error) : NULL;
}

static json_t *
blob_to_json(const VarveImageBlob *blob)
{
    json_t *object = json_object();
    cli_json_set(object, "digest", blob->digest);
    cli_json_set(object, "media_type", blob->media_type);
    cli_json_set_int(object, "size", blob->size);
    json_object_set_new(object, "present", json_boolean(blob->present));
    return object;
}

static json_t *
history_to_json(const VarveImageHistory *history)
{
    json_t *object = json_object();
    cli_json_set(object, "created", history->created);
    cli_json_set(object, "created_by", history->created_by);
    cli_json_set(object, "author", history->author);
    cli_json_set(object, "comment", history->comment);
    json_object_set_new(object, "layer",
                        history->layer < 0 ? json_null() : json_integer(history->layer));
    return object;
}

static json_t *
config_to_json(const VarveImageConfig *config)
{
    json_t *object = json_object(), *history = json_array();
    cli_json_set(object, "created", config->created);
    cli_json_set(object, "author", config->author);
    cli_json_set(object, "user", config->user);
    cli_json_set(object, "working_dir", config->working_dir);
    cli_json_set(object, "stop_signal", config->stop_signal);
    cli_json_set_strings(object, "env", config->env);
    cli_json_set_strings(object, "cmd", config->cmd);
    cli_json_set_strings(object, "entrypoint", config->entrypoint);
    cli_json_set_strings(object, "volumes", config->volumes);
    cli_json_set_strings(object, "exposed_ports", config->exposed_ports);
    cli_json_set_pairs(object, "labels", config->labels);
    cli_json_set_strings(object, "diff_ids", config->diff_ids);
    for (guint i = 0; i < config->history->len; i++)
        json_array_append_new(history, history_to_json(g_ptr_array_index(config->history, i)));
    json_object_set_new(object, "history", history);
    return object;
}

static void
print_details_json(const VarveImageDetails *details)
{
    json_t *object = json_object(), *layers = json_array();
    g_autofree char *platform =
        details->platform != NULL ? varve_platform_format(details->platform) : NULL;
    cli_json_set(object, "name", details->name);
    cli_json_set(object, "digest", details->digest);
    cli_json_set(object, "media_type", details->media_type);
    cli_json_set(object, "artifact_type", details->artifact_type);
    cli_json_set(object, "platform", platform);
    cli_json_set(object, "chain_id", details->chain_id);
    cli_json_set_pairs(object, "annotations", details->annotations);
    json_object_set_new(object, "config_blob",
                        details->config_blob != NULL ? blob_to_json(details->config_blob)
                                                     : json_null());
    for (guint i = 0; i < details->layers->len; i++)
        json_array_append_new(layers, blob_to_json(g_ptr_array_index(details->layers, i)));
    json_object_set_new(object, "layers", layers);
    json_object_set_new(object, "config",
                        details->config != NULL ? config_to_json(details->config) : json_null());
    cli_json_print(object);
}

static void
add_text(CliTable *table, const char *name, const char *text)
{
    if (*text != '\0')
        cli_table_add(table, g_strdup(name), cli_escape(text));
}

static void
add_list(CliTable *table, const char *name, char **list)
{
    for (; *list != NULL; list++)
        cli_table_add(table, g_strdup(name), cli_escape(*list));
}

static void
add_pairs(CliTable *table, const char *name, GHashTable *pairs)
{
    g_autofree const char **keys = cli_sorted_keys(pairs);
    for (gsize i = 0; keys[i] != NULL; i++) {
        g_autofree char *pair =
            g_strdup_printf("%s=%s", keys[i], (char *)g_hash_table_lookup(pairs, keys[i]));
        cli_table_add(table, g_strdup(name), cli_escape(pair));
    }
}

static void
add_config(CliTable *table, const VarveImageConfig *config)
{
    add_text(table, "built", config->created);
    add_text(table, "author", config->author);
    add_text(table, "user", config->user);
    add_text(table, "directory", config->working_dir);
    add_list(table, "entrypoint", config->entrypoint);
    add_list(table, "command", config->cmd);
    add_text(table, "stop signal", config->stop_signal);
    add_list(table, "environment", config->env);
    add_list(table, "volume", config->volumes);
    add_list(table, "port", config->exposed_ports);
    add_pairs(table, "label", config->labels);
}

static void
add_layers(CliTable *table, GPtrArray *layers)
{
    for (guint i = 0; i < layers->len; i++) {
        const VarveImageBlob *layer = g_ptr_array_index(layers, i);
        g_autofree char *size = cli_format_size(layer->size);
        g_autofree char *text =
            g_strdup_printf("%s  %s  %s%s", layer->digest, size, layer->media_type,
                            layer->present ? "" : "  (not here)");
        cli_table_add(table, g_strdup_printf("layer %u", i), cli_escape(text));
    }
}

static void
print_details(const VarveImageDetails *details)
{
    g_autoptr(CliTable) table = cli_table_new("|");
    add_text(table, "name", details->name);
    add_text(table, "digest", details->digest);
    add_text(table, "media type", details->media_type);
    add_text(table, "artifact type", details->artifact_type);
    if (details->platform != NULL) {
        g_autofree char *platform = varve_platform_format(details->platform);
        add_text(table, "platform", platform);
    }
    if (details->config_blob != NULL)
        add_text(table, "config", details->config_blob->digest);
    add_text(table, "chain id", details->chain_id);
    add_pairs(table, "annotation", details->annotations);
    if (details->config != NULL)
        add_config(table, details->config);
    add_layers(table, details->layers);
    cli_table_print(table);
}

gboolean
cli_image_inspect(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveImageDetails) details = look_up(cli, args[0], error);
    if (details == NULL)
        return FALSE;
    if (cli_image_options.raw)
        fputs(details->manifest_text, stdout);
    else if (cli->json)
        print_details_json(details);
    else
        print_details(details);
    return TRUE;
}

/* --- history ------------------------------------------------------------------------------- */

/* The newest first, as the last line is what a terminal shows of a long list's beginning. */
static void
print_history(const VarveImageDetails *details)
{
    gboolean full = cli_image_options.full;
    GPtrArray *history = details->config->history;
    g_autoptr(CliTable) table = cli_table_new("CREATED|>SIZE|LAYER|CREATED BY");
    for (guint i = history->len; i-- > 0;) {
        const VarveImageHistory *item = g_ptr_array_index(history, i);
        const VarveImageBlob *layer = item->layer >= 0 && item->layer < details->layers->len
                                          ? g_ptr_array_index(details->layers, (guint)item->layer)
                                          : NULL;
        g_autofree char *by = g_strdup(item->created_by);
        g_autofree char *created = g_strndup(item->created, full ? strlen(item->created) : 10);
        cli_table_add(table, *created != '\0' ? cli_escape(created) : g_strdup("-"),
                      layer != NULL ? cli_format_size(layer->size) : g_strdup("-"),
                      layer != NULL ? cli_display_name(layer->digest, full) : g_strdup("-"),
                      full ? cli_escape(by) : cli_display_name(by, FALSE));
    }
    cli_table_print(table);
}

gboolean
cli_image_history(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveImageDetails) details = look_up(cli, args[0], error);
    if (details == NULL)
        return FALSE;
    if (details->config == NULL) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION,
                    "image '%s' has no history: it is no image that can be run", details->name);
        return FALSE;
    }
    if (!cli->json) {
        print_history(details);
        return TRUE;
    }
    gsize count = 0;
    for (guint i = 0; i < details->config->history->len; i++)
        cli_json_list_add(&count, history_to_json(g_ptr_array_index(details->config->history, i)));
    cli_json_list_end(&count);
    return TRUE;
}
