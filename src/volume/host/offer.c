/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/host/internal.h"

void
varve_offer_clear(VarveOffer *offer)
{
    g_clear_pointer(&offer->haves, g_strfreev);
    g_clear_pointer(&offer->formats, g_strfreev);
    g_clear_pointer(&offer->resume, g_free);
}

gboolean
varve_volume_find_pool(VarveVolumes *volumes, const char *id, const char *provider,
                       VarvePool **pool, GError **error)
{
    g_autoptr(VarveVolumeInfo) volume = NULL;
    g_autoptr(GError) cause = NULL;
    if (!varve_volume_find(volumes, id, &volume, error))
        return FALSE;
    if (volume != NULL)
        provider = volume->provider;
    *pool = varve_engine_get_pool(volumes->engine, provider, &cause);
    if (*pool != NULL ||
        (provider == NULL && g_error_matches(cause, VARVE_ERROR, VARVE_ERROR_NOT_FOUND)))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&cause));
    return FALSE;
}

guint64
varve_pool_kept_bytes(VarvePool *pool, const char *uuid)
{
    g_autoptr(GPtrArray) all = pool != NULL ? varve_pool_kept_transfers(pool, NULL) : NULL;
    for (guint i = 0; all != NULL && i < all->len; i++) {
        const VarveKeptTransfer *kept = all->pdata[i];
        if (g_strcmp0(kept->uuid, uuid) == 0)
            return kept->bytes;
    }
    return 0;
}

static gboolean
add_kept(VarvePool *pool, const char *uuid, VarveOffer *offer, GError **error)
{
    GError *cause = NULL;
    offer->resume = varve_pool_resume_token(pool, uuid, &cause);
    if (cause != NULL) {
        g_propagate_error(error, cause);
        return FALSE;
    }
    offer->kept = offer->resume != NULL ? varve_pool_kept_bytes(pool, uuid) : 0;
    return TRUE;
}

gboolean
varve_volumes_offer(VarveVolumes *volumes, const char *id, const char *provider, const char *uuid,
                    VarveOffer *offer, GError **error)
{
    VarvePool *pool = NULL;
    g_auto(VarveOffer) made = {0};
    if (!varve_volume_find_pool(volumes, id, provider, &pool, error))
        return FALSE;
    made.haves = pool != NULL ? varve_pool_haves(pool, NULL, error) : g_new0(char *, 1);
    const char *formats[] = {pool != NULL ? varve_pool_stream_format(pool) : NULL, NULL};
    made.formats = g_strdupv((char **)formats);
    if (made.haves == NULL || (pool != NULL && uuid != NULL && !add_kept(pool, uuid, &made, error)))
        return FALSE;
    *offer = made;
    made = (VarveOffer){0};
    return TRUE;
}
