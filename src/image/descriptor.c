/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "image/oci.h"
#include "image/platform.h"
#include <string.h>

#define MAX_ANNOTATIONS 4096
#define MAX_URLS        64
#define MAX_MEDIA_TYPE  255 /* RFC 6838, section 4.2: 127 on each side of the slash */

static GHashTable *
new_table(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

VarveDescriptor *
varve_descriptor_new(const char *media_type, const char *digest, guint64 size)
{
    VarveDescriptor *descriptor = g_new0(VarveDescriptor, 1);
    descriptor->media_type = g_strdup(media_type);
    descriptor->digest = g_strdup(digest);
    descriptor->size = size;
    descriptor->artifact_type = g_strdup("");
    descriptor->annotations = new_table();
    return descriptor;
}

VarveDescriptor *
varve_descriptor_copy(const VarveDescriptor *descriptor)
{
    VarveDescriptor *copy =
        varve_descriptor_new(descriptor->media_type, descriptor->digest, descriptor->size);
    g_free(copy->artifact_type);
    copy->artifact_type = g_strdup(descriptor->artifact_type);
    if (descriptor->platform != NULL)
        copy->platform = varve_platform_copy(descriptor->platform);
    copy->urls = g_strdupv(descriptor->urls);
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, descriptor->annotations);
    while (g_hash_table_iter_next(&iter, &key, &value))
        g_hash_table_replace(copy->annotations, g_strdup(key), g_strdup(value));
    return copy;
}

void
varve_descriptor_free(VarveDescriptor *descriptor)
{
    if (descriptor == NULL)
        return;
    g_free(descriptor->media_type);
    g_free(descriptor->digest);
    g_free(descriptor->artifact_type);
    varve_platform_free(descriptor->platform);
    g_clear_pointer(&descriptor->annotations, g_hash_table_unref);
    g_strfreev(descriptor->urls);
    g_free(descriptor);
}

const char *
varve_descriptor_annotation(const VarveDescriptor *descriptor, const char *key)
{
    return g_hash_table_lookup(descriptor->annotations, key);
}

/* --- parsing ---------------------------------------------------------------------------------- */

static gboolean
parse_platform(const json_t *object, VarvePlatform **platform, GError **error)
{
    const char *os = NULL, *architecture = NULL, *variant = NULL, *os_version = NULL;
    json_t *found;
    if (!varve_json_get_object(object, "platform", &found, error))
        return FALSE;
    if (found == NULL)
        return TRUE;
    if (!varve_json_get_string(found, "os", &os, error) ||
        !varve_json_get_string(found, "architecture", &architecture, error) ||
        !varve_json_get_string(found, "variant", &variant, error) ||
        !varve_json_get_string(found, "os.version", &os_version, error))
        return varve_json_within(error, "platform.");
    *platform = varve_platform_new(os, architecture, variant, os_version);
    return TRUE;
}

static gboolean
get_media_type(const json_t *object, const char *key, const char **value, GError **error)
{
    *value = NULL;
    if (!varve_json_get_string(object, key, value, error))
        return FALSE;
    return *value == NULL || strlen(*value) <= MAX_MEDIA_TYPE ||
           varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "%s: is longer than the %d bytes that a media type may have", key,
                           MAX_MEDIA_TYPE);
}

static gboolean
parse_digest(const json_t *object, const char **digest, GError **error)
{
    if (!varve_json_get_string(object, "digest", digest, error))
        return FALSE;
    if (*digest == NULL)
        return varve_json_missing("digest", error);
    return varve_digest_check(*digest, error) || varve_json_within(error, "digest: ");
}

static gboolean
parse_size(const json_t *object, gint64 *size, GError **error)
{
    *size = -1;
    if (!varve_json_get_integer(object, "size", 0, G_MAXINT64, size, error))
        return FALSE;
    return *size >= 0 || varve_json_missing("size", error);
}

VarveDescriptor *
varve_descriptor_parse(const json_t *object, GError **error)
{
    const char *media_type, *artifact_type, *digest = NULL;
    gint64 size;
    if (!json_is_object(object)) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "must be an object");
        return NULL;
    }
    if (!get_media_type(object, "mediaType", &media_type, error) ||
        !get_media_type(object, "artifactType", &artifact_type, error) ||
        !parse_digest(object, &digest, error) || !parse_size(object, &size, error))
        return NULL;
    if (media_type == NULL || *media_type == '\0') {
        varve_json_missing("mediaType", error);
        return NULL;
    }
    g_autoptr(VarveDescriptor) descriptor = g_new0(VarveDescriptor, 1);
    descriptor->media_type = g_strdup(media_type);
    descriptor->artifact_type = g_strdup(artifact_type != NULL ? artifact_type : "");
    descriptor->digest = g_strdup(digest);
    descriptor->size = (guint64)size;
    if (!parse_platform(object, &descriptor->platform, error) ||
        !varve_json_get_pairs(object, "annotations", MAX_ANNOTATIONS, &descriptor->annotations,
                              error) ||
        !varve_json_get_strings(object, "urls", MAX_URLS, &descriptor->urls, error))
        return NULL;
    return g_steal_pointer(&descriptor);
}

/* --- as JSON ---------------------------------------------------------------------------------- */

static int
compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *
pairs_to_json(GHashTable *table)
{
    json_t *object = json_object();
    guint n;
    g_autofree char **keys = (char **)g_hash_table_get_keys_as_array(table, &n);
    if (n > 0)
        qsort(keys, n, sizeof(char *), compare_strings);
    for (guint i = 0; i < n; i++)
        json_object_set_new(object, keys[i], json_string(g_hash_table_lookup(table, keys[i])));
    return object;
}

static void
set_text(json_t *object, const char *key, const char *text)
{
    if (*text != '\0')
        json_object_set_new(object, key, json_string(text));
}

json_t *
varve_descriptor_to_json(const VarveDescriptor *descriptor)
{
    json_t *object = json_object();
    json_object_set_new(object, "mediaType", json_string(descriptor->media_type));
    json_object_set_new(object, "digest", json_string(descriptor->digest));
    json_object_set_new(object, "size", json_integer((json_int_t)descriptor->size));
    set_text(object, "artifactType", descriptor->artifact_type);
    if (descriptor->platform != NULL) {
        json_t *platform = json_object();
        json_object_set_new(platform, "architecture",
                            json_string(descriptor->platform->architecture));
        json_object_set_new(platform, "os", json_string(descriptor->platform->os));
        set_text(platform, "os.version", descriptor->platform->os_version);
        set_text(platform, "variant", descriptor->platform->variant);
        json_object_set_new(object, "platform", platform);
    }
    if (g_hash_table_size(descriptor->annotations) > 0)
        json_object_set_new(object, "annotations", pairs_to_json(descriptor->annotations));
    return object;
}
