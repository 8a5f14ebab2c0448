/* SPDX-License-Identifier: Apache-2.0 */
#include "image/chain.h"
#include "image/internal.h"
#include "image/media-types.h"

static VarveImageConfig *
read_config(VarveImages *images, const VarveDescriptor *descriptor, char **text, GError **error)
{
    gsize size;
    g_autofree char *bytes =
        varve_content_read(images->content, descriptor->digest, VARVE_MAX_CONFIG, &size, error);
    if (bytes == NULL)
        return NULL;
    VarveImageConfig *config = varve_image_config_parse(bytes, size, error);
    if (config == NULL)
        g_prefix_error(error, "config %s: ", descriptor->digest);
    else if (text != NULL)
        *text = g_steal_pointer(&bytes);
    return config;
}

static gboolean
can_run(const VarveManifest *manifest)
{
    return manifest->config != NULL &&
           varve_media_kind(manifest->config->media_type) == VARVE_MEDIA_CONFIG;
}

VarvePlatform *
varve_image_platform(VarveImages *images, const VarveDescriptor *descriptor,
                     const VarveManifest *manifest)
{
    if (!can_run(manifest))
        return NULL;
    if (descriptor->platform != NULL)
        return varve_platform_copy(descriptor->platform);
    g_autoptr(VarveImageConfig) config = read_config(images, manifest->config, NULL, NULL);
    return config != NULL ? varve_platform_copy(&config->platform) : NULL;
}

/* --- choosing a platform ---------------------------------------------------------------------- */

typedef struct {
    VarveImages *images;
    const VarvePlatform *wanted;
    VarveDescriptor *best, *only; /* only: the last one met, of those that are met */
    guint rank, met;
    GString *offered;
} Choice;

static gboolean
find_blob(const VarveDescriptor *descriptor, gpointer data, gboolean *present, GError **error)
{
    Choice *choice = data;
    return varve_content_find(choice->images->content, descriptor->digest, present, NULL, error);
}

static gboolean
consider(const VarveDescriptor *descriptor, const VarveManifest *manifest, gboolean complete,
         gpointer data, GError **error)
{
    Choice *choice = data;
    g_autoptr(VarvePlatform) platform = varve_image_platform(choice->images, descriptor, manifest);
    if (platform != NULL && g_str_equal(platform->os, "unknown"))
        return TRUE; /* what builders say of an image, not an image */
    choice->met++;
    varve_descriptor_free(choice->only);
    choice->only = varve_descriptor_copy(descriptor);
    if (platform == NULL)
        return TRUE;
    if (choice->only->platform == NULL)
        choice->only->platform = varve_platform_copy(platform);
    g_autofree char *text = varve_platform_format(platform);
    g_string_append_printf(choice->offered, "%s%s", choice->offered->len > 0 ? ", " : "", text);

    guint rank = varve_platform_rank(choice->wanted, platform);
    if (rank < choice->rank) {
        choice->rank = rank;
        varve_descriptor_free(choice->best);
        choice->best = varve_descriptor_copy(choice->only);
    }
    return TRUE;
}

static VarveDescriptor *
no_platform(const Choice *choice, GError **error)
{
    g_autofree char *wanted = varve_platform_format(choice->wanted);
    if (choice->met == 0)
        varve_error_set(error, VARVE_ERROR_NOT_FOUND, "no manifest of it is here");
    else
        varve_error_set(error, VARVE_ERROR_NOT_FOUND, "it is not for %s, only for %s", wanted,
                        choice->offered->len > 0 ? choice->offered->str : "no platform");
    return NULL;
}

VarveDescriptor *
varve_image_choose(VarveImages *images, const VarveDescriptor *root, const VarvePlatform *platform,
                   GError **error)
{
    g_autoptr(VarvePlatform) host = varve_platform_host();
    Choice choice = {.images = images,
                     .wanted = platform != NULL ? platform : host,
                     .rank = G_MAXUINT,
                     .offered = g_string_new(NULL)};
    const VarveClosureVisitor visitor = {
        .blob = find_blob, .manifest = consider, .tolerant = FALSE, .data = &choice};
    VarveDescriptor *chosen = NULL;
    if (varve_closure_walk(images->content, root, &visitor, NULL, error)) {
        if (choice.best != NULL)
            chosen = g_steal_pointer(&choice.best);
        else if (platform == NULL && choice.met == 1)
            chosen = g_steal_pointer(&choice.only);
        else
            chosen = no_platform(&choice, error);
    }
    varve_descriptor_free(choice.best);
    varve_descriptor_free(choice.only);
    g_string_free(choice.offered, TRUE);
    return chosen;
}

