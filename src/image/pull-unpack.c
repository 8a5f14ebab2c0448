/* SPDX-License-Identifier: Apache-2.0 */
#include "image/pull.h"
#include "image/unpack.h"

/* A thread fetches, with some more of its own; the calling one unpacks, and follows behind. Neither
 * waits for the other but for bytes, and either's failure ends both. */

typedef struct {
    VarvePull *pull;
    GError *error;
} Fetching;

static gpointer
fetch(gpointer data)
{
    Fetching *fetching = data;
    (void)varve_pull_blobs(fetching->pull, &fetching->error);
    varve_arrivals_end(fetching->pull->arrivals);
    return NULL;
}

static gboolean
unpack(VarvePull *pull, const VarveImageDetails *image, GError **error)
{
    const VarveUnpacking unpacking = {pull->images, pull->pool, pull->lease, pull->images->watch,
                                      pull->arrivals};
    if (varve_unpack_image(&unpacking, image, pull->unpacked, error))
        return TRUE;
    g_prefix_error(error, "unpacking it into pool '%s': ", pull->pool->name);
    varve_transfer_stop(pull->transfer);
    return FALSE;
}

/* Who failed first knows why: the other one was only told to end. Takes the errors. */
static gboolean
judge(GError *fetching, GError *unpacking, GError **error)
{
    gboolean fetch_failed =
        fetching != NULL &&
        (unpacking == NULL || !g_error_matches(fetching, VARVE_ERROR, VARVE_ERROR_CANCELLED));
    GError *first = fetch_failed ? fetching : unpacking;
    GError *other = fetch_failed ? unpacking : fetching;
    g_clear_error(&other);
    if (first == NULL)
        return TRUE;
    g_propagate_error(error, first);
    return FALSE;
}

static gboolean
fetch_and_unpack(VarvePull *pull, const VarveImageDetails *image, GError **error)
{
    Fetching fetching = {pull, NULL};
    GError *unpacking = NULL;
    GThread *thread = g_thread_try_new("fetch", fetch, &fetching, error);
    if (thread == NULL)
        return FALSE;
    (void)unpack(pull, image, &unpacking);
    g_thread_join(thread);
    /* cppcheck-suppress memleak ; joining frees it */
    return judge(fetching.error, unpacking, error);
}

gboolean
varve_pull_unpack(VarvePull *pull, const VarveDescriptor *root, GError **error)
{
    const VarvePlatform *const *platforms = pull->options->platforms;
    if (platforms != NULL && platforms[0] != NULL && platforms[1] != NULL)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the image for one platform can be unpacked, not for several");
    g_autoptr(VarveDescriptor) chosen =
        varve_image_choose(pull->images, root, platforms != NULL ? platforms[0] : NULL, error);
    if (chosen == NULL)
        return FALSE;
    g_autoptr(VarveImageDetails) image = varve_image_describe(pull->images, chosen, error);
    if (image == NULL)
        return FALSE;
    pull->arrivals = varve_arrivals_new();
    for (guint i = 0; i < image->layers->len; i++) {
        const VarveImageBlob *layer = g_ptr_array_index(image->layers, i);
        varve_arrivals_add(pull->arrivals, layer->digest);
    }
    gboolean ok = fetch_and_unpack(pull, image, error);
    g_clear_pointer(&pull->arrivals, varve_arrivals_free);
    return ok;
}
