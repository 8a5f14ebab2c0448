/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/fill.h"
#include "snapshot/identity.h"
#include "snapshot/internal.h"
#include <varve/transfer.h>

/* What a sender and a receiver tell each other of what there is. */

char *
varve_snapshot_uuid(VarvePool *pool, const char *name, GError **error)
{
    char *uuid = varve_identity_of(pool, name, error);
    if (uuid == NULL)
        varve_prefix_operation(error, "finding the universal id of", pool, name);
    return uuid;
}

const char *
varve_pool_stream_format(VarvePool *pool)
{
    return varve_snapshot_stream_format(pool);
}

typedef struct {
    gint64 created;
    char *uuid;
} Have;

static int
newest_first(gconstpointer a, gconstpointer b)
{
    gint64 x = ((const Have *)a)->created, y = ((const Have *)b)->created;
    return x > y ? -1 : x < y;
}

static gboolean
add_have(const VarveSnapshotInfo *info, gpointer haves, GError **error)
{
    const Have have = {info->created,
                       g_strdup(g_hash_table_lookup(info->labels, VARVE_LABEL_UUID))};
    g_array_append_val((GArray *)haves, have);
    return TRUE;
}

static char **
all_haves(VarvePool *pool, GError **error)
{
    static const char *const filters[] = {"kind==committed,labels.\"" VARVE_LABEL_UUID "\"", NULL};
    g_autoptr(GArray) haves = g_array_new(FALSE, FALSE, sizeof(Have));
    gboolean ok = varve_snapshot_walk(pool, filters, add_have, haves, error);
    g_array_sort(haves, newest_first);
    char **uuids = g_new0(char *, haves->len + 1);
    for (guint i = 0; i < haves->len; i++)
        uuids[i] = g_array_index(haves, Have, i).uuid;
    if (!ok)
        g_clear_pointer(&uuids, g_strfreev);
    return uuids;
}

char **
varve_pool_haves(VarvePool *pool, const char *key, GError **error)
{
    if (key == NULL)
        return all_haves(pool, error);
    g_autoptr(GPtrArray) lineage = varve_identity_lineage(pool, key, error);
    if (lineage == NULL) {
        varve_prefix_operation(error, "looking up", pool, key);
        return NULL;
    }
    char **uuids = g_new0(char *, lineage->len + 1);
    for (guint i = 0, n = 0; i < lineage->len; i++) {
        const VarveAncestor *ancestor = lineage->pdata[i];
        if (ancestor->uuid != NULL)
            uuids[n++] = g_strdup(ancestor->uuid);
    }
    return uuids;
}
