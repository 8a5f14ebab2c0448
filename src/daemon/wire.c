/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/wire.h"
#include <stddef.h>
#include <string.h>

#define NANOSECONDS G_GINT64_CONSTANT(1000000000)
#define ALIGNMENT   _Alignof(max_align_t)

G_STATIC_ASSERT((int)VARVE_KIND_VIEW == (int)CONTAINERD__SERVICES__SNAPSHOTS__V1__KIND__VIEW);
G_STATIC_ASSERT((int)VARVE_KIND_ACTIVE == (int)CONTAINERD__SERVICES__SNAPSHOTS__V1__KIND__ACTIVE);
G_STATIC_ASSERT((int)VARVE_KIND_COMMITTED ==
                (int)CONTAINERD__SERVICES__SNAPSHOTS__V1__KIND__COMMITTED);

GHashTable *
varve_wire_labels(WireLabel *const *labels, gsize n)
{
    if (n == 0)
        return NULL;
    GHashTable *table = g_hash_table_new(g_str_hash, g_str_equal);
    for (gsize i = 0; i < n; i++)
        g_hash_table_insert(table, labels[i]->key, labels[i]->value);
    return table;
}

/* A WireInfo and what it points to, as they lie in one piece of memory: this, the labels, the
 * pointers to them, the strings. */
typedef struct {
    WireInfo info;
    WireTimestamp created, updated;
    WireLabel labels[];
} Block;

gsize
varve_wire_info_size(const VarveSnapshotInfo *info)
{
    gsize n = g_hash_table_size(info->labels);
    gsize size = sizeof(Block) + n * (sizeof(WireLabel) + sizeof(WireLabel *));
    size += strlen(info->name) + 1 + strlen(info->parent) + 1;
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, info->labels);
    while (g_hash_table_iter_next(&iter, &key, &value))
        size += strlen(key) + 1 + strlen(value) + 1;
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static char *
put_string(char **at, const char *string)
{
    char *result = *at;
    *at = stpcpy(result, string) + 1;
    return result;
}

/* Times before the epoch too: nanos is never negative. */
static WireTimestamp
wire_time(gint64 time)
{
    WireTimestamp result = WIRE_INIT(TIMESTAMP);
    result.seconds = time / NANOSECONDS - (time % NANOSECONDS < 0);
    result.nanos = (gint32)(time - result.seconds * NANOSECONDS);
    return result;
}

WireInfo *
varve_wire_info(const VarveSnapshotInfo *info, gpointer memory)
{
    Block *block = memory;
    gsize n = g_hash_table_size(info->labels);
    WireLabel **pointers = (WireLabel **)&block->labels[n];
    char *text = (char *)&pointers[n];
    block->created = wire_time(info->created);
    block->updated = wire_time(info->updated);
    block->info = (WireInfo)WIRE_INIT(INFO);
    block->info.name = put_string(&text, info->name);
    block->info.parent = put_string(&text, info->parent);
    block->info.kind = (Containerd__Services__Snapshots__V1__Kind)info->kind;
    block->info.created_at = &block->created;
    block->info.updated_at = &block->updated;
    block->info.labels = pointers;
    block->info.n_labels = n;

    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, info->labels);
    for (gsize i = 0; g_hash_table_iter_next(&iter, &key, &value); i++) {
        block->labels[i] = (WireLabel)WIRE_INIT(LABEL);
        block->labels[i].key = put_string(&text, key);
        block->labels[i].value = put_string(&text, value);
        pointers[i] = &block->labels[i];
    }
    return &block->info;
}
