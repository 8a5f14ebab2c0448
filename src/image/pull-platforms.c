/* SPDX-License-Identifier: Apache-2.0 */
#include "image/platform.h"
#include "image/pull.h"

/* What builders say of an image stands in its index too, for a platform "unknown". */
static gboolean
is_image(const VarveDescriptor *entry)
{
    return entry->platform != NULL && !g_str_equal(entry->platform->os, "unknown");
}

/* The best entry for a platform, or NULL. */
static const VarveDescriptor *
best_for(const VarveManifest *index, const VarvePlatform *wanted)
{
    const VarveDescriptor *best = NULL;
    guint best_rank = G_MAXUINT;
    for (guint i = 0; i < index->blobs->len; i++) {
        const VarveDescriptor *entry = g_ptr_array_index(index->blobs, i);
        guint rank = is_image(entry) ? varve_platform_rank(wanted, entry->platform) : G_MAXUINT;
        if (rank < best_rank) {
            best = entry;
            best_rank = rank;
        }
    }
    return best;
}

static const VarveDescriptor *
only_one(const VarveManifest *index)
{
    const VarveDescriptor *only = NULL;
    for (guint i = 0; i < index->blobs->len; i++) {
        const VarveDescriptor *entry = g_ptr_array_index(index->blobs, i);
        if (is_image(entry) && only != NULL)
            return NULL;
        if (is_image(entry))
            only = entry;
    }
    return only;
}

static gboolean
has_nameless(const VarveManifest *index)
{
    for (guint i = 0; i < index->blobs->len; i++) {
        if (((const VarveDescriptor *)g_ptr_array_index(index->blobs, i))->platform == NULL)
            return TRUE;
    }
    return FALSE;
}

static gboolean
not_offered(const VarveManifest *index, const VarvePlatform *wanted, GError **error)
{
    g_autoptr(GString) offered = g_string_new(NULL);
    g_autofree char *text = varve_platform_format(wanted);
    for (guint i = 0; i < index->blobs->len; i++) {
        const VarveDescriptor *entry = g_ptr_array_index(index->blobs, i);
        g_autofree char *its = is_image(entry) ? varve_platform_format(entry->platform) : NULL;
        if (its != NULL)
            g_string_append_printf(offered, "%s%s", offered->len > 0 ? ", " : "", its);
    }
    return varve_error_set(error, VARVE_ERROR_NOT_FOUND, "it is not for %s, only for %s", text,
                           offered->len > 0 ? offered->str : "no platform");
}

static gboolean
choose_one(const VarveManifest *index, const VarvePlatform *wanted, gboolean or_only,
           GHashTable *chosen, GError **error)
{
    const VarveDescriptor *best = best_for(index, wanted);
    if (best == NULL && or_only)
        best = only_one(index);
    if (best != NULL)
        g_hash_table_add(chosen, best->digest);
    return best != NULL || has_nameless(index) || not_offered(index, wanted, error);
}

gboolean
varve_pull_choose(const VarveManifest *index, const VarvePlatform *const *platforms,
                  GHashTable *unwanted, GError **error)
{
    g_autoptr(VarvePlatform) host = varve_platform_host();
    const VarvePlatform *const this_one[] = {host, NULL};
    g_autoptr(GHashTable) chosen = g_hash_table_new(g_str_hash, g_str_equal);
    gboolean given = platforms != NULL;
    if (index->blobs->len == 0)
        return TRUE;
    for (const VarvePlatform *const *wanted = given ? platforms : this_one; *wanted != NULL;
         wanted++) {
        if (!choose_one(index, *wanted, !given, chosen, error))
            return FALSE;
    }
    for (guint i = 0; i < index->blobs->len; i++) {
        const VarveDescriptor *entry = g_ptr_array_index(index->blobs, i);
        if (entry->platform != NULL && !g_hash_table_contains(chosen, entry->digest))
            g_hash_table_add(unwanted, g_strdup(entry->digest));
    }
    return TRUE;
}
