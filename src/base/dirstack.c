/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dirstack.h"
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Deep enough for nearly every tree that people make, and far from any limit on descriptors. */
#define MAX_OPEN 48

/* RESOLVE_NO_XDEV: a file system, directory or file that is mounted on the name is not part of the
 * tree. O_NOATIME, where the kernel lets us have it, keeps reading from being written down. */
int
varve_dirstack_open_inside(int dirfd, const char *name, int flags)
{
    struct open_how how = {
        .flags = (guint64)(O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME | flags),
        .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS,
    };
    int fd = (int)syscall(SYS_openat2, dirfd, name, &how, sizeof how);
    if (fd < 0 && errno == EPERM) {
        how.flags &= ~(guint64)O_NOATIME;
        fd = (int)syscall(SYS_openat2, dirfd, name, &how, sizeof how);
    }
    return fd;
}

typedef struct {
    int fd; /* -1 while more than MAX_OPEN directories are below it; dev and ino are set then */
    dev_t dev;
    ino_t ino;
} Level;

struct VarveDirstack {
    GArray *levels;
};

static Level *
level_at(const VarveDirstack *stack, gsize i)
{
    return &g_array_index(stack->levels, Level, i);
}

static Level *
last(const VarveDirstack *stack)
{
    return level_at(stack, stack->levels->len - 1);
}

VarveDirstack *
varve_dirstack_new(int fd)
{
    VarveDirstack *stack = g_new0(VarveDirstack, 1);
    stack->levels = g_array_new(FALSE, FALSE, sizeof(Level));
    g_array_append_val(stack->levels, ((Level){.fd = fd}));
    return stack;
}

void
varve_dirstack_free(VarveDirstack *stack)
{
    if (stack == NULL)
        return;
    for (gsize i = 0; i < stack->levels->len; i++)
        varve_fd_clear(&level_at(stack, i)->fd);
    g_array_unref(stack->levels);
    g_free(stack);
}

gsize
varve_dirstack_depth(const VarveDirstack *stack)
{
    return stack->levels->len;
}

int
varve_dirstack_top(const VarveDirstack *stack)
{
    return last(stack)->fd;
}

/* Closes a directory far up, remembering which one it was. */
static int
release(Level *level)
{
    struct stat st;
    if (fstat(level->fd, &st) < 0)
        return errno;
    level->dev = st.st_dev;
    level->ino = st.st_ino;
    varve_fd_clear(&level->fd);
    return 0;
}

int
varve_dirstack_push(VarveDirstack *stack, const char *name)
{
    int fd = varve_dirstack_open_inside(last(stack)->fd, name, O_DIRECTORY);
    if (fd < 0)
        return errno;
    if (stack->levels->len >= MAX_OPEN) {
        int failed = release(level_at(stack, stack->levels->len - MAX_OPEN));
        if (failed != 0) {
            varve_fd_clear(&fd);
            return failed;
        }
    }
    g_array_append_val(stack->levels, ((Level){.fd = fd}));
    return 0;
}

/* Somebody may have moved the directory meanwhile, and ".." would lead out of the tree. */
static gboolean
reopen(Level *level, int child, GError **error)
{
    varve_autofd fd = varve_dirstack_open_inside(child, "..", O_DIRECTORY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return varve_error_set_errno(error, errno, "going back to the directory above");
    if (st.st_dev != level->dev || st.st_ino != level->ino)
        return varve_error_set(error, VARVE_ERROR_BUSY,
                               "going back to the directory above: somebody moved it");
    level->fd = fd;
    fd = -1;
    return TRUE;
}

gboolean
varve_dirstack_pop(VarveDirstack *stack, GError **error)
{
    g_assert(stack->levels->len > 1);
    Level *above = level_at(stack, stack->levels->len - 2);
    if (above->fd < 0 && !reopen(above, last(stack)->fd, error))
        return FALSE;
    varve_fd_clear(&last(stack)->fd);
    g_array_set_size(stack->levels, stack->levels->len - 1);
    return TRUE;
}
