/* SPDX-License-Identifier: Apache-2.0 */
/* https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#content-discovery */
#include "image/registry/internal.h"
#include <string.h>

#define PAGE      "1000"
#define MAX_PAGES 10000
#define MAX_PAGE  (4 * 1024 * 1024)

typedef struct {
    VarveRegistry *registry;
    const VarveReference *name;
    const VarveRegistryWatch *watch;
    GPtrArray *tags;
    char *url; /* of the next page; NULL: the first one */
    gboolean done;
} Listing;

/* Goes on to the page that the answer links to, if it does. */
static gboolean
turn(Listing *listing, const VarveRegistryRequest *request, const VarveRegistryAnswer *answer,
     GError **error)
{
    g_autofree char *links = varve_registry_answer_headers(answer, "Link");
    g_autofree char *next = links != NULL ? varve_registry_link_next(links) : NULL;
    listing->done = next == NULL;
    if (listing->done)
        return TRUE;
    g_autoptr(VarveRegistryUrl) url = varve_registry_link(request, next, error);
    if (url == NULL)
        return FALSE;
    if (g_str_equal(url->text, request->effective))
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "the list leads to itself");
    g_free(listing->url);
    listing->url = g_strdup(url->text);
    return TRUE;
}

static gboolean
fetch_page(gpointer data, VarveRegistryEndpoint *endpoint, gboolean *progress,
           VarveRegistryFailure *failure, GError **error)
{
    Listing *listing = data;
    const char *repository = listing->name->path;
    g_autofree char *scope = g_strdup_printf("repository:%s:pull", repository);
    g_autofree char *path = g_strdup_printf("%s/tags/list?n=" PAGE, repository);
    g_auto(VarveRegistryRequest) request = {
        .endpoint = endpoint,
        .repository = repository,
        .method = "GET",
        .path = path,
        .url = listing->url,
        .scopes = scope,
        .limit = MAX_PAGE,
        .watch = listing->watch,
    };
    g_autoptr(VarveRegistryAnswer) answer = varve_registry_answer_new();
    return varve_registry_request(listing->registry, &request, answer, failure, error) &&
           varve_registry_tags_parse(answer->body->data, answer->body->len, listing->tags, error) &&
           turn(listing, &request, answer, error);
}

static gboolean
fetch_all(Listing *listing, GError **error)
{
    for (guint pages = 0; !listing->done; pages++) {
        if (pages == MAX_PAGES)
            return varve_error_set(error, VARVE_ERROR_CORRUPT, "there are more than %d pages",
                                   MAX_PAGES);
        if (!varve_registry_attempts(listing->registry, listing->name->domain, FALSE,
                                     listing->watch, fetch_page, listing, error))
            return FALSE;
    }
    return TRUE;
}

GPtrArray *
varve_registry_tags(VarveRegistry *registry, const VarveReference *name,
                    const VarveRegistryWatch *watch, GError **error)
{
    g_autoptr(GPtrArray) tags = g_ptr_array_new_with_free_func(g_free);
    Listing listing = {registry, name, watch, tags};
    gboolean good = fetch_all(&listing, error);
    g_free(listing.url);
    if (good)
        return g_steal_pointer(&tags);
    g_prefix_error(error, "listing the tags of '%s/%s': ", name->domain, name->path);
    return NULL;
}
