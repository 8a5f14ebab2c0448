/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/kept.h"
#include "base/fd.h"
#include "base/listing.h"
#include "snapshot/identity.h"
#include "snapshot/internal.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FOLDER "transfers"
/* Who looks whether a file is old has it locked for a moment, too. */
#define MAX_TRIES 50
#define PATIENCE  (G_USEC_PER_SEC / 500)
/* What is kept leaves a sixteenth of the file system free, or so much: the snapshot needs room,
 * which may be in the same one. */
#define SPARE    ((guint64)1 << 30)
#define NS_A_DAY (G_GINT64_CONSTANT(86400) * 1000000000)

struct VarveKept {
    int folder, fd;
    char *name;
    guint64 read_at, read_end;
    guint64 size;
    guint64 write_at; /* what is behind it goes when something is written */
    gboolean dropped; /* there was no room */
};

/* --- one -------------------------------------------------------------------------------------- */

static int
open_folder(VarveEngine *engine, gboolean make, GError **error)
{
    if (!make && faccessat(engine->rootfd, FOLDER, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
        errno == ENOENT)
        return -1;
    return varve_fd_make_dir(engine->rootfd, FOLDER, 0700, error);
}

/* An open file description lock: threads exclude each other too, and one can look for it without
 * taking it. */
static gboolean
lock_file(int fd, int command, struct flock *lock)
{
    *lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, command, lock) == 0;
}

static int
open_locked(int folder, const char *name, int flags)
{
    struct flock lock;
    varve_autofd fd = openat(folder, name, flags | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || !lock_file(fd, F_OFD_SETLK, &lock))
        return -1;
    if (!varve_fd_is_linked(fd, folder, name)) {
        errno = EAGAIN;
        return -1;
    }
    int locked = fd;
    fd = -1;
    return locked;
}

static int
open_file(int folder, const char *name, gboolean make, GError **error)
{
    for (int tries = 0; tries < MAX_TRIES; tries++) {
        int fd = open_locked(folder, name, make ? O_CREAT : 0);
        if (fd >= 0 || (errno == ENOENT && !make))
            return fd;
        if (errno != EAGAIN && errno != EACCES) {
            varve_error_set_errno(error, errno, "opening " FOLDER "/%s", name);
            return -1;
        }
        g_usleep(PATIENCE);
    }
    varve_error_set(error, VARVE_ERROR_BUSY, "that snapshot is being received already");
    return -1;
}

VarveKept *
varve_kept_open(VarvePool *pool, const char *uuid, gboolean make, GError **error)
{
    struct stat st;
    if (!varve_uuid_check(uuid, error))
        return NULL;
    if (make)
        varve_kept_expire(pool->engine);
    g_autofree char *name = g_strdup_printf("%u.%s", pool->number, uuid);
    varve_autofd folder = open_folder(pool->engine, make, error);
    varve_autofd fd = folder >= 0 ? open_file(folder, name, make, error) : -1;
    if (fd < 0)
        return NULL;
    VarveKept *kept = g_new0(VarveKept, 1);
    kept->size = fstat(fd, &st) == 0 ? (guint64)st.st_size : 0;
    kept->name = g_steal_pointer(&name);
    kept->folder = folder;
    kept->fd = fd;
    folder = fd = -1;
    return kept;
}

void
varve_kept_close(VarveKept *kept)
{
    if (kept == NULL)
        return;
    if (kept->size == 0)
        (void)unlinkat(kept->folder, kept->name, 0); /* expire does it else */
    varve_fd_clear(&kept->fd);
    varve_fd_clear(&kept->folder);
    g_free(kept->name);
    g_free(kept);
}

guint64
varve_kept_size(const VarveKept *kept)
{
    return kept->size;
}

void
varve_kept_forget(VarveKept *kept)
{
    (void)ftruncate(kept->fd, 0);
    kept->size = 0; /* so that it is removed in any case */
}

/* --- reading ---------------------------------------------------------------------------------- */

