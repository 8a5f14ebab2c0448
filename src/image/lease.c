/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "image/content-internal.h"
#include <stdlib.h>

struct VarveLease {
    int pinsfd;
};

/* The first 63 bits of the digest: file offsets are no larger. */
static off_t
pin_of(const char *digest)
{
    g_autofree char *first = g_strndup(varve_digest_hex(digest), 16);
    return (off_t)(strtoull(first, NULL, 16) >> 1);
}

/* Open file description locks: they belong to the descriptor, not to the process, so threads
 * exclude each other too. */
static gboolean
lock_pin(int pinsfd, const char *digest, short type, gboolean wait)
{
    off_t pin = MIN(pin_of(digest), G_MAXINT64 - 1);
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = pin, .l_len = 1};
    int rc;
    do
        rc = fcntl(pinsfd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock);
    while (rc < 0 && errno == EINTR);
    return rc == 0;
}

int
varve_pins_open(VarveContentStore *content, GError **error)
{
    int fd = openat(content->fd, "pins", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        varve_error_set_errno(error, errno, "opening the content store's file of locks");
    return fd;
}

gboolean
varve_pins_hold(int pinsfd, const char *digest, GError **error)
{
    return lock_pin(pinsfd, digest, F_RDLCK, TRUE) ||
           varve_error_set_errno(error, errno, "holding blob %s", digest);
}

gboolean
varve_pins_try_delete(int pinsfd, const char *digest)
{
    return lock_pin(pinsfd, digest, F_WRLCK, FALSE);
}

VarveLease *
varve_lease_new(VarveContentStore *content, GError **error)
{
    int fd = varve_pins_open(content, error);
    if (fd < 0)
        return NULL;
    VarveLease *lease = g_new0(VarveLease, 1);
    lease->pinsfd = fd;
    return lease;
}

void
varve_lease_free(VarveLease *lease)
{
    if (lease == NULL)
        return;
    varve_fd_clear(&lease->pinsfd);
    g_free(lease);
}

gboolean
varve_lease_hold(VarveLease *lease, const char *digest, GError **error)
{
    return varve_digest_check(digest, error) && varve_pins_hold(lease->pinsfd, digest, error);
}
