/* SPDX-License-Identifier: Apache-2.0 */
#include "image/turn.h"
#include "base/fd.h"
#include "base/listing.h"
#include "image/content-internal.h"
#include <sys/file.h>
#include <unistd.h>

struct VarveTurn {
    int dirfd, fd;
    char *what;
};

static int
open_turns(int rootfd, GError **error)
{
    return varve_fd_make_dir(rootfd, "turns", 0700, error);
}

/* Takes the descriptors. */
static VarveTurn *
begin(int *dirfd, int *fd, const char *what)
{
    VarveTurn *turn = g_new0(VarveTurn, 1);
    *turn = (VarveTurn){.dirfd = *dirfd, .fd = *fd, .what = g_strdup(what)};
    *dirfd = *fd = -1;
    return turn;
}

VarveTurn *
varve_turn_take(int rootfd, const char *what, const gint *cancelled, GError **error)
{
    varve_autofd dirfd = open_turns(rootfd, error);
    if (dirfd < 0)
        return NULL;
    varve_autofd fd = varve_ingest_open_locked(dirfd, what, cancelled, error);
    if (fd < 0) {
        g_prefix_error(error, "turns/%s: ", what);
        return NULL;
    }
    return begin(&dirfd, &fd, what);
}

gboolean
varve_turn_try(int rootfd, const char *what, VarveTurn **turn, GError **error)
{
    *turn = NULL;
    varve_autofd dirfd = open_turns(rootfd, error);
    if (dirfd < 0)
        return FALSE;
    varve_autofd fd = openat(dirfd, what, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return varve_error_set_errno(error, errno, "turns/%s: opening it", what);
    /* One that is not linked any more was somebody's until a moment ago. */
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && varve_fd_is_linked(fd, dirfd, what))
        *turn = begin(&dirfd, &fd, what);
    return TRUE;
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

gboolean
varve_turns_clear(int rootfd, GError **error)
{
    varve_autofd dirfd = open_turns(rootfd, error);
    if (dirfd < 0)
        return FALSE;
    g_autoptr(VarveListing) listing = varve_listing_read(dirfd);
    if (listing == NULL)
        return varve_error_set_errno(error, errno, "listing the turns");
    for (gsize i = 0; i < varve_listing_length(listing); i++) {
        VarveTurn *turn;
        if (!varve_turn_try(rootfd, varve_listing_get(listing, i).name, &turn, error))
            return FALSE;
        varve_turn_end(turn);
    }
    return TRUE;
}
