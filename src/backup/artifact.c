/* SPDX-License-Identifier: Apache-2.0 */
#include "backup/artifact.h"
#include "base/digest.h"
#include "image/media-types.h"
#include "snapshot/identity.h"
#include "volume/internal.h"
#include <string.h>

#define NANOSECONDS G_GINT64_CONSTANT(1000000000) /* of a second */

static void
layer_free(gpointer data)
{
    VarveArtifactLayer *layer = data;
    varve_descriptor_free(layer->descriptor);
    g_free(layer);
}

VarveArtifact *
varve_artifact_new(void)
{
    VarveArtifact *artifact = g_new0(VarveArtifact, 1);
    artifact->meta = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    artifact->layers = g_ptr_array_new_with_free_func(layer_free);
    artifact->by_uuid = g_hash_table_new(g_str_hash, g_str_equal);
    return artifact;
}

void
varve_artifact_free(VarveArtifact *artifact)
{
    if (artifact == NULL)
        return;
    g_free(artifact->volume);
    g_free(artifact->type);
    g_hash_table_unref(artifact->meta);
    g_hash_table_unref(artifact->by_uuid);
    g_ptr_array_unref(artifact->layers);
    g_free(artifact);
}

/* --- what annotations say --------------------------------------------------------------------- */

static gboolean
check_number(const char *text, GError **error)
{
    return g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, NULL, NULL) ||
           varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "is no number of bytes");
}

/* As nanoseconds since the epoch, which hold times until the year 2262. */
static gboolean
parse_time(const char *text, gint64 *nanoseconds)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, NULL);
    gint64 seconds = time != NULL ? g_date_time_to_unix(time) : -1;
    if (seconds < 0 || seconds >= G_MAXINT64 / NANOSECONDS)
        return FALSE;
    *nanoseconds =
        seconds * NANOSECONDS + (gint64)g_date_time_get_microsecond(time) * (NANOSECONDS / 1000000);
    return TRUE;
}

static gboolean
check_time(const char *text, GError **error)
{
    gint64 time;
    return parse_time(text, &time) ||
           varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "is no time");
}

static const struct {
    const char *key;
    gboolean needed;
    gboolean (*check)(const char *text, GError **error);
} fields[] = {
    {VARVE_ARTIFACT_UUID, TRUE, varve_uuid_check},
    {VARVE_ARTIFACT_BASE, FALSE, varve_uuid_check},
    {VARVE_ARTIFACT_ID, TRUE, varve_volume_id_check},
    {VARVE_ARTIFACT_OF, FALSE, varve_volume_id_check},
    {VARVE_ARTIFACT_PAYLOAD, FALSE, check_number},
    {VARVE_ARTIFACT_CREATED, FALSE, check_time},
};

static gboolean
check_fields(const VarveDescriptor *descriptor, GError **error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(fields); i++) {
        const char *text = varve_descriptor_annotation(descriptor, fields[i].key);
        if (text == NULL && fields[i].needed)
            return varve_json_missing(fields[i].key, error);
        if (text != NULL && !fields[i].check(text, error))
            return varve_json_within(error, "%s: ", fields[i].key);
    }
    return g_str_equal(descriptor->media_type, VARVE_ARTIFACT_LAYER) ||
           varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "mediaType: is %.255s, which this version of Varve does not know",
                           descriptor->media_type);
}

static VarveArtifactLayer *
read_layer(VarveDescriptor *descriptor)
{
    VarveArtifactLayer *layer = g_new0(VarveArtifactLayer, 1);
    const char *payload = varve_descriptor_annotation(descriptor, VARVE_ARTIFACT_PAYLOAD);
    const char *created = varve_descriptor_annotation(descriptor, VARVE_ARTIFACT_CREATED);
    *layer = (VarveArtifactLayer){
        .descriptor = descriptor,
        .uuid = varve_descriptor_annotation(descriptor, VARVE_ARTIFACT_UUID),
        .base = varve_descriptor_annotation(descriptor, VARVE_ARTIFACT_BASE),
        .id = varve_descriptor_annotation(descriptor, VARVE_ARTIFACT_ID),
        .of = varve_descriptor_annotation(descriptor, VARVE_ARTIFACT_OF),
        .payload = payload != NULL ? g_ascii_strtoull(payload, NULL, 10) : 0,
    };
    if (created != NULL)
        (void)parse_time(created, &layer->created);
    return layer;
}

