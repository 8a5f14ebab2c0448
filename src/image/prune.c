/* SPDX-License-Identifier: Apache-2.0 */
#include "image/unpack.h"

/* Garbage: blobs that no name leads to, and what dead processes left unfinished. */

static gboolean
mark_blob(const VarveDescriptor *descriptor, gpointer data, gboolean *present, GError **error)
{
    VarveContentStore *content = ((gpointer *)data)[0];
    GHashTable *marked = ((gpointer *)data)[1];
    g_hash_table_add(marked, g_strdup(descriptor->digest));
    return varve_content_find(content, descriptor->digest, present, NULL, error);
}

static gboolean
mark(gpointer data, GHashTable *marked, GError **error)
{
    VarveImages *images = data;
    gpointer context[] = {images->content, marked};
    const VarveClosureVisitor visitor = {.blob = mark_blob, .tolerant = TRUE, .data = context};
    g_autoptr(GPtrArray) records = varve_names_list(images, error);
    for (guint i = 0; records != NULL && i < records->len; i++) {
        g_autoptr(VarveDescriptor) target = varve_names_target(g_ptr_array_index(records, i));
        if (!varve_closure_walk(images->content, target, &visitor, NULL, error))
            return FALSE;
    }
    return records != NULL;
}

/* A removal that is not durable yet could come undone by a power cut, so nothing is deleted on the
 * strength of it. */
static gboolean
collect(VarveImages *images, GPtrArray *candidates, VarveCollected *collected, GError **error)
{
    return varve_store_sync(images->engine->store, error) &&
           varve_content_collect(images->content, candidates, mark, images, collected, error);
}

gboolean
varve_images_prune(VarveImages *images, VarveImagePrune *result, GError **error)
{
    VarveCollected collected = {0};
    guint64 snapshots = 0;
    gboolean ok = collect(images, NULL, &collected, error);
    if (!ok)
        g_prefix_error(error, "deleting blobs that no image needs: ");
    if (ok && !varve_unpack_clear(images->engine, &snapshots, error)) {
        g_prefix_error(error, "removing what was left unfinished while unpacking: ");
        ok = FALSE;
    }
    if (result != NULL)
        *result = (VarveImagePrune){collected.blobs, collected.begun, collected.bytes,
                                    collected.in_use, snapshots};
    return ok;
}

void
varve_images_drop(VarveImages *images, GPtrArray *digests)
{
    VarveCollected collected = {0};
    g_autoptr(GError) error = NULL;
    if (digests->len > 0 && !collect(images, digests, &collected, &error))
        varve_error_log_undo("deleting blobs that are not needed", g_steal_pointer(&error));
}
