/* SPDX-License-Identifier: Apache-2.0 */
#include "image/turn.h"
#include "base/fd.h"
#include "image/content-internal.h"
#include <unistd.h>

struct VarveTurn {
    int dirfd, fd;
    char *what;
};

VarveTurn *
varve_turn_take(int rootfd, const char *what, const gint *cancelled, GError **error)
{
    varve_autofd dirfd = varve_fd_make_dir(rootfd, "turns", 0700, error);
    if (dirfd < 0)
        return NULL;
    varve_autofd fd = varve_ingest_open_locked(dirfd, what, cancelled, error);
    if (fd < 0) {
        g_prefix_error(error, "turns/%s: ", what);
        return NULL;
    }
    VarveTurn *turn = g_new0(VarveTurn, 1);
    *turn = (VarveTurn){.dirfd = dirfd, .fd = fd, .what = g_strdup(what)};
    dirfd = fd = -1;
    return turn;
}

void
varve_turn_end(VarveTurn *turn)
{
    if (turn == NULL)
        return;
    (void)unlinkat(turn->dirfd, turn->what, 0);
    varve_fd_clear(&turn->fd);
    varve_fd_clear(&turn->dirfd);
    g_free(turn->what);
    g_free(turn);
}
