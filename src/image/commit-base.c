/* SPDX-License-Identifier: Apache-2.0 */
#include "image/commit.h"
#include "image/media-types.h"
#include <string.h>

void
varve_commit_base_clear(VarveCommitBase *base)
{
    g_clear_pointer(&base->config, json_decref);
    g_clear_pointer(&base->layers, varve_manifest_free);
}

/* --- which image ----------------------------------------------------------------------------- */

static gboolean
has_chain(const VarveImageDetails *image, const char *chain_id)
{
    return image->config != NULL && g_str_equal(image->chain_id, chain_id);
}

static VarveImageDetails *
take_given(VarveImages *images, const char *from, const char *chain_id, GError **error)
{
    g_autoptr(VarveImageDetails) image = varve_images_inspect(images, from, NULL, error);
    if (image == NULL)
        return NULL;
    if (has_chain(image, chain_id))
        return g_steal_pointer(&image);
    varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                    "the snapshot does not stand on image '%s': its parent is '%s', the image's "
                    "ChainID is '%s'",
                    image->name, chain_id, image->chain_id);
    return NULL;
}

static gboolean
same_image(const VarveImageDetails *a, const VarveImageDetails *b)
{
    return g_str_equal(a->config_blob->digest, b->config_blob->digest);
}

/* Looks at the images of all names; which of several that have the same config does not matter. An
 * image that cannot be read is none that we look for. */
static VarveImageDetails *
search(VarveImages *images, const char *chain_id, GError **error)
{
    g_autoptr(VarveImageDetails) found = NULL;
    g_autoptr(GPtrArray) records = varve_names_list(images, error);
    if (records == NULL)
        return NULL;
    for (guint i = 0; i < records->len; i++) {
        const VarveImageRecord *record = g_ptr_array_index(records, i);
        g_autoptr(VarveImageDetails) image = varve_images_inspect(images, record->name, NULL, NULL);
        if (image == NULL || !has_chain(image, chain_id))
            continue;
        if (found != NULL && !same_image(found, image)) {
            varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                            "several images have the layers that the snapshot stands on, '%s' and "
                            "'%s': say which",
                            found->name, image->name);
            return NULL;
        }
        if (found == NULL)
            found = g_steal_pointer(&image);
    }
    if (found == NULL)
        varve_error_set(error, VARVE_ERROR_NOT_FOUND,
                        "no image here has the layers that the snapshot stands on: its parent is "
                        "'%s', which is no image's ChainID",
                        chain_id);
    return g_steal_pointer(&found);
}

/* --- what it has ----------------------------------------------------------------------------- */

static gboolean
hold_layers(VarveImages *images, VarveLease *lease, const VarveManifest *manifest, GError **error)
{
    for (guint i = 0; i < manifest->blobs->len; i++) {
        const VarveDescriptor *layer = g_ptr_array_index(manifest->blobs, i);
        gboolean present;
        if (!varve_lease_hold(lease, layer->digest, error) ||
            !varve_content_find(images->content, layer->digest, &present, NULL, error))
            return FALSE;
        if (!present && varve_media_kind(layer->media_type) != VARVE_MEDIA_FOREIGN_LAYER)
            return varve_error_set(error, VARVE_ERROR_NOT_FOUND,
                                   "layer %s is not here, and the new image needs it",
                                   layer->digest);
    }
    return TRUE;
}

/* What Docker says there of the container that the image was made of is not true of the new one. */
static json_t *
parse_config(const char *text, GError **error)
{
    json_t *config = varve_json_parse(text, strlen(text), VARVE_MAX_CONFIG, JSON_OBJECT, error);
    if (config != NULL) {
        json_object_del(config, "container");
        json_object_del(config, "container_config");
    }
    return config;
}

static json_t *
make_config(void)
{
    g_autoptr(VarvePlatform) host = varve_platform_host();
    json_t *config = json_object();
    json_object_set_new(config, "architecture", json_string(host->architecture));
    json_object_set_new(config, "os", json_string(host->os));
    if (host->variant[0] != '\0')
        json_object_set_new(config, "variant", json_string(host->variant));
    json_object_set_new(config, "config", json_object());
    json_object_set_new(config, "rootfs", json_pack("{s:s,s:[]}", "type", "layers", "diff_ids"));
    return config;
}

static gboolean
take(VarveImages *images, VarveLease *lease, const VarveImageDetails *image, VarveCommitBase *base,
     GError **error)
{
    const char *text = image->manifest_text;
    base->layers = varve_manifest_parse(text, strlen(text), image->media_type, error);
    if (base->layers == NULL)
        return FALSE;
    base->config = parse_config(image->config_text, error);
    return base->config != NULL && hold_layers(images, lease, base->layers, error);
}

gboolean
varve_commit_find_base(VarveImages *images, VarveLease *lease, const char *chain_id,
                       const char *from, VarveCommitBase *base, GError **error)
{
    if (from == NULL && *chain_id == '\0') {
        base->config = make_config();
        return TRUE;
    }
    g_autoptr(VarveImageDetails) image =
        from != NULL ? take_given(images, from, chain_id, error) : search(images, chain_id, error);
    if (image == NULL)
        return FALSE;
    if (take(images, lease, image, base, error))
        return TRUE;
    g_prefix_error(error, "image '%s': ", image->name);
    return FALSE;
}
