/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/transferred.h"
#include "base/error.h"

#define INTERVAL (G_USEC_PER_SEC / 5)

VarveTransferred
varve_transferred_new(const char *verb, const VarveTreeWatch *watch)
{
    return (VarveTransferred){.verb = verb, .watch = watch, .told = g_get_monotonic_time()};
}

gboolean
varve_transferred_add(VarveTransferred *transferred, guint64 bytes, GError **error)
{
    const VarveTreeWatch *watch = transferred->watch;
    transferred->bytes += bytes;
    if (watch->progress != NULL && g_get_monotonic_time() - transferred->told >= INTERVAL) {
        watch->progress(transferred->verb, transferred->files, transferred->bytes,
                        watch->progress_data);
        transferred->told = g_get_monotonic_time();
    }
    return varve_check_cancelled(watch->cancelled, error);
}
