/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/progress.h"

#define BETWEEN (G_USEC_PER_SEC / 10) /* two calls */

void
varve_stream_progress_tell(VarveStreamProgress *progress, guint64 done, guint64 bytes)
{
    VarveTransferProgress *now = &progress->now;
    if (progress->func == NULL)
        return;
    now->done = done;
    now->bytes = bytes;
    if (bytes <= progress->place)
        now->resumed = done;
    gint64 time = g_get_monotonic_time();
    if (time < progress->last + BETWEEN)
        return;
    progress->last = time;
    progress->func(now, progress->data);
}
