/* SPDX-License-Identifier: Apache-2.0 */
#include "store/shared-file.h"
#include "base/fd.h"
#include "base/listing.h"
#include "base/uuid.h"
#include <linux/magic.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/*
 * In place nothing has to be agreed upon. Who uses a file in memory holds a shared lock on an empty
 * file beside the link. Who gets the exclusive one is alone, and may put another link there; what
 * is there while a shared one is held stays.
 *
 * A file in memory is named after the directory that it serves, since a copy of a disk has copies
 * of its links, and has a random part, so that two processes that see different tmpfs never take
 * different files for one.
 */

#define TRIES      100
#define TRY_AGAIN  10000       /* microseconds */
#define UNUSED_FOR (24 * 3600) /* seconds */

static const char *const tmpfs[] = {"/run", "/dev/shm"};
static const char subdir[] = "varve-shared";

/*
 * What this process uses, since it must not open that again to look at it: closing any descriptor
 * of a file ends the process's fcntl locks on it, and LMDB tells by such a lock that its file is in
 * use.
 */
typedef struct {
    dev_t dev;
    ino_t ino;
} Id;

static pthread_mutex_t mine_lock = PTHREAD_MUTEX_INITIALIZER;
static GArray *mine; /* Id of each file in memory, once for each use */

static gint
find_mine(const struct stat *st)
{
    for (guint i = 0; mine != NULL && i < mine->len; i++) {
        const Id *id = &g_array_index(mine, Id, i);
        if (id->dev == st->st_dev && id->ino == st->st_ino)
            return (gint)i;
    }
    return -1;
}

static void
add_mine(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return;
    const Id id = {st.st_dev, st.st_ino};
    pthread_mutex_lock(&mine_lock);
    if (mine == NULL)
        mine = g_array_new(FALSE, FALSE, sizeof(Id));
    g_array_append_val(mine, id);
    pthread_mutex_unlock(&mine_lock);
}

static void
remove_mine(int fd)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    pthread_mutex_lock(&mine_lock);
    gint at = find_mine(&st);
    if (at >= 0)
        g_array_remove_index_fast(mine, (guint)at);
    pthread_mutex_unlock(&mine_lock);
}

static gboolean
is_on(int fd, long type)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type == type;
}

/* --- in memory --- */

/* The directory for files in memory, one that nobody else can write to, and its path. Returns -1
 * when there is none. */
static int
open_memory(char *path, gsize size)
{
    for (guint i = 0; i < G_N_ELEMENTS(tmpfs); i++) {
        struct stat st;
        varve_autofd top = open(tmpfs[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (top < 0 || !is_on(top, TMPFS_MAGIC))
            continue;
        int fd = varve_fd_make_dir(top, subdir, 0700, NULL);
        if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 0077) == 0) {
            g_snprintf(path, size, "%s/%s", tmpfs[i], subdir);
            return fd;
        }
        varve_fd_clear(&fd);
    }
    return -1;
}

