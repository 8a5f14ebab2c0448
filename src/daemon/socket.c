/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/socket.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCK_TRIES   500 /* times 10 ms */
#define NO_GROUP     ((gid_t)-1)
#define MODE_PRIVATE 0600
#define MODE_GROUP   0660

struct VarveSocket {
    char *path, *name; /* name: the last component of path, */
    int dirfd;         /* in this directory */
    int fd;
    dev_t device; /* of the socket at path */
    ino_t inode;
};

static gboolean
fail(GError **error, VarveErrorCode code, const char *message)
{
    g_set_error_literal(error, VARVE_ERROR, (int)code, message);
    return FALSE;
}

static gboolean
fail_errno(GError **error, const char *doing, int errnum)
{
    gboolean denied = errnum == EACCES || errnum == EPERM;
    g_set_error(error, VARVE_ERROR,
                denied ? VARVE_ERROR_PERMISSION_DENIED : VARVE_ERROR_FAILED_PRECONDITION, "%s: %s",
                doing, g_strerror(errnum));
    return FALSE;
}

static gboolean
find_group(const char *group, gid_t *gid, GError **error)
{
    *gid = NO_GROUP;
    if (group == NULL)
        return TRUE;
    guint64 number = 0;
    const struct group *entry = getgrnam(group);
    if (entry != NULL) {
        *gid = entry->gr_gid;
    } else if (g_ascii_string_to_unsigned(group, 10, 0, NO_GROUP - 1, &number, NULL)) {
        *gid = (gid_t)number;
    } else {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND, "there is no group '%s'", group);
        return FALSE;
    }
    return TRUE;
}

static gboolean
open_directory(VarveSocket *self, GError **error)
{
    g_autofree char *directory = g_path_get_dirname(self->path);
    if (g_mkdir_with_parents(directory, 0711) != 0)
        return fail_errno(error, "making its directory", errno);
    self->dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return self->dirfd >= 0 || fail_errno(error, "opening its directory", errno);
}

/* Looking for an old socket and binding a new one are two steps; the lock on the directory makes
 * them one for all who start a varved there. Strangers might hold it, so it is not waited for
 * forever. */
static gboolean
lock_directory(VarveSocket *self, GError **error)
{
    for (int tries = LOCK_TRIES; flock(self->dirfd, LOCK_EX | LOCK_NB) != 0; tries--) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return fail_errno(error, "locking its directory", errno);
        if (tries == 0)
            return fail(error, VARVE_ERROR_BUSY, "its directory stays locked by another process");
        g_usleep(10000);
    }
    return TRUE;
}

static void
fill_address(const VarveSocket *self, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    g_strlcpy(address->sun_path, self->path, sizeof(address->sun_path)); /* it was checked */
}

/* Whether a process listens at the path, by trying. A full backlog (EAGAIN) is one too, and so is a
 * socket of another type (EPROTOTYPE): only a refusal says that nobody is there. */
static gboolean
is_stale(const VarveSocket *self)
{
    struct sockaddr_un address;
    fill_address(self, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return FALSE;
    int result = connect(fd, (struct sockaddr *)&address, sizeof(address));
    gboolean stale = result != 0 && (errno == ECONNREFUSED || errno == ENOENT);
    close(fd);
    return stale;
}

static gboolean
clear_place(VarveSocket *self, GError **error)
{
    struct stat st;
    if (fstatat(self->dirfd, self->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT || fail_errno(error, "looking at it", errno);
    if (!S_ISSOCK(st.st_mode))
        return fail(error, VARVE_ERROR_FAILED_PRECONDITION,
                    "there is a file at that path that is not a socket; it is left alone");
    if (!is_stale(self))
        return fail(error, VARVE_ERROR_ALREADY_EXISTS, "it is taken by a running process");
    if (unlinkat(self->dirfd, self->name, 0) != 0 && errno != ENOENT)
        return fail_errno(error, "removing the one that a dead process left", errno);
    return TRUE;
}

/* A unix socket's file gets the mode of the socket's own inode, less the umask, when it is bound
 * (unix_bind_bsd() in Linux's net/unix/af_unix.c), so the mode is set before. */
static gboolean
bind_private(VarveSocket *self, GError **error)
{
    struct sockaddr_un address;
    fill_address(self, &address);
    self->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (self->fd < 0 || fchmod(self->fd, MODE_PRIVATE) != 0)
        return fail_errno(error, "making it", errno);
    if (bind(self->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return fail_errno(error, "binding it", errno);
    return TRUE;
}

static gboolean
open_for_others(VarveSocket *self, gid_t gid, GError **error)
{
    struct stat st;
    if (gid != NO_GROUP &&
        fchownat(self->dirfd, self->name, (uid_t)-1, gid, AT_SYMLINK_NOFOLLOW) != 0)
        return fail_errno(error, "giving it to its group", errno);
    mode_t mode = gid != NO_GROUP ? MODE_GROUP : MODE_PRIVATE;
    if (fchmodat(self->dirfd, self->name, mode, 0) != 0)
        return fail_errno(error, "setting its mode", errno);
    if (fstatat(self->dirfd, self->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return fail_errno(error, "looking at it", errno);
    self->device = st.st_dev;
    self->inode = st.st_ino;
    return listen(self->fd, SOMAXCONN) == 0 || fail_errno(error, "listening on it", errno);
}

static gboolean
make_socket(VarveSocket *self, const char *group, GError **error)
{
    gid_t gid = NO_GROUP;
    struct sockaddr_un address;
    if (strlen(self->path) >= sizeof(address.sun_path)) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                    "the path has %zu bytes; a unix socket's can have %zu at most",
                    strlen(self->path), sizeof(address.sun_path) - 1);
        return FALSE;
    }
    if (!find_group(group, &gid, error) || !open_directory(self, error) ||
        !lock_directory(self, error) || !clear_place(self, error) || !bind_private(self, error))
        return FALSE;
    if (open_for_others(self, gid, error))
        return TRUE;
    unlinkat(self->dirfd, self->name, 0); /* ours: the lock is still held */
    return FALSE;
}

VarveSocket *
varve_socket_new(const char *path, const char *group, GError **error)
{
    g_autoptr(VarveSocket) self = g_new0(VarveSocket, 1);
    self->path = g_strdup(path);
    self->name = g_path_get_basename(path);
    self->dirfd = self->fd = -1;
    if (!make_socket(self, group, error)) {
        g_prefix_error(error, "socket '%s': ", path);
        return NULL;
    }
    flock(self->dirfd, LOCK_UN);
    return g_steal_pointer(&self);
}

int
varve_socket_steal_fd(VarveSocket *self)
{
    int fd = self->fd;
    self->fd = -1;
    return fd;
}

void
varve_socket_unlink(VarveSocket *self)
{
    struct stat st;
    if (fstatat(self->dirfd, self->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_dev == self->device && st.st_ino == self->inode)
        unlinkat(self->dirfd, self->name, 0);
}

void
varve_socket_free(VarveSocket *self)
{
    if (self == NULL)
        return;
    if (self->fd >= 0)
        close(self->fd);
    if (self->dirfd >= 0)
        close(self->dirfd); /* and with it the lock */
    g_free(self->path);
    g_free(self->name);
    g_free(self);
}
