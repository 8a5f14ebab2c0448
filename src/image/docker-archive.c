/* SPDX-License-Identifier: Apache-2.0 */
#include "image/docker-archive.h"
#include "image/media-types.h"
#include <string.h>
#include <unistd.h>

#define MAX_IMAGES 4096
#define MAX_TAGS   4096

typedef struct {
    VarveImport *import;
    VarveDockerResolve resolve;
    gpointer data;
} Reader;

static VarveDescriptor *
describe(Reader *reader, const char *path, const char *media_type, GError **error)
{
    guint64 size;
    gboolean found;
    const char *digest = reader->resolve(path, reader->data, error);
    if (digest == NULL ||
        !varve_content_find(reader->import->images->content, digest, &found, &size, error))
        return NULL;
    return varve_descriptor_new(media_type, digest, size);
}

/* --- layers ----------------------------------------------------------------------------------- */

static const struct {
    const char *magic;
    gsize size;
    const char *suffix; /* of the media type; NULL: OCI has none for it */
} compressions[] = {
    {"\x1f\x8b", 2, "+gzip"},
    {"\x28\xb5\x2f\xfd", 4, "+zstd"},
    {"BZh", 3, NULL},
    {"\xfd"
     "7zXZ",
     5, NULL},
};

/* How a layer is compressed: the suffix of its media type, "" for not at all. */
static gboolean
find_compression(Reader *reader, const char *digest, const char **suffix, GError **error)
{
    char start[6] = {0};
    varve_autofd fd = varve_content_open(reader->import->images->content, digest, NULL, error);
    if (fd < 0)
        return FALSE;
    if (pread(fd, start, sizeof start, 0) < 0)
        return varve_error_set_errno(error, errno, "reading blob %s", digest);
    *suffix = "";
    for (gsize i = 0; i < G_N_ELEMENTS(compressions); i++) {
        if (memcmp(start, compressions[i].magic, compressions[i].size) == 0)
            *suffix = compressions[i].suffix;
    }
    return *suffix != NULL ||
           varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                           "it is compressed with something else than gzip or zstd");
}

/* A plain layer is verified now, a compressed one when it is unpacked. */
static VarveDescriptor *
describe_layer(Reader *reader, const char *path, const char *diff_id, GError **error)
{
    const char *suffix = "";
    g_autoptr(VarveDescriptor) layer = describe(reader, path, VARVE_MEDIA_OCI_LAYER, error);
    if (layer == NULL || !find_compression(reader, layer->digest, &suffix, error))
        return NULL;
    if (*suffix == '\0' && !g_str_equal(layer->digest, diff_id)) {
        varve_error_set(error, VARVE_ERROR_CORRUPT, "its digest is %s, but the config says %s",
                        layer->digest, diff_id);
        return NULL;
    }
    g_free(layer->media_type);
    layer->media_type = g_strconcat(VARVE_MEDIA_OCI_LAYER, suffix, NULL);
    return g_steal_pointer(&layer);
}

static gboolean
add_layers(Reader *reader, char **paths, const VarveImageConfig *config, json_t *layers,
           GError **error)
{
    guint n = paths != NULL ? g_strv_length(paths) : 0;
    guint expected = g_strv_length(config->diff_ids);
    if (n != expected)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "Layers: are %u, but the config says %u",
                               n, expected);
    for (guint i = 0; i < n; i++) {
        g_autoptr(VarveDescriptor) layer =
            describe_layer(reader, paths[i], config->diff_ids[i], error);
        if (layer == NULL)
            return varve_json_within(error, "Layers[%u]: ", i);
        json_array_append_new(layers, varve_descriptor_to_json(layer));
    }
    return TRUE;
}

/* --- images ----------------------------------------------------------------------------------- */

static VarveImageConfig *
read_config(Reader *reader, const VarveDescriptor *descriptor, GError **error)
{
    gsize size;
    g_autofree char *text = varve_content_read(reader->import->images->content, descriptor->digest,
                                               VARVE_MAX_CONFIG, &size, error);
    return text != NULL ? varve_image_config_parse(text, size, error) : NULL;
}

