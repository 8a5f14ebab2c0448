/* SPDX-License-Identifier: Apache-2.0 */
#include "image/commit.h"
#include "image/media-types.h"

#define EPOCH "1970-01-01T00:00:00Z"

/* RFC 3339. */
static char *
format_time(const VarveImageCommit *options)
{
    g_autoptr(GDateTime) time = options->has_created
                                    ? g_date_time_new_from_unix_utc(options->created)
                                    : g_date_time_new_now_utc();
    return time != NULL ? g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ")
                        : g_strdup(EPOCH); /* beyond what can be written */
}

static json_t *
array_in(json_t *object, const char *key)
{
    if (!json_is_array(json_object_get(object, key)))
        json_object_set_new(object, key, json_array());
    return json_object_get(object, key);
}

/* Which step made which layer is told by counting, so all layers must have one; and some readers
 * rely on its having a time. */
static void
fill_history(json_t *history, gsize n_layers)
{
    gsize making = 0;
    for (gsize i = 0; i < json_array_size(history); i++)
        making += !json_is_true(json_object_get(json_array_get(history, i), "empty_layer"));
    for (; making < n_layers; making++)
        json_array_append_new(history,
                              json_pack("{s:s,s:s}", "created", EPOCH, "comment", "not known"));
}

static void
set_text(json_t *object, const char *key, const char *text)
{
    if (text != NULL && *text != '\0')
        json_object_set_new(object, key, json_string(text));
}

void
varve_commit_extend_config(json_t *config, const VarveImageCommit *options, const char *diff_id)
{
    g_autofree char *created = format_time(options);
    json_t *diff_ids = array_in(json_object_get(config, "rootfs"), "diff_ids");
    json_t *history = array_in(config, "history"), *step = json_object();
    fill_history(history, json_array_size(diff_ids));
    json_object_set_new(config, "created", json_string(created));
    json_object_set_new(step, "created", json_string(created));
    json_object_set_new(step, "created_by", json_string("varve image commit"));
    set_text(step, "author", options->author);
    set_text(step, "comment", options->message);
    json_array_append_new(history, step);
    json_array_append_new(diff_ids, json_string(diff_id));
}

static void
add_layer(const VarveDescriptor *descriptor, json_t *layers)
{
    json_t *layer = varve_descriptor_to_json(descriptor);
    g_autofree char *media_type = varve_media_oci_layer(descriptor->media_type);
    json_object_set_new(layer, "mediaType", json_string(media_type));
    json_array_append_new(layers, layer);
}

json_t *
varve_commit_make_manifest(const VarveManifest *below, const VarveDescriptor *config,
                           const VarveLayer *layer)
{
    json_t *manifest = json_object(), *layers = json_array();
    g_autoptr(VarveDescriptor) top =
        varve_descriptor_new(layer->media_type, layer->digest, layer->size);
    for (guint i = 0; below != NULL && i < below->blobs->len; i++)
        add_layer(g_ptr_array_index(below->blobs, i), layers);
    add_layer(top, layers);
    json_object_set_new(manifest, "schemaVersion", json_integer(2));
    json_object_set_new(manifest, "mediaType", json_string(VARVE_MEDIA_OCI_MANIFEST));
    json_object_set_new(manifest, "config", varve_descriptor_to_json(config));
    json_object_set_new(manifest, "layers", layers);
    return manifest;
}