gboolean
varve_artifact_add(VarveArtifact *artifact, VarveDescriptor *descriptor, GError **error)
{
    g_autoptr(VarveDescriptor) owned = descriptor;
    if (!check_fields(owned, error))
        return FALSE;
    const char *uuid = varve_descriptor_annotation(owned, VARVE_ARTIFACT_UUID);
    const char *base = varve_descriptor_annotation(owned, VARVE_ARTIFACT_BASE);
    if (varve_artifact_find(artifact, uuid) != NULL)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               VARVE_ARTIFACT_UUID ": is another layer's as well");
    if (base != NULL && varve_artifact_find(artifact, base) == NULL)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               VARVE_ARTIFACT_BASE ": is none of a layer before it");
    VarveArtifactLayer *layer = read_layer(g_steal_pointer(&owned));
    g_ptr_array_add(artifact->layers, layer);
    g_hash_table_insert(artifact->by_uuid, (gpointer)layer->uuid, layer);
    return TRUE;
}

const VarveArtifactLayer *
varve_artifact_find(const VarveArtifact *artifact, const char *uuid)
{
    return g_hash_table_lookup(artifact->by_uuid, uuid);
}

const VarveArtifactLayer *
varve_artifact_choose(const VarveArtifact *artifact, const char *snapshot, GError **error)
{
    for (guint i = artifact->layers->len; i > 0; i--) {
        const VarveArtifactLayer *layer = artifact->layers->pdata[i - 1];
        if (snapshot == NULL || g_str_equal(layer->id, snapshot) ||
            g_str_equal(layer->uuid, snapshot))
            return layer;
    }
    varve_error_set(error, VARVE_ERROR_NOT_FOUND, "there is no snapshot '%s' in it",
                    snapshot != NULL ? snapshot : "");
    return NULL;
}

/* --- parsing ---------------------------------------------------------------------------------- */

static gboolean
read_volume(VarveArtifact *artifact, const VarveManifest *manifest, GError **error)
{
    const char *id = g_hash_table_lookup(manifest->annotations, VARVE_ARTIFACT_VOLUME);
    const char *type = g_hash_table_lookup(manifest->annotations, VARVE_ARTIFACT_VOLUME_TYPE);
    GHashTableIter iter;
    gpointer key, value;
    if (id != NULL && !varve_volume_id_check(id, error))
        return varve_json_within(error, "annotations.%s: ", VARVE_ARTIFACT_VOLUME);
    if (type != NULL && !varve_volume_type_check(type, error))
        return varve_json_within(error, "annotations.%s: ", VARVE_ARTIFACT_VOLUME_TYPE);
    artifact->volume = g_strdup(id);
    artifact->type = g_strdup(type);
    g_hash_table_iter_init(&iter, manifest->annotations);
    while (g_hash_table_iter_next(&iter, &key, &value))
        if (g_str_has_prefix(key, VARVE_ARTIFACT_META))
            g_hash_table_replace(artifact->meta,
                                 g_strdup((const char *)key + strlen(VARVE_ARTIFACT_META)),
                                 g_strdup(value));
    return TRUE;
}

static gboolean
read_layers(VarveArtifact *artifact, const VarveManifest *manifest, GError **error)
{
    for (guint i = 0; i < manifest->blobs->len; i++)
        if (!varve_artifact_add(artifact, varve_descriptor_copy(manifest->blobs->pdata[i]), error))
            return varve_json_within(error, "layers[%u].", i);
    return artifact->layers->len > 0 ||
           varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "layers: there are none");
}

