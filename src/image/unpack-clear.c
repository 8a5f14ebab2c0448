/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "image/unpack.h"
#include <string.h>

/* The ChainID in such a key; NULL where it is another one. */
static const char *
chain_id_of(const char *key)
{
    const char *chain_id = key + strlen(VARVE_UNPACK_KEY);
    return g_str_has_prefix(key, VARVE_UNPACK_KEY) && varve_digest_check(chain_id, NULL) ? chain_id
                                                                                         : NULL;
}

static gboolean
collect(const VarveSnapshotInfo *info, gpointer keys, GError **error)
{
    if (chain_id_of(info->name) != NULL)
        g_ptr_array_add(keys, g_strdup(info->name));
    return TRUE;
}

/* With the turn, what is there under the key is nobody's. It may be gone since it was listed. */
static gboolean
clear(VarvePool *pool, const char *key, guint64 *removed, GError **error)
{
    VarveTurn *taken;
    g_autoptr(GError) failure = NULL;
    g_autofree char *what = varve_unpack_turn(pool, chain_id_of(key));
    if (!varve_turn_try(pool->engine->rootfd, what, &taken, error))
        return FALSE;
    g_autoptr(VarveTurn) turn = taken;
    if (turn == NULL)
        return TRUE;
    if (varve_snapshot_remove(pool, key, &failure)) {
        ++*removed;
        return TRUE;
    }
    if (g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

static gboolean
clear_pool(VarvePool *pool, guint64 *removed, GError **error)
{
    static const char *const filters[] = {"kind==active", NULL};
    g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func(g_free);
    if (!varve_snapshot_walk(pool, filters, collect, keys, error))
        return FALSE;
    for (guint i = 0; i < keys->len; i++) {
        if (!clear(pool, g_ptr_array_index(keys, i), removed, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
varve_unpack_clear(VarveEngine *engine, guint64 *removed, GError **error)
{
    g_autoptr(GPtrArray) infos = varve_engine_list_pools(engine, error);
    for (guint i = 0; infos != NULL && i < infos->len; i++) {
        const VarvePoolInfo *info = g_ptr_array_index(infos, i);
        VarvePool *pool =
            info->problem == NULL ? varve_engine_get_pool(engine, info->name, NULL) : NULL;
        if (pool != NULL && !clear_pool(pool, removed, error))
            return FALSE;
    }
    return infos != NULL && varve_turns_clear(engine->rootfd, error);
}
