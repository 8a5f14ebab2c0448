/* SPDX-License-Identifier: Apache-2.0 */
#include "image/commit.h"
#include "image/import.h"
#include "image/instructions.h"
#include "image/media-types.h"
#include "image/package.h"
#include "image/reference.h"
#include <string.h>

/*
 * Snapshots into images: SPEC row L3. The layer, the config and the manifest come into the content
 * store, held by a lease, and last the name is led to them, as an import does it: so a crash leaves
 * blobs that no name leads to, and a failure nothing.
 */

typedef struct {
    VarveImport import;
    const VarveTrees *trees;
    const VarveImageCommit *options;
    VarveLayer layer;
} Commit;

static gboolean
write_ingest(gpointer data, const void *bytes, gsize size, GError **error)
{
    return varve_ingest_write(data, bytes, size, error);
}

static gboolean
store_layer(Commit *commit, GError **error)
{
    VarveImages *images = commit->import.images;
    g_autoptr(VarveIngest) ingest = NULL;
    if (!varve_ingest_begin(images->content, commit->import.lease, NULL, -1, &images->watch,
                            &ingest, error))
        return FALSE;
    const VarveSink sink = {write_ingest, ingest};
    if (!varve_trees_package(commit->trees, &commit->options->layer, sink, &commit->layer, error) ||
        !varve_ingest_finish(ingest, NULL, NULL, error))
        return FALSE;
    g_ptr_array_add(commit->import.brought, g_strdup(commit->layer.digest));
    return TRUE;
}

static VarveDescriptor *
store_json(Commit *commit, const char *media_type, const json_t *value, GError **error)
{
    char *text = json_dumps(value, JSON_COMPACT);
    VarveDescriptor *stored =
        varve_import_bytes(&commit->import, media_type, text, strlen(text), error);
    free(text);
    return stored;
}

static VarveDescriptor *
make_image(Commit *commit, GError **error)
{
    const VarveImageCommit *options = commit->options;
    g_auto(VarveCommitBase) base = {.config = NULL};
    if (!varve_commit_find_base(commit->import.images, commit->import.lease, commit->trees->parent,
                                options->from, &base, error) ||
        !varve_instructions_apply(base.config, options->changes, error))
        return NULL;
    if (options->author != NULL)
        json_object_set_new(base.config, "author", json_string(options->author));
    if (!store_layer(commit, error))
        return NULL;
    varve_commit_extend_config(base.config, options, commit->layer.diff_id);
    g_autoptr(VarveDescriptor) config =
        store_json(commit, VARVE_MEDIA_OCI_CONFIG, base.config, error);
    if (config == NULL)
        return NULL;
    json_auto_t *manifest = varve_commit_make_manifest(base.layers, config, &commit->layer);
    return store_json(commit, VARVE_MEDIA_OCI_MANIFEST, manifest, error);
}

static VarveImageInfo *
make_and_name(Commit *commit, const char *name, GError **error)
{
    g_autoptr(GPtrArray) namings =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_naming_free);
    g_autoptr(VarveDescriptor) manifest = make_image(commit, error);
    if (manifest == NULL)
        return NULL;
    g_ptr_array_add(namings, varve_naming_new(name, manifest));
    return varve_names_publish(commit->import.images, namings, error)
               ? varve_images_find(commit->import.images, name, error)
               : NULL;
}

/* What was brought in vain is dropped after the lease is given up, which held it. */
static VarveImageInfo *
run(Commit *commit, const char *name, GError **error)
{
    VarveImport *import = &commit->import;
    import->lease = varve_lease_new(import->images->content, error);
    if (import->lease == NULL)
        return NULL;
    import->brought = g_ptr_array_new_with_free_func(g_free);
    VarveImageInfo *info = make_and_name(commit, name, error);
    varve_lease_free(import->lease);
    if (info == NULL)
        varve_images_drop(import->images, import->brought);
    g_ptr_array_unref(import->brought);
    return info;
}

static gboolean
check_texts(const VarveImageCommit *options, GError **error)
{
    const char *const texts[] = {options->author, options->message};
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (texts[i] != NULL && !g_utf8_validate(texts[i], -1, NULL))
            return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                                   "its author and message must be UTF-8");
    }
    return TRUE;
}

static VarveImageInfo *
commit_to(VarveImages *images, VarvePool *pool, const char *key, const char *name,
          const VarveImageCommit *options, VarveLayer *layer, GError **error)
{
    g_auto(VarveTrees) trees = VARVE_TREES_INIT;
    g_autoptr(VarveReference) reference = varve_reference_parse(name, TRUE, error);
    if (reference == NULL || !check_texts(options, error))
        return NULL;
    if (reference->digest != NULL) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "the name '%s' is a digest's", name);
        return NULL;
    }
    g_autofree char *whole = varve_reference_format(reference);
    if (!varve_snapshot_open_trees(pool, key, &trees, error))
        return NULL;
    Commit commit = {.import = {.images = images}, .trees = &trees, .options = options};
    VarveImageInfo *info = run(&commit, whole, error);
    if (info != NULL && layer != NULL)
        *layer = commit.layer;
    else
        varve_layer_clear(&commit.layer);
    return info;
}

VarveImageInfo *
varve_images_commit(VarveImages *images, VarvePool *pool, const char *key, const char *name,
                    const VarveImageCommit *options, VarveLayer *layer, GError **error)
{
    static const VarveImageCommit plain = {.from = NULL};
    VarveImageInfo *info =
        commit_to(images, pool, key, name, options != NULL ? options : &plain, layer, error);
    if (info == NULL)
        varve_prefix_operation(error, "making an image of", pool, key);
    return info;
}
