/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "image/unpack.h"

static gboolean
open_blob(const VarveUnpackLayer *layer, VarveUnpackSource *source, GError **error)
{
    source->blob =
        varve_content_open(layer->unpacking->images->content, layer->blob->digest, NULL, error);
    source->source = varve_content_source(&source->blob);
    return source->blob >= 0;
}

/* What is here already is not waited for, though a pull may come to it last. */
gboolean
varve_unpack_source_open(const VarveUnpackLayer *layer, VarveUnpackSource *source, GError **error)
{
    const VarveUnpacking *unpacking = layer->unpacking;
    VarveArrival *arrival = varve_arrivals_find(unpacking->arrivals, layer->blob->digest);
    gboolean there = arrival == NULL;
    *source = (VarveUnpackSource){.blob = -1};
    if (!there &&
        !varve_content_find(unpacking->images->content, layer->blob->digest, &there, NULL, error))
        return FALSE;
    if (!there &&
        !varve_arrival_open(arrival, unpacking->watch.cancelled, &source->reader, &there, error))
        return FALSE;
    if (there)
        return open_blob(layer, source, error);
    source->source = varve_arrival_source(&source->reader);
    source->verified = TRUE;
    return TRUE;
}

void
varve_unpack_source_close(VarveUnpackSource *source)
{
    varve_fd_clear(&source->blob);
    varve_arrival_close(&source->reader);
}

/* These have nothing to do with what was read, so why wait for the rest of it. */
static gboolean
is_of_the_host(const GError *error)
{
    return g_error_matches(error, VARVE_ERROR, VARVE_ERROR_CANCELLED) ||
           g_error_matches(error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
}

gboolean
varve_unpack_source_again(VarveUnpackSource *source, GError **error)
{
    g_autoptr(GError) failure = NULL;
    gboolean again = FALSE;
    if (source->reader.arrival == NULL || is_of_the_host(*error) ||
        varve_arrival_decide(&source->reader, &again, &failure))
        return again;
    g_clear_error(error);
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}
