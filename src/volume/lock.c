/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/internal.h"
#include <unistd.h>

#define LOCK_FILE ".lock" /* no id begins with a dot */
#define PATIENCE  (G_USEC_PER_SEC / 500)

static int
open_file(VarveVolumes *volumes, GError **error)
{
    varve_autofd folder = varve_volumes_open_folder(volumes, error);
    if (folder < 0)
        return -1;
    int fd = openat(folder, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        varve_error_set_errno(error, errno, "opening %s/%s", volumes->path, LOCK_FILE);
    return fd;
}

/* Open file description locks: threads exclude each other too. Two ids that share a byte wait for
 * each other without need. */
static gboolean
try_byte(int fd, guint byte)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

static gboolean
wait_byte(VarveVolumes *volumes, int fd, guint byte, GError **error)
{
    while (!try_byte(fd, byte)) {
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            return varve_error_set_errno(error, errno, "locking %s/%s", volumes->path, LOCK_FILE);
        if (!varve_check_cancelled(&volumes->engine->cancelled, error))
            return FALSE;
        g_usleep(PATIENCE);
    }
    return TRUE;
}

/* Two are locked in the order of their bytes, so that nobody waits for one that waits for him. */
int
varve_volume_lock(VarveVolumes *volumes, const char *id, const char *other, GError **error)
{
    guint first = g_str_hash(id), second = g_str_hash(other != NULL ? other : id);
    varve_autofd fd = open_file(volumes, error);
    if (fd < 0 || !wait_byte(volumes, fd, MIN(first, second), error) ||
        !wait_byte(volumes, fd, MAX(first, second), error))
        return -1;
    int locked = fd;
    fd = -1;
    return locked;
}

int
varve_volume_try_lock(VarveVolumes *volumes, const char *id)
{
    varve_autofd fd = open_file(volumes, NULL);
    if (fd < 0 || !try_byte(fd, g_str_hash(id)))
        return -1;
    int locked = fd;
    fd = -1;
    return locked;
}
