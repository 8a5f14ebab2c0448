/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/difference.h"

/* What one of several steps added or took away, another one may have brought back: such places are
 * compared as if something had been renamed there. */
static gboolean
add_place(const VarveChange *change, gpointer plain, GError **error)
{
    if (change->kind == VARVE_CHANGE_MODIFIED || change->kind == VARVE_CHANGE_RENAMED)
        return varve_plain_changes_add(change, plain, error);
    const VarveChange place = {
        .kind = VARVE_CHANGE_RENAMED, .path = change->path, .from = change->path};
    return varve_plain_changes_add(&place, plain, error);
}

gboolean
varve_stream_difference(VarvePool *pool, const GPtrArray *steps, const VarveDriverTrees *trees,
                        VarveChangeFunc func, gpointer data, GError **error)
{
    if (steps->len == 0)
        return varve_driver_compare_trees(trees, func, data, error);
    g_autoptr(VarvePlainChanges) plain = varve_plain_changes_new();
    VarveChangeFunc add = steps->len == 1 ? varve_plain_changes_add : add_place;
    for (guint i = 0; i < steps->len; i++) {
        if (!varve_snapshot_changes(pool, steps->pdata[i], add, plain, error))
            return FALSE;
    }
    return varve_plain_changes_tell(plain, trees, func, data, error);
}