static gboolean
check_kind(const VarveManifest *manifest, GError **error)
{
    if (g_str_equal(manifest->artifact_type, VARVE_ARTIFACT_TYPE) && !manifest->is_index)
        return TRUE;
    if (*manifest->artifact_type != '\0')
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "it is an artifact of the type %.255s, no volume's backup",
                               manifest->artifact_type);
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "it is an image, no volume's backup");
}

VarveArtifact *
varve_artifact_parse(const char *text, gsize size, GError **error)
{
    g_autoptr(VarveManifest) manifest = varve_manifest_parse(text, size, NULL, error);
    if (manifest == NULL || !check_kind(manifest, error))
        return NULL;
    g_autoptr(VarveArtifact) artifact = varve_artifact_new();
    return read_volume(artifact, manifest, error) && read_layers(artifact, manifest, error)
               ? g_steal_pointer(&artifact)
               : NULL;
}

/* --- as JSON ---------------------------------------------------------------------------------- */

static json_t *
volume_to_json(const VarveArtifact *artifact)
{
    json_t *object = json_object();
    GHashTableIter iter;
    gpointer key, value;
    if (artifact->volume != NULL)
        json_object_set_new(object, VARVE_ARTIFACT_VOLUME, json_string(artifact->volume));
    if (artifact->type != NULL)
        json_object_set_new(object, VARVE_ARTIFACT_VOLUME_TYPE, json_string(artifact->type));
    g_hash_table_iter_init(&iter, artifact->meta);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        g_autofree char *name = g_strconcat(VARVE_ARTIFACT_META, key, NULL);
        json_object_set_new(object, name, json_string(value));
    }
    return object;
}

static json_t *
to_json(const VarveArtifact *artifact)
{
    g_autofree char *digest = varve_digest_of(VARVE_EMPTY_JSON, strlen(VARVE_EMPTY_JSON));
    g_autoptr(VarveDescriptor) config =
        varve_descriptor_new(VARVE_EMPTY_TYPE, digest, strlen(VARVE_EMPTY_JSON));
    json_t *layers = json_array();
    for (guint i = 0; i < artifact->layers->len; i++) {
        const VarveArtifactLayer *layer = artifact->layers->pdata[i];
        json_array_append_new(layers, varve_descriptor_to_json(layer->descriptor));
    }
    return json_pack("{s:i, s:s, s:s, s:o, s:o, s:o}", "schemaVersion", 2, "mediaType",
                     VARVE_MEDIA_OCI_MANIFEST, "artifactType", VARVE_ARTIFACT_TYPE, "config",
                     varve_descriptor_to_json(config), "layers", layers, "annotations",
                     volume_to_json(artifact));
}

/* JSON has no other text. */
static gboolean
check_meta(const VarveArtifact *artifact, GError **error)
{
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, artifact->meta);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        g_autofree char *shown = g_utf8_make_valid(key, -1);
        if (!g_utf8_validate(key, -1, NULL) || !g_utf8_validate(value, -1, NULL))
            return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                                   "the volume's meta '%s' is not valid UTF-8, and manifests hold "
                                   "nothing else",
                                   shown);
    }
    return TRUE;
}

/* What could not be read again would be lost: a volume can have more meta than a manifest may. */
static gboolean
check_written(const VarveArtifact *artifact, const char *text, gsize size, GError **error)
{
    if (size == 0 || size > VARVE_MAX_MANIFEST || artifact->layers->len > VARVE_MAX_LAYERS)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "with %u snapshots the backup is too large for a manifest: begin a "
                               "new one with a full backup, or with another tag",
                               artifact->layers->len);
    g_autoptr(GError) problem = NULL;
    g_autoptr(VarveArtifact) again = varve_artifact_parse(text, size, &problem);
    return again != NULL ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "the volume does not fit into a manifest: %s", problem->message);
}

GBytes *
varve_artifact_format(const VarveArtifact *artifact, GError **error)
{
    if (!check_meta(artifact, error))
        return NULL;
    json_auto_t *object = to_json(artifact);
    char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    gsize size = text != NULL ? strlen(text) : 0;
    if (check_written(artifact, text, size, error))
        return g_bytes_new_with_free_func(text, size, free, text);
    free(text);
    return NULL;
}