static void
remove_unused(int memfd, const char *name, gint64 now)
{
    struct stat st;
    if (fstatat(memfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
        st.st_mtime + UNUSED_FOR >= now || find_mine(&st) >= 0)
        return;
    varve_autofd file = openat(memfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0)
        (void)unlinkat(memfd, name, 0);
}

/* Removes what nobody has used for long: its root may be gone, which cannot be told from here. To
 * lose the file of one that is not costs a search of the disk when that is used again. */
static void
sweep(int memfd)
{
    varve_autofd fd = varve_fd_open_dir(memfd, ".", NULL);
    g_autoptr(VarveListing) listing = fd < 0 ? NULL : varve_listing_read(fd);
    gint64 now = g_get_real_time() / G_USEC_PER_SEC;
    pthread_mutex_lock(&mine_lock);
    for (gsize i = 0; listing != NULL && i < varve_listing_length(listing); i++)
        remove_unused(memfd, varve_listing_get(listing, i).name, now);
    pthread_mutex_unlock(&mine_lock);
}

/* How names of files in memory for that directory begin. */
static char *
name_prefix(const struct stat *dir)
{
    return g_strdup_printf("%llx-%llx-", (unsigned long long)dir->st_dev,
                           (unsigned long long)dir->st_ino);
}

static gboolean
allocate(int fd, gsize size, GError **error)
{
    int rc = posix_fallocate(fd, 0, (off_t)size);
    return rc == 0 || varve_error_set_errno(error, rc, "allocating it");
}

/* Puts a file in memory and a link to it at name. FALSE without an error when there is no place
 * for it there. */
static gboolean
make_in_memory(int dirfd, const char *name, gsize size, GError **error)
{
    char path[64];
    struct stat dir;
    varve_autofd memfd = open_memory(path, sizeof(path));
    if (memfd < 0)
        return FALSE;
    sweep(memfd);
    if (fstat(dirfd, &dir) < 0)
        return varve_error_set_errno(error, errno, "looking at its directory");
    g_autofree char *prefix = name_prefix(&dir);
    g_autofree char *random = varve_uuid_new();
    g_autofree char *file = g_strconcat(prefix, random, NULL);
    g_autofree char *target = g_build_filename(path, file, NULL);
    varve_autofd fd = openat(memfd, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return FALSE;
    if (!allocate(fd, size, NULL)) {
        (void)unlinkat(memfd, file, 0);
        return FALSE;
    }
    if (symlinkat(target, dirfd, name) == 0)
        return TRUE;
    varve_error_set_errno(error, errno, "making the link to %s", target);
    (void)unlinkat(memfd, file, 0);
    return FALSE;
}

/* --- in place; on btrfs only where there is no tmpfs --- */

static gboolean
make_in_place(int dirfd, const char *name, gsize size, GError **error)
{
    varve_autofd fd = openat(dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return varve_error_set_errno(error, errno, "making it");
    varve_fd_set_nocow(fd);
    return allocate(fd, size, error);
}

/* --- either --- */

static gboolean
has_size(int dirfd, const char *name, int flags, gsize size)
{
    struct stat st;
    return fstatat(dirfd, name, &st, flags) == 0 && S_ISREG(st.st_mode) &&
           (gsize)st.st_blocks * 512 >= size;
}

/* Whether what is there can be used: *memory is opened when it is in memory. */
static gboolean
can_use(int dirfd, const char *name, gsize size, int *memory)
{
    char target[256];
    struct stat dir;
    ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
    if (n < 0)
        return has_size(dirfd, name, AT_SYMLINK_NOFOLLOW, size);
    target[n] = '\0';
    if (fstat(dirfd, &dir) < 0)
        return FALSE;
    g_autofree char *prefix = name_prefix(&dir);
    g_autofree char *file = g_path_get_basename(target);
    if (!g_str_has_prefix(file, prefix) || !has_size(dirfd, name, 0, size))
        return FALSE;
    *memory = openat(dirfd, name, O_RDWR | O_CLOEXEC);
    if (*memory < 0 || flock(*memory, LOCK_SH) < 0 || futimens(*memory, NULL) < 0)
        varve_fd_clear(memory);
    return *memory >= 0;
}

/* Nobody uses it. */
static gboolean
make(int dirfd, const char *name, gsize size, GError **error)
{
    g_autoptr(GError) failure = NULL;
    if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
        return varve_error_set_errno(error, errno, "removing the one before");
    if (is_on(dirfd, BTRFS_SUPER_MAGIC) && make_in_memory(dirfd, name, size, &failure))
        return TRUE;
    if (failure != NULL) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return FALSE;
    }
    return make_in_place(dirfd, name, size, error);
}

static gboolean
lock(int fd, int operation)
{
    int rc;
    do
        rc = flock(fd, operation);
    while (rc < 0 && errno == EINTR);
    return rc == 0;
}

static gboolean
open_linked(VarveSharedFile *file, int dirfd, const char *name, gsize size, GError **error)
{
    g_autofree char *lock_name = g_strconcat(name, ".lock", NULL);
    varve_autofd fd = openat(dirfd, lock_name, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return varve_error_set_errno(error, errno, "opening %s", lock_name);
    for (int i = 0; i < TRIES; i++) {
        int memory = -1;
        gboolean alone = lock(fd, LOCK_EX | LOCK_NB);
        if (alone && !can_use(dirfd, name, size, &memory) && !make(dirfd, name, size, error))
            return FALSE;
        varve_fd_clear(&memory);
        if (!lock(fd, LOCK_SH))
            return varve_error_set_errno(error, errno, "locking %s", lock_name);
        if (can_use(dirfd, name, size, &memory)) {
            *file = (VarveSharedFile){.lock = fd, .memory = memory};
            add_mine(memory);
            fd = -1;
            return TRUE;
        }
        (void)lock(fd, LOCK_UN);
        g_usleep(TRY_AGAIN);
    }
    return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                           "it is used by processes that see another /run or /dev/shm (in another "
                           "mount namespace): end those first, or share that directory with them");
}

static gboolean
is_link(int dirfd, const char *name)
{
    struct stat st;
    return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
}

gboolean
varve_shared_file_open(VarveSharedFile *file, int dirfd, const char *name, gsize size,
                       GError **error)
{
    if (is_on(dirfd, BTRFS_SUPER_MAGIC) || is_link(dirfd, name))
        return open_linked(file, dirfd, name, size, error);
    return has_size(dirfd, name, AT_SYMLINK_NOFOLLOW, size) ||
           make_in_place(dirfd, name, size, error);
}

void
varve_shared_file_close(VarveSharedFile *file)
{
    remove_mine(file->memory);
    varve_fd_clear(&file->memory);
    varve_fd_clear(&file->lock);
}
