/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dirstack.h"
#include "base/shared-extents.h"
#include "base/xattrs.h"
#include "driver/changes.h"
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* What vanished, or was replaced by something else, while it was looked at. */
static gboolean
has_gone(int errnum)
{
    return errnum == ENOENT || errnum == ESTALE || errnum == ELOOP || errnum == ENXIO ||
           errnum == EINVAL;
}

/* --- regular files ---------------------------------------------------------------------------- */

/* ENXIO for what is no regular file any more. */
static int
open_file(VarveFile file)
{
    varve_autofd fd = file.name == NULL
                          ? fcntl(file.dirfd, F_DUPFD_CLOEXEC, 0)
                          : varve_dirstack_open_inside(file.dirfd, file.name, O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode)) {
        errno = ENXIO;
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

/* The offset from which on there is data; size when only a hole is left. */
static off_t
next_data(int fd, off_t offset, off_t size)
{
    off_t data = lseek(fd, offset, SEEK_DATA);
    if (data < 0)
        return errno == ENXIO ? size : offset; /* or it cannot be told */
    return MIN(data, size);
}

/* Two files of one size, and what is known of them. */
typedef struct {
    int a, b;
    off_t size;
    VarveSharedExtents *shared; /* may be NULL */
} Pair;

/* The offset from which on the two may differ, neither in holes that both have nor in what they
 * share; *end is where something else is known again. */
static off_t
next_unknown(const Pair *pair, off_t offset, off_t *end)
{
    off_t size = pair->size;
    for (;;) {
        offset = MIN(next_data(pair->a, offset, size), next_data(pair->b, offset, size));
        *end = size;
        if (pair->shared == NULL || offset >= size ||
            !varve_shared_extents_same(pair->shared, offset, end))
            break;
        offset = *end;
    }
    *end = MIN(*end, size);
    return offset;
}

/* The bytes of both from offset on; buffers has room for twice that many. */
static gboolean
same_piece(const Pair *pair, char *buffers, size_t wanted, off_t offset, gboolean *same,
           GError **error)
{
    gssize n = varve_fd_read_all(pair->a, buffers, wanted, offset);
    gssize m = n < 0 ? -1 : varve_fd_read_all(pair->b, buffers + wanted, wanted, offset);
    if (m < 0)
        return varve_error_set_errno(error, errno, "reading it");
    *same = n == m && memcmp(buffers, buffers + wanted, (size_t)n) == 0;
    return TRUE;
}

static gboolean
same_bytes(Pair *pair, const VarveCompare *how, gboolean *same, GError **error)
{
    size_t chunk = (size_t)MIN(VARVE_COMPARE_PIECE, pair->size);
    g_autofree char *buffers = g_malloc(2 * chunk);
    g_autoptr(VarveSharedExtents) shared = varve_shared_extents_new(pair->a, pair->b, pair->size);
    pair->shared = shared;
    *same = TRUE;
    off_t offset = 0, end = pair->size;
    while (*same && offset < pair->size) {
        if (shared != NULL || pair->size > (off_t)chunk)
            offset = next_unknown(pair, offset, &end);
        size_t wanted = (size_t)MIN((off_t)chunk, end - offset);
        if (!same_piece(pair, buffers, wanted, offset, same, error) ||
            !varve_check_cancelled(how->cancelled, error))
            return FALSE;
        offset += (off_t)wanted;
    }
    return TRUE;
}

static gboolean
same_regular(VarveFile before, VarveFile after, off_t size, const VarveCompare *how, gboolean *same,
             GError **error)
{
    *same = FALSE;
    varve_autofd a = open_file(before);
    varve_autofd b = a < 0 ? -1 : open_file(after);
    if (b < 0)
        return has_gone(errno) || varve_error_set_errno(error, errno, "opening it");
    Pair pair = {.a = a, .b = b, .size = size};
    return same_bytes(&pair, how, same, error);
}

/* --- symbolic links --------------------------------------------------------------------------- */

static ssize_t
read_target(VarveFile file, char *target)
{
    return readlinkat(file.dirfd, file.name != NULL ? file.name : "", target, PATH_MAX);
}

static gboolean
same_target(VarveFile before, VarveFile after, gboolean *same, GError **error)
{
    char first[PATH_MAX], second[PATH_MAX];
    *same = FALSE;
    ssize_t n = read_target(before, first);
    ssize_t m = n < 0 ? -1 : read_target(after, second);
    if (m < 0)
        return has_gone(errno) || varve_error_set_errno(error, errno, "reading the symbolic link");
    *same = n == m && memcmp(first, second, (size_t)n) == 0;
    return TRUE;
}

/* --- files ------------------------------------------------------------------------------------ */

static struct timespec
to_timespec(const struct statx_timestamp *time)
{
    return (struct timespec){time->tv_sec, time->tv_nsec};
}

static void
to_stat(const struct statx *stx, struct stat *st)
{
    *st = (struct stat){
        .st_dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
        .st_ino = stx->stx_ino,
        .st_nlink = stx->stx_nlink,
        .st_mode = stx->stx_mode,
        .st_uid = stx->stx_uid,
        .st_gid = stx->stx_gid,
        .st_rdev = makedev(stx->stx_rdev_major, stx->stx_rdev_minor),
        .st_size = (off_t)stx->stx_size,
        .st_mtim = to_timespec(&stx->stx_mtime),
        .st_ctim = to_timespec(&stx->stx_ctime),
    };
}

gboolean
varve_changes_look(VarveFile file, VarveFound *found, GError **error)
{
    struct statx stx;
    const char *name = file.name != NULL ? file.name : "";
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (file.name == NULL ? AT_EMPTY_PATH : 0);
    *found = (VarveFound){.file = file};
    if (statx(file.dirfd, name, flags, STATX_BASIC_STATS, &stx) < 0)
        return errno == ENOENT || varve_error_set_errno(error, errno, "looking at it");
    found->exists = TRUE;
    found->mounted = file.name != NULL && (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    to_stat(&stx, &found->st);
    return TRUE;
}

gboolean
varve_changes_same_type(const struct stat *before, const struct stat *after)
{
    if ((before->st_mode & S_IFMT) != (after->st_mode & S_IFMT))
        return FALSE;
    gboolean device = S_ISCHR(after->st_mode) || S_ISBLK(after->st_mode);
    return !device || before->st_rdev == after->st_rdev;
}

static gboolean
same_mtime(const struct stat *before, const struct stat *after)
{
    return before->st_mtim.tv_sec == after->st_mtim.tv_sec &&
           before->st_mtim.tv_nsec == after->st_mtim.tv_nsec;
}

gboolean
varve_changes_compare_attributes(VarveFile before, const struct stat *before_st, VarveFile after,
                                 const struct stat *after_st, const VarveCompare *how, guint *what,
                                 GError **error)
{
    gboolean same;
    *what = 0;
    if (((before_st->st_mode ^ after_st->st_mode) & 07777) != 0)
        *what |= VARVE_CHANGE_MODE;
    if (before_st->st_uid != after_st->st_uid || before_st->st_gid != after_st->st_gid)
        *what |= VARVE_CHANGE_OWNER;
    if (!same_mtime(before_st, after_st))
        *what |= VARVE_CHANGE_TIME;
    if (!varve_xattrs_equal(before, (how->flags & VARVE_COMPARE_BEFORE_LAYER) != 0, after,
                            (how->flags & VARVE_COMPARE_AFTER_LAYER) != 0, &same, error))
        return FALSE;
    if (!same)
        *what |= VARVE_CHANGE_XATTRS;
    return TRUE;
}

gboolean
varve_changes_same_content(VarveFile before, const struct stat *before_st, VarveFile after,
                           const struct stat *after_st, const VarveCompare *how, gboolean *same,
                           GError **error)
{
    *same = TRUE;
    if (S_ISLNK(after_st->st_mode))
        return same_target(before, after, same, error);
    if (!S_ISREG(after_st->st_mode))
        return TRUE;
    *same = before_st->st_size == after_st->st_size;
    return !*same || after_st->st_size == 0 ||
           same_regular(before, after, after_st->st_size, how, same, error);
}

/* Whether something was done to the file since then, as far as its inode tells: writing to it, and
 * setting its times back after that, set the change time, which nobody can set back. */
static gboolean
was_touched(const struct stat *st, const struct timespec *since)
{
    return st->st_ctim.tv_sec > since->tv_sec ||
           (st->st_ctim.tv_sec == since->tv_sec && st->st_ctim.tv_nsec >= since->tv_nsec);
}

/* Whether the content has to be looked at to know whether it is the same. */
static gboolean
may_differ(const struct stat *before, const struct stat *after_st, const VarveCompare *how)
{
    if (!S_ISREG(after_st->st_mode) || before->st_size != after_st->st_size ||
        !same_mtime(before, after_st) || (how->flags & VARVE_COMPARE_CONTENT) != 0)
        return TRUE;
    return (how->flags & VARVE_COMPARE_TOUCHED) != 0 && was_touched(after_st, &how->since);
}

gboolean
varve_changes_compare(VarveFile before, const struct stat *before_st, VarveFile after,
                      const struct stat *after_st, const VarveCompare *how, guint *what,
                      GError **error)
{
    gboolean same = TRUE;
    if (!varve_changes_compare_attributes(before, before_st, after, after_st, how, what, error))
        return FALSE;
    if (may_differ(before_st, after_st, how) &&
        !varve_changes_same_content(before, before_st, after, after_st, how, &same, error))
        return FALSE;
    if (!same)
        *what |= VARVE_CHANGE_CONTENT;
    return TRUE;
}