static VarveDescriptor *
store_manifest(Reader *reader, const VarveDescriptor *config, json_t *layers, GError **error)
{
    json_auto_t *manifest = json_object();
    json_object_set_new(manifest, "schemaVersion", json_integer(2));
    json_object_set_new(manifest, "mediaType", json_string(VARVE_MEDIA_OCI_MANIFEST));
    json_object_set_new(manifest, "config", varve_descriptor_to_json(config));
    json_object_set(manifest, "layers", layers);
    char *text = json_dumps(manifest, JSON_COMPACT);
    VarveDescriptor *stored =
        varve_import_bytes(reader->import, VARVE_MEDIA_OCI_MANIFEST, text, strlen(text), error);
    free(text);
    return stored;
}

static VarveDescriptor *
make_manifest(Reader *reader, const char *config_path, char **layer_paths, GError **error)
{
    g_autoptr(VarveDescriptor) config =
        describe(reader, config_path, VARVE_MEDIA_OCI_CONFIG, error);
    g_autoptr(VarveImageConfig) parsed = config != NULL ? read_config(reader, config, error) : NULL;
    if (parsed == NULL) {
        varve_json_within(error, "Config: ");
        return NULL;
    }
    json_auto_t *layers = json_array();
    if (!add_layers(reader, layer_paths, parsed, layers, error))
        return NULL;
    return store_manifest(reader, config, layers, error);
}

static gboolean
parse_image(Reader *reader, const json_t *object, VarveOffer **offer, GError **error)
{
    const char *config = NULL;
    g_auto(GStrv) layers = NULL, tags = NULL;
    if (!json_is_object(object))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "must be an object");
    if (!varve_json_get_string(object, "Config", &config, error) ||
        !varve_json_get_strings(object, "Layers", VARVE_MAX_LAYERS, &layers, error) ||
        !varve_json_get_strings(object, "RepoTags", MAX_TAGS, &tags, error))
        return FALSE;
    if (config == NULL)
        return varve_json_missing("Config", error);
    VarveDescriptor *manifest = make_manifest(reader, config, layers, error);
    if (manifest == NULL)
        return FALSE;
    *offer = varve_offer_new(manifest);
    for (char **tag = tags; tag != NULL && *tag != NULL; tag++) {
        /* "debian", which Docker never writes, would be taken for a tag alone. */
        g_autofree char *whole = varve_image_name_normalize(*tag, NULL);
        g_ptr_array_add((*offer)->names, g_strdup(whole != NULL ? whole : *tag));
    }
    return TRUE;
}

GPtrArray *
varve_docker_parse(VarveImport *import, const char *text, gsize size, VarveDockerResolve resolve,
                   gpointer data, GError **error)
{
    Reader reader = {import, resolve, data};
    json_t *item;
    gsize i;
    json_auto_t *array = varve_json_parse(text, size, VARVE_DOCKER_MAX, JSON_ARRAY, error);
    if (array == NULL) {
        varve_json_within(error, VARVE_DOCKER_MANIFEST ": ");
        return NULL;
    }
    if (json_array_size(array) > MAX_IMAGES) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                        VARVE_DOCKER_MANIFEST " has more than %d images", MAX_IMAGES);
        return NULL;
    }
    g_autoptr(GPtrArray) offers = g_ptr_array_new_with_free_func((GDestroyNotify)varve_offer_free);
    json_array_foreach(array, i, item)
    {
        VarveOffer *offer = NULL;
        if (!parse_image(&reader, item, &offer, error)) {
            varve_json_within(error, VARVE_DOCKER_MANIFEST "[%zu]%s", i,
                              json_is_object(item) ? "." : ": ");
            return NULL;
        }
        g_ptr_array_add(offers, offer);
    }
    return g_steal_pointer(&offers);
}
