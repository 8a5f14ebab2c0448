/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "image/oci.h"
#include "image/platform.h"

/* An image's config: config.md of the OCI image specification. */

#define MAX_ITEMS   65536 /* of environment variables, labels, volumes, ... */
#define MAX_HISTORY 65536

static void
history_free(VarveImageHistory *history)
{
    g_free(history->created);
    g_free(history->created_by);
    g_free(history->author);
    g_free(history->comment);
    g_free(history);
}

void
varve_image_config_free(VarveImageConfig *config)
{
    if (config == NULL)
        return;
    varve_platform_clear(&config->platform);
    g_free(config->created);
    g_free(config->author);
    g_free(config->user);
    g_free(config->working_dir);
    g_free(config->stop_signal);
    g_strfreev(config->env);
    g_strfreev(config->cmd);
    g_strfreev(config->entrypoint);
    g_strfreev(config->volumes);
    g_strfreev(config->exposed_ports);
    g_strfreev(config->diff_ids);
    g_clear_pointer(&config->labels, g_hash_table_unref);
    g_clear_pointer(&config->history, g_ptr_array_unref);
    g_free(config);
}

/* A copy; "" when it is absent. */
static gboolean
get_text(const json_t *object, const char *key, char **value, GError **error)
{
    const char *found = NULL;
    if (!varve_json_get_string(object, key, &found, error))
        return FALSE;
    *value = g_strdup(found != NULL ? found : "");
    return TRUE;
}

static gboolean
parse_platform(const json_t *object, VarvePlatform *platform, GError **error)
{
    const char *os = NULL, *architecture = NULL, *variant = NULL, *os_version = NULL;
    if (!varve_json_get_string(object, "os", &os, error) ||
        !varve_json_get_string(object, "architecture", &architecture, error) ||
        !varve_json_get_string(object, "variant", &variant, error) ||
        !varve_json_get_string(object, "os.version", &os_version, error))
        return FALSE;
    g_autoptr(VarvePlatform) normal = varve_platform_new(os, architecture, variant, os_version);
    *platform = *normal;
    *normal = (VarvePlatform){0};
    return TRUE;
}

static gboolean
parse_rootfs(const json_t *object, VarveImageConfig *config, GError **error)
{
    const char *type = NULL;
    json_t *rootfs;
    if (!varve_json_get_object(object, "rootfs", &rootfs, error))
        return FALSE;
    if (rootfs == NULL)
        return varve_json_missing("rootfs", error);
    if (!varve_json_get_string(rootfs, "type", &type, error) ||
        !varve_json_get_strings(rootfs, "diff_ids", VARVE_MAX_LAYERS, &config->diff_ids, error))
        return varve_json_within(error, "rootfs.");
    if (type != NULL && !g_str_equal(type, "layers"))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "rootfs.type: must be \"layers\"");
    for (gsize i = 0; config->diff_ids != NULL && config->diff_ids[i] != NULL; i++) {
        if (!varve_digest_check(config->diff_ids[i], error))
            return varve_json_within(error, "rootfs.diff_ids[%zu]: ", i);
    }
    return TRUE;
}

static gboolean
parse_process(const json_t *object, VarveImageConfig *config, GError **error)
{
    json_t *process;
    if (!varve_json_get_object(object, "config", &process, error))
        return FALSE;
    return (get_text(process, "User", &config->user, error) &&
            get_text(process, "WorkingDir", &config->working_dir, error) &&
            get_text(process, "StopSignal", &config->stop_signal, error) &&
            varve_json_get_strings(process, "Env", MAX_ITEMS, &config->env, error) &&
            varve_json_get_strings(process, "Cmd", MAX_ITEMS, &config->cmd, error) &&
            varve_json_get_strings(process, "Entrypoint", MAX_ITEMS, &config->entrypoint, error) &&
            varve_json_get_keys(process, "Volumes", MAX_ITEMS, &config->volumes, error) &&
            varve_json_get_keys(process, "ExposedPorts", MAX_ITEMS, &config->exposed_ports,
                                error) &&
            varve_json_get_pairs(process, "Labels", MAX_ITEMS, &config->labels, error)) ||
           varve_json_within(error, "config.");
}

static gboolean
parse_history_item(const json_t *object, VarveImageHistory *history, GError **error)
{
    if (!json_is_object(object))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "must be an object");
    return get_text(object, "created", &history->created, error) &&
           get_text(object, "created_by", &history->created_by, error) &&
           get_text(object, "author", &history->author, error) &&
           get_text(object, "comment", &history->comment, error) &&
           varve_json_get_boolean(object, "empty_layer", &history->empty_layer, error);
}

/* Which of them made which layer is only known when there are as many as layers. */
static void
number_layers(GPtrArray *history, guint n_layers)
{
    guint making = 0;
    for (guint i = 0; i < history->len; i++)
        making += !((VarveImageHistory *)g_ptr_array_index(history, i))->empty_layer;
    gint64 layer = 0;
    for (guint i = 0; i < history->len; i++) {
        VarveImageHistory *item = g_ptr_array_index(history, i);
        item->layer = item->empty_layer || making != n_layers ? -1 : layer++;
    }
}

static gboolean
parse_history(const json_t *object, VarveImageConfig *config, GError **error)
{
    json_t *array, *item;
    gsize i;
    config->history = g_ptr_array_new_with_free_func((GDestroyNotify)history_free);
    if (!varve_json_get_array(object, "history", MAX_HISTORY, &array, error))
        return FALSE;
    json_array_foreach(array, i, item)
    {
        VarveImageHistory *history = g_new0(VarveImageHistory, 1);
        g_ptr_array_add(config->history, history);
        if (!parse_history_item(item, history, error))
            return varve_json_within(error, "history[%zu]%s", i, json_is_object(item) ? "." : ": ");
    }
    return TRUE;
}

static void
fill_absent(char ***list)
{
    if (*list == NULL)
        *list = g_new0(char *, 1);
}

VarveImageConfig *
varve_image_config_parse(const char *text, gsize size, GError **error)
{
    json_auto_t *object = varve_json_parse(text, size, VARVE_MAX_CONFIG, JSON_OBJECT, error);
    if (object == NULL)
        return NULL;
    g_autoptr(VarveImageConfig) config = g_new0(VarveImageConfig, 1);
    if (!parse_platform(object, &config->platform, error) ||
        !get_text(object, "created", &config->created, error) ||
        !get_text(object, "author", &config->author, error) ||
        !parse_rootfs(object, config, error) || !parse_process(object, config, error) ||
        !parse_history(object, config, error))
        return NULL;
    fill_absent(&config->env);
    fill_absent(&config->cmd);
    fill_absent(&config->entrypoint);
    fill_absent(&config->volumes);
    fill_absent(&config->exposed_ports);
    fill_absent(&config->diff_ids);
    number_layers(config->history, g_strv_length(config->diff_ids));
    return g_steal_pointer(&config);
}