/* --- details ---------------------------------------------------------------------------------- */

static void
blob_free(VarveImageBlob *blob)
{
    if (blob == NULL)
        return;
    g_free(blob->digest);
    g_free(blob->media_type);
    g_free(blob);
}

void
varve_image_details_free(VarveImageDetails *details)
{
    if (details == NULL)
        return;
    g_free(details->name);
    g_free(details->digest);
    g_free(details->media_type);
    g_free(details->artifact_type);
    varve_platform_free(details->platform);
    blob_free(details->config_blob);
    g_clear_pointer(&details->layers, g_ptr_array_unref);
    g_clear_pointer(&details->annotations, g_hash_table_unref);
    g_free(details->chain_id);
    varve_image_config_free(details->config);
    g_free(details->manifest_text);
    g_free(details->config_text);
    g_free(details);
}

static VarveImageBlob *
describe_blob(VarveImages *images, const VarveDescriptor *descriptor)
{
    VarveImageBlob *blob = g_new0(VarveImageBlob, 1);
    blob->digest = g_strdup(descriptor->digest);
    blob->media_type = g_strdup(descriptor->media_type);
    blob->size = descriptor->size;
    (void)varve_content_find(images->content, blob->digest, &blob->present, NULL, NULL);
    return blob;
}

static gboolean
describe_config(VarveImages *images, const VarveDescriptor *descriptor,
                const VarveManifest *manifest, VarveImageDetails *details, GError **error)
{
    details->chain_id = g_strdup("");
    if (!can_run(manifest))
        return TRUE;
    details->config = read_config(images, manifest->config, &details->config_text, error);
    if (details->config == NULL)
        return FALSE;
    guint n = g_strv_length(details->config->diff_ids);
    if (n != manifest->blobs->len)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "its manifest has %u layers, its config has %u",
                               manifest->blobs->len, n);
    g_free(details->chain_id);
    details->chain_id = varve_chain_id((const char *const *)details->config->diff_ids, n);
    details->platform = varve_image_platform(images, descriptor, manifest);
    return TRUE;
}

static gboolean
describe(VarveImages *images, const VarveDescriptor *descriptor, VarveImageDetails *details,
         GError **error)
{
    gsize size;
    details->manifest_text =
        varve_content_read(images->content, descriptor->digest, VARVE_MAX_MANIFEST, &size, error);
    if (details->manifest_text == NULL)
        return FALSE;
    g_autoptr(VarveManifest) manifest =
        varve_manifest_parse(details->manifest_text, size, descriptor->media_type, error);
    if (manifest == NULL) {
        g_prefix_error(error, "manifest %s: ", descriptor->digest);
        return FALSE;
    }
    details->digest = g_strdup(descriptor->digest);
    details->media_type = g_strdup(manifest->media_type);
    details->artifact_type = g_strdup(manifest->artifact_type);
    details->annotations = g_hash_table_ref(manifest->annotations);
    if (manifest->config != NULL)
        details->config_blob = describe_blob(images, manifest->config);
    details->layers = g_ptr_array_new_with_free_func((GDestroyNotify)blob_free);
    for (guint i = 0; i < manifest->blobs->len; i++)
        g_ptr_array_add(details->layers,
                        describe_blob(images, g_ptr_array_index(manifest->blobs, i)));
    return describe_config(images, descriptor, manifest, details, error);
}

VarveImageDetails *
varve_image_describe(VarveImages *images, const VarveDescriptor *descriptor, GError **error)
{
    g_autoptr(VarveImageDetails) details = g_new0(VarveImageDetails, 1);
    return describe(images, descriptor, details, error) ? g_steal_pointer(&details) : NULL;
}

VarveImageDetails *
varve_images_inspect(VarveImages *images, const char *name, const VarvePlatform *platform,
                     GError **error)
{
    g_autoptr(VarveImageRecord) record = varve_names_look_up(images, name, error);
    if (record == NULL)
        return NULL;
    g_autoptr(VarveDescriptor) root = varve_names_target(record);
    g_autoptr(VarveDescriptor) chosen = varve_image_choose(images, root, platform, error);
    VarveImageDetails *details =
        chosen != NULL ? varve_image_describe(images, chosen, error) : NULL;
    if (details != NULL)
        details->name = g_strdup(record->name);
    else
        g_prefix_error(error, "looking at image '%s': ", record->name);
    return details;
}
