/* SPDX-License-Identifier: Apache-2.0 */
#include "image/media-types.h"
#include "image/oci.h"

#define MAX_ANNOTATIONS 4096

void
varve_manifest_free(VarveManifest *manifest)
{
    if (manifest == NULL)
        return;
    g_free(manifest->media_type);
    g_free(manifest->artifact_type);
    varve_descriptor_free(manifest->config);
    varve_descriptor_free(manifest->subject);
    g_clear_pointer(&manifest->blobs, g_ptr_array_unref);
    g_clear_pointer(&manifest->annotations, g_hash_table_unref);
    g_free(manifest);
}

/* Which of the fields that tell the kinds apart a kind must have, and must not: what could be read
 * as two things would be verified as one and used as the other (GHSA-77vh-xpmg-72qh of the
 * distribution specification). */
static const struct {
    VarveMediaKind kind;
    const char *list, *alien[2];
    gsize max;
} kinds[] = {
    {VARVE_MEDIA_INDEX, "manifests", {"layers", "blobs"}, VARVE_MAX_INDEX},
    {VARVE_MEDIA_MANIFEST, "layers", {"manifests", "blobs"}, VARVE_MAX_LAYERS},
    {VARVE_MEDIA_ARTIFACT, "blobs", {"manifests", "layers"}, VARVE_MAX_LAYERS},
};

static gsize
find_kind(VarveMediaKind kind)
{
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (kinds[i].kind == kind)
            return i;
    }
    return G_N_ELEMENTS(kinds);
}

static gboolean
check_schema(const json_t *object, VarveMediaKind kind, GError **error)
{
    gint64 version = kind == VARVE_MEDIA_ARTIFACT ? 2 : 0; /* those have no such field */
    if (!varve_json_get_integer(object, "schemaVersion", G_MININT64, G_MAXINT64, &version, error))
        return FALSE;
    if (version == 1 || kind == VARVE_MEDIA_SCHEMA1)
        return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                               "it is an image of Docker's old schema 1: save or push it again "
                               "with a newer Docker, or 'skopeo copy --format v2s2'");
    return version == 2 ||
           varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "schemaVersion: must be 2");
}

/* What it is: what the descriptor says, which must be what it says itself, or what it looks like.
 */
static gboolean
find_media_type(const json_t *object, const char *told, const char **media_type, GError **error)
{
    const char *own = NULL;
    if (!varve_json_get_string(object, "mediaType", &own, error))
        return FALSE;
    if (told != NULL && own != NULL && *own != '\0' && !g_str_equal(told, own))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "mediaType: is %.255s, but its descriptor says %.255s", own, told);
    if (told != NULL)
        *media_type = told;
    else if (own != NULL && *own != '\0')
        *media_type = own;
    else if (json_object_get(object, "manifests") != NULL)
        *media_type = VARVE_MEDIA_OCI_INDEX;
    else
        *media_type = VARVE_MEDIA_OCI_MANIFEST;
    return TRUE;
}

static gboolean
parse_list(const json_t *object, const char *key, gsize max, GPtrArray *list, GError **error)
{
    json_t *array, *item;
    gsize i;
    if (!varve_json_get_array(object, key, max, &array, error))
        return FALSE;
    json_array_foreach(array, i, item)
    {
        VarveDescriptor *descriptor = varve_descriptor_parse(item, error);
        if (descriptor == NULL)
            return varve_json_within(error, "%s[%zu]%s", key, i, json_is_object(item) ? "." : ": ");
        g_ptr_array_add(list, descriptor);
    }
    return TRUE;
}

static gboolean
parse_one(const json_t *object, const char *key, VarveDescriptor **descriptor, GError **error)
{
    json_t *found;
    if (!varve_json_get_object(object, key, &found, error))
        return FALSE;
    if (found == NULL)
        return TRUE;
    *descriptor = varve_descriptor_parse(found, error);
    return *descriptor != NULL || varve_json_within(error, "%s.", key);
}

static gboolean
check_aliens(const json_t *object, gsize k, GError **error)
{
    const char *config = kinds[k].kind == VARVE_MEDIA_INDEX ? "config" : kinds[k].alien[0];
    const char *const aliens[] = {kinds[k].alien[0], kinds[k].alien[1], config};
    for (gsize i = 0; i < G_N_ELEMENTS(aliens); i++) {
        const json_t *alien = json_object_get(object, aliens[i]);
        if (alien != NULL && !json_is_null(alien))
            return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                                   "%s: has no place beside %s: it would be two things at once",
                                   aliens[i], kinds[k].list);
    }
    return TRUE;
}

static gboolean
parse_fields(const json_t *object, gsize k, VarveManifest *manifest, GError **error)
{
    const char *artifact_type = NULL;
    if (!check_aliens(object, k, error) ||
        !parse_list(object, kinds[k].list, kinds[k].max, manifest->blobs, error) ||
        !parse_one(object, "config", &manifest->config, error) ||
        !parse_one(object, "subject", &manifest->subject, error) ||
        !varve_json_get_string(object, "artifactType", &artifact_type, error) ||
        !varve_json_get_pairs(object, "annotations", MAX_ANNOTATIONS, &manifest->annotations,
                              error))
        return FALSE;
    manifest->artifact_type = g_strdup(artifact_type != NULL ? artifact_type : "");
    return kinds[k].kind != VARVE_MEDIA_MANIFEST || manifest->config != NULL ||
           varve_json_missing("config", error);
}

static gboolean
parse(const json_t *object, const char *told, VarveManifest *manifest, GError **error)
{
    const char *media_type = NULL;
    if (!find_media_type(object, told, &media_type, error))
        return FALSE;
    VarveMediaKind kind = varve_media_kind(media_type);
    if (!check_schema(object, kind, error))
        return FALSE;
    gsize k = find_kind(kind);
    if (k == G_N_ELEMENTS(kinds))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "mediaType: %.255s is neither a manifest's nor an index's",
                               media_type);
    manifest->is_index = kind == VARVE_MEDIA_INDEX;
    manifest->media_type = g_strdup(media_type);
    manifest->blobs = g_ptr_array_new_with_free_func((GDestroyNotify)varve_descriptor_free);
    return parse_fields(object, k, manifest, error);
}

VarveManifest *
varve_manifest_parse(const char *text, gsize size, const char *media_type, GError **error)
{
    json_auto_t *object = varve_json_parse(text, size, VARVE_MAX_MANIFEST, JSON_OBJECT, error);
    if (object == NULL)
        return NULL;
    g_autoptr(VarveManifest) manifest = g_new0(VarveManifest, 1);
    return parse(object, media_type, manifest, error) ? g_steal_pointer(&manifest) : NULL;
}