static gssize
read_kept(gpointer data, void *buffer, gsize size, GError **error)
{
    VarveKept *kept = data;
    size = MIN(size, kept->read_end - kept->read_at);
    if (size == 0)
        return 0;
    ssize_t n;
    do
        n = pread(kept->fd, buffer, size, (off_t)kept->read_at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        varve_error_set_errno(error, errno, "reading what was kept");
    else if (n == 0)
        varve_error_set(error, VARVE_ERROR_CORRUPT, "less was kept than there was");
    kept->read_at += n > 0 ? (guint64)n : 0;
    return n > 0 ? n : -1;
}

VarveSource
varve_kept_read(VarveKept *kept, guint64 bytes)
{
    kept->read_at = 0;
    kept->read_end = bytes;
    return (VarveSource){read_kept, kept};
}

/* --- writing ---------------------------------------------------------------------------------- */

static gboolean
has_room(const VarveKept *kept, gsize size)
{
    struct statvfs st;
    if (fstatvfs(kept->fd, &st) < 0)
        return FALSE;
    guint64 spare = MIN((guint64)st.f_blocks * st.f_frsize / 16, SPARE);
    return (guint64)st.f_bavail * st.f_frsize >= spare + size;
}

static gboolean
put(VarveKept *kept, const void *bytes, gsize size)
{
    if (!has_room(kept, size) ||
        (kept->size > kept->write_at && ftruncate(kept->fd, (off_t)kept->write_at) < 0) ||
        !varve_fd_write_all(kept->fd, bytes, size, (gint64)kept->write_at))
        return FALSE;
    kept->write_at += size;
    kept->size = kept->write_at;
    return TRUE;
}

static gboolean
write_kept(gpointer data, const void *bytes, gsize size, GError **error)
{
    VarveKept *kept = data;
    if (kept->dropped || put(kept, bytes, size))
        return TRUE;
    varve_log(VARVE_LOG_WARNING,
              "what comes is not kept any more: there is no room for it. If the transfer breaks "
              "off, it begins anew",
              "transfer", kept->name, NULL);
    kept->dropped = TRUE;
    varve_kept_forget(kept);
    return TRUE;
}

VarveSink
varve_kept_write(VarveKept *kept, guint64 bytes)
{
    kept->write_at = bytes;
    return (VarveSink){write_kept, kept};
}

/* --- all -------------------------------------------------------------------------------------- */

/* "NUMBER.UUID" */
static gboolean
split_name(const char *name, guint64 *number, const char **uuid)
{
    char *end;
    *number = g_ascii_strtoull(name, &end, 10);
    *uuid = end + 1;
    return end != name && *end == '.' && varve_uuid_check(*uuid, NULL);
}

static VarveListing *
list(int folder, GError **error)
{
    VarveListing *names = varve_listing_read(folder);
    if (names == NULL)
        varve_error_set_errno(error, errno, "reading the directory " FOLDER);
    return names;
}

/* As varve_now() tells time. */
static gint64
touched(const struct stat *st)
{
    return st->st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) + st->st_mtim.tv_nsec;
}

static gboolean
show(int folder, const char *name, const char *uuid, VarveKeptFunc func, gpointer data,
     GError **error)
{
    struct stat st;
    struct flock lock;
    varve_autofd fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0)
        return TRUE; /* it went away, or nothing is kept */
    gboolean busy = lock_file(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
    return func(uuid, fd, busy, touched(&st), data, error);
}

gboolean
varve_kept_walk(VarvePool *pool, VarveKeptFunc func, gpointer data, GError **error)
{
    GError *failure = NULL;
    varve_autofd folder = open_folder(pool->engine, FALSE, &failure);
    g_autoptr(VarveListing) names = folder >= 0 ? list(folder, &failure) : NULL;
    if (failure != NULL) {
        g_propagate_error(error, failure);
        return FALSE;
    }
    for (gsize i = 0; names != NULL && i < varve_listing_length(names); i++) {
        guint64 number;
        const char *uuid, *name = varve_listing_get(names, i).name;
        if (split_name(name, &number, &uuid) && number == pool->number &&
            !show(folder, name, uuid, func, data, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
is_old(const struct stat *st)
{
    return st->st_size == 0 || touched(st) < varve_now() - VARVE_KEPT_DAYS * NS_A_DAY;
}

/* Looked at once more under the lock: nobody goes on with it then. */
static void
expire_one(int folder, const char *name)
{
    struct stat st;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) || !is_old(&st))
        return;
    varve_autofd fd = open_locked(folder, name, 0);
    if (fd < 0 || fstat(fd, &st) < 0 || !is_old(&st))
        return;
    if (unlinkat(folder, name, 0) == 0 && st.st_size > 0)
        varve_log(VARVE_LOG_INFO, "forgot a transfer that nobody went on with", "transfer", name,
                  NULL);
}

void
varve_kept_expire(VarveEngine *engine)
{
    varve_autofd folder = open_folder(engine, FALSE, NULL);
    g_autoptr(VarveListing) names = folder >= 0 ? varve_listing_read(folder) : NULL;
    for (gsize i = 0; names != NULL && i < varve_listing_length(names); i++) {
        guint64 number;
        const char *uuid, *name = varve_listing_get(names, i).name;
        if (split_name(name, &number, &uuid))
            expire_one(folder, name);
    }
}
