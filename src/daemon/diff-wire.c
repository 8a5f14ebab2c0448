/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/diff-wire.h"

static void
free_mount(gpointer mount)
{
    varve_mount_free(mount);
}

static VarveMount *
mount_of(const WireDiffMount *wire)
{
    g_autofree const char **options = g_new0(const char *, wire->n_options + 1);
    for (gsize i = 0; i < wire->n_options; i++)
        options[i] = wire->options[i];
    return varve_mount_new(wire->type, wire->source, options);
}

GPtrArray *
varve_wire_mounts(WireDiffMount *const *mounts, gsize n, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(free_mount);
    for (gsize i = 0; i < n; i++) {
        if (*mounts[i]->target != '\0') {
            g_set_error(error, VARVE_ERROR, VARVE_ERROR_NOT_IMPLEMENTED,
                        "mounts within mounts, as the one on '%s', are not supported",
                        mounts[i]->target);
            return NULL;
        }
        g_ptr_array_add(list, mount_of(mounts[i]));
    }
    g_ptr_array_add(list, NULL);
    return g_steal_pointer(&list);
}

GHashTable *
varve_wire_diff_labels(WireDiffLabel *const *labels, gsize n)
{
    GHashTable *table = g_hash_table_new(g_str_hash, g_str_equal);
    for (gsize i = 0; i < n; i++)
        g_hash_table_insert(table, labels[i]->key, labels[i]->value);
    return table;
}
