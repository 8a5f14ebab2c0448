/* SPDX-License-Identifier: Apache-2.0 */
/* Filters come from clients: any bytes but NUL are either refused or matched, and nothing else. */
#include "snapshot/internal.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *bytes, gsize n);

int
LLVMFuzzerTestOneInput(const guint8 *bytes, gsize n)
{
    g_autofree char *text = g_strndup((const char *)bytes, n);
    const char *filters[] = {text, NULL};
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveFilter) filter = varve_filter_new(filters, &error);
    g_assert((filter == NULL) == (error != NULL));
    if (filter == NULL)
        return 0;

    g_autoptr(GHashTable) labels = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(labels, (char *)"a/b.c", (char *)"x y");
    VarveSnapshotInfo info = {.name = (char *)"name",
                              .parent = (char *)"parent",
                              .kind = VARVE_KIND_VIEW,
                              .labels = labels};
    (void)varve_filter_match(filter, &info);
    const char *required = varve_filter_required(filter, "name");
    g_assert(required == NULL || !varve_filter_match(filter, &info) ||
             g_str_equal(required, info.name));
    return 0;
}
