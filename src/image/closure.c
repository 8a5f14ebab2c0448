/* SPDX-License-Identifier: Apache-2.0 */
#include "image/closure.h"
#include "image/media-types.h"
#include <varve/log.h>

#define MAX_DEPTH 8      /* indexes within indexes */
#define MAX_BLOBS 262144 /* of an image */

typedef struct {
    VarveContentStore *content;
    const VarveClosureVisitor *visitor;
    VarveClosure *closure;
    GHashTable *met; /* digest -> Met */
    guint depth;
} Walk;

typedef enum { MET_UNDECIDED = 1, MET_COMPLETE, MET_INCOMPLETE } Met;

void
varve_closure_clear(VarveClosure *closure)
{
    g_clear_pointer(&closure->missing, g_free);
}

VarveManifest *
varve_manifest_read(VarveContentStore *content, const VarveDescriptor *descriptor, GError **error)
{
    gsize size;
    g_autofree char *text =
        varve_content_read(content, descriptor->digest, VARVE_MAX_MANIFEST, &size, error);
    if (text == NULL)
        return NULL;
    VarveManifest *manifest = varve_manifest_parse(text, size, descriptor->media_type, error);
    if (manifest == NULL)
        g_prefix_error(error, "manifest %s: ", descriptor->digest);
    return manifest;
}

static gboolean visit(Walk *walk, const VarveDescriptor *descriptor, gboolean *complete,
                      GError **error);

static void
note_missing(Walk *walk, const VarveManifest *manifest, const VarveDescriptor *blob)
{
    if (walk->closure->missing == NULL && !manifest->is_index)
        walk->closure->missing = g_strdup(blob->digest);
}

/* What a manifest needs to be complete: all; what an index needs: one. */
static gboolean
visit_named(Walk *walk, const VarveManifest *manifest, gboolean *complete, GError **error)
{
    gboolean part, all = TRUE, any = FALSE;
    if (manifest->config != NULL) {
        if (!visit(walk, manifest->config, &all, error))
            return FALSE;
        if (!all)
            note_missing(walk, manifest, manifest->config);
    }
    for (guint i = 0; i < manifest->blobs->len; i++) {
        const VarveDescriptor *blob = g_ptr_array_index(manifest->blobs, i);
        if (!visit(walk, blob, &part, error))
            return FALSE;
        any = any || part;
        if (part || varve_media_kind(blob->media_type) == VARVE_MEDIA_FOREIGN_LAYER)
            continue;
        all = FALSE;
        note_missing(walk, manifest, blob);
    }
    *complete = manifest->is_index ? any || manifest->blobs->len == 0 : all;
    return TRUE;
}

/* A failure of the disk is not passed over, only what is wrong with the content is. */
static gboolean
is_tolerable(const GError *error)
{
    return g_error_matches(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT) ||
           g_error_matches(error, VARVE_ERROR, VARVE_ERROR_NOT_IMPLEMENTED) ||
           g_error_matches(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND) ||
           g_error_matches(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
}

static gboolean
visit_manifest(Walk *walk, const VarveDescriptor *descriptor, gboolean *complete, GError **error)
{
    const VarveClosureVisitor *visitor = walk->visitor;
    if (walk->depth >= MAX_DEPTH)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "indexes are nested deeper than %d levels", MAX_DEPTH);
    g_autoptr(GError) failure = NULL;
    g_autoptr(VarveManifest) manifest = varve_manifest_read(walk->content, descriptor, &failure);
    if (manifest == NULL && visitor->tolerant && is_tolerable(failure)) {
        varve_log(VARVE_LOG_WARNING, "a manifest cannot be read", "digest", descriptor->digest,
                  "error", failure->message, NULL);
        *complete = FALSE;
        return TRUE;
    }
    if (manifest == NULL) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return FALSE;
    }
    walk->depth++;
    gboolean ok = visit_named(walk, manifest, complete, error);
    walk->depth--;
    return ok && (manifest->is_index || visitor->manifest == NULL ||
                  visitor->manifest(descriptor, manifest, *complete, visitor->data, error));
}

static gboolean
visit_new(Walk *walk, const VarveDescriptor *descriptor, gboolean *complete, GError **error)
{
    *complete = FALSE;
    if (g_hash_table_size(walk->met) > MAX_BLOBS)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "it consists of more than %d blobs", MAX_BLOBS);
    if (!walk->visitor->blob(descriptor, walk->visitor->data, complete, error))
        return FALSE;
    return !*complete || !varve_media_is_manifest(descriptor->media_type) ||
           visit_manifest(walk, descriptor, complete, error);
}

static gboolean
visit(Walk *walk, const VarveDescriptor *descriptor, gboolean *complete, GError **error)
{
    gpointer met = g_hash_table_lookup(walk->met, descriptor->digest);
    if (met != NULL) {
        *complete = GPOINTER_TO_INT(met) == MET_COMPLETE;
        return TRUE;
    }
    char *digest = g_strdup(descriptor->digest);
    g_hash_table_insert(walk->met, digest, GINT_TO_POINTER(MET_UNDECIDED));
    if (!visit_new(walk, descriptor, complete, error))
        return FALSE;
    g_hash_table_insert(walk->met, g_strdup(digest),
                        GINT_TO_POINTER(*complete ? MET_COMPLETE : MET_INCOMPLETE));
    return TRUE;
}

gboolean
varve_closure_walk(VarveContentStore *content, const VarveDescriptor *root,
                   const VarveClosureVisitor *visitor, VarveClosure *closure, GError **error)
{
    VarveClosure ignored = {0};
    closure = closure != NULL ? closure : &ignored;
    *closure = (VarveClosure){0};
    g_autoptr(GHashTable) met = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Walk walk = {.content = content, .visitor = visitor, .closure = closure, .met = met};
    gboolean ok = visit(&walk, root, &closure->complete, error);
    varve_closure_clear(&ignored);
    return ok;
}
