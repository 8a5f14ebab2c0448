/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/changes.h"

gboolean
varve_changes_tell(VarveChangeSink *sink, const VarveChange *change, GError **error)
{
    g_autoptr(GError) failure = NULL;
    if (!varve_check_cancelled(sink->cancelled, error))
        return FALSE;
    if (sink->func(change, sink->data, &failure))
        return TRUE;
    if (failure == NULL)
        sink->enough = TRUE;
    else
        g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

gboolean
varve_changes_ended(const VarveChangeSink *sink, gboolean ok)
{
    return ok || sink->enough;
}
