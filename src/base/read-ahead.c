/* SPDX-License-Identifier: Apache-2.0 */
#include "base/read-ahead.h"
#include "base/dirstack.h"
#include "base/fd.h"
#include "base/shared-extents.h"

static void
advise(int fd, off_t at, off_t size)
{
    if (fd >= 0)
        (void)posix_fadvise(fd, at, size, POSIX_FADV_WILLNEED);
}

static int
open_file(VarveFile file)
{
    return file.dirfd < 0 ? -1 : varve_dirstack_open_inside(file.dirfd, file.name, O_NONBLOCK);
}

void
varve_read_ahead(VarveFile before, VarveFile after, off_t size, off_t limit)
{
    varve_autofd new = open_file(after);
    varve_autofd old = new < 0 ? -1 : open_file(before);
    if (new < 0)
        return;
    g_autoptr(VarveSharedExtents) shared =
        old < 0 ? NULL : varve_shared_extents_new(old, new, size);
    for (off_t at = 0, end; at < size && limit > 0; at = end) {
        end = size;
        gboolean same = shared != NULL && varve_shared_extents_same(shared, at, &end);
        end = MIN(end, size);
        if (same)
            continue;
        off_t some = MIN(end - at, limit);
        advise(new, at, some);
        advise(old, at, some);
        limit -= some;
    }
}
