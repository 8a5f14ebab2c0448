/* SPDX-License-Identifier: Apache-2.0 */
#include "base/inodes.h"

static guint
hash(gconstpointer key)
{
    const VarveInode *inode = key;
    guint64 mixed = inode->ino ^ (inode->dev << 32);
    return g_int64_hash(&mixed);
}

static gboolean
equal(gconstpointer a, gconstpointer b)
{
    const VarveInode *first = a, *second = b;
    return first->ino == second->ino && first->dev == second->dev;
}

GHashTable *
varve_inodes_new(GDestroyNotify free_value)
{
    return g_hash_table_new_full(hash, equal, g_free, free_value);
}
