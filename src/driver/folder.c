/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/folder.h"
#include "base/fd.h"
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SHARDS 64

/* A default ACL, which the folder got from the directory above it, would be inherited by all that
 * is made in it. */
static gboolean
settle(int fd, const char *name, mode_t mode, GError **error)
{
    if (fchmod(fd, mode) < 0)
        return varve_error_set_errno(error, errno, "setting the mode of directory %s", name);
    if (fremovexattr(fd, "system.posix_acl_default") < 0 && errno != ENODATA && errno != EOPNOTSUPP)
        return varve_error_set_errno(error, errno, "removing the default ACL of directory %s",
                                     name);
    return TRUE;
}

static VarveFolderName
number_name(guint64 number)
{
    VarveFolderName name;
    g_snprintf(name.text, sizeof name.text, "%" G_GUINT64_FORMAT, number);
    return name;
}

static gboolean
make_shards(int fd, mode_t mode, GError **error)
{
    for (guint64 shard = 0; shard < SHARDS; shard++) {
        varve_autofd made = varve_fd_make_dir(fd, number_name(shard).text, mode, error);
        if (made < 0)
            return FALSE;
    }
    return TRUE;
}

int
varve_folder_open(int dirfd, const char *name, gboolean fresh, mode_t mode, GError **error)
{
    if (!fresh)
        return varve_fd_open_dir(dirfd, name, error);

    if (mkdirat(dirfd, name, mode) < 0) {
        varve_error_set_errno(error, errno, "making directory %s", name);
        return -1;
    }
    int fd = varve_fd_open_dir(dirfd, name, error);
    if (fd < 0 || !settle(fd, name, mode, error) || !make_shards(fd, mode, error)) {
        varve_fd_clear(&fd);
        (void)varve_folder_remove(dirfd, name, NULL);
    }
    return fd;
}

gboolean
varve_folder_remove(int dirfd, const char *name, GError **error)
{
    varve_autofd fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || varve_error_set_errno(error, errno, "opening directory %s", name);
    for (guint64 shard = 0; shard < SHARDS; shard++) {
        VarveFolderName entry = number_name(shard);
        if (unlinkat(fd, entry.text, AT_REMOVEDIR) == 0 || errno == ENOENT)
            continue;
        varve_error_set_errno(error, errno, "removing directory %s/%s", name, entry.text);
        struct stat st; /* it stays as it was */
        if (fstat(fd, &st) == 0)
            (void)make_shards(fd, st.st_mode & 07777, NULL);
        return FALSE;
    }
    return unlinkat(dirfd, name, AT_REMOVEDIR) == 0 ||
           varve_error_set_errno(error, errno, "removing directory %s", name);
}

VarveFolderName
varve_folder_path(guint64 id)
{
    VarveFolderName path;
    g_snprintf(path.text, sizeof path.text, "%u/%" G_GUINT64_FORMAT, (guint)(id % SHARDS), id);
    return path;
}

VarveFolderName
varve_folder_name(guint64 id)
{
    return number_name(id);
}

int
varve_folder_open_shard(int folder, guint64 id, GError **error)
{
    return varve_fd_open_dir(folder, number_name(id % SHARDS).text, error);
}

gboolean
varve_folder_make(int folder, guint64 id, mode_t mode, GError **error)
{
    VarveFolderName path = varve_folder_path(id);
    if (mkdirat(folder, path.text, mode) < 0)
        return varve_error_set_errno(error, errno, "making directory %s", path.text);

    /* The umask belongs to the whole process, so that a library must not touch it. */
    struct stat st;
    if (fstatat(folder, path.text, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        ((st.st_mode & 07777) == mode || fchmodat(folder, path.text, mode, 0) == 0))
        return TRUE;
    varve_error_set_errno(error, errno, "setting the mode of directory %s", path.text);
    (void)unlinkat(folder, path.text, AT_REMOVEDIR);
    return FALSE;
}

/* Only the name that varve_folder_name() makes (no sign, no leading zero, no overflow), or that
 * with a dot after it and what a driver likes. */
static gboolean
parse_name(const char *text, guint64 *id)
{
    if (!g_ascii_isdigit(*text))
        return FALSE;
    *id = g_ascii_strtoull(text, NULL, 10);
    VarveFolderName name = varve_folder_name(*id);
    gsize length = strlen(name.text);
    return strncmp(name.text, text, length) == 0 && (text[length] == '\0' || text[length] == '.');
}

static gboolean
list_shard(int folder, guint64 shard, VarveDriverListFunc func, gpointer data, GError **error)
{
    int fd = varve_folder_open_shard(folder, shard, error);
    if (fd < 0)
        return FALSE;
    DIR *dir = fdopendir(fd); /* takes the descriptor */
    if (dir == NULL) {
        varve_error_set_errno(error, errno, "reading the snapshots' directory");
        varve_fd_clear(&fd);
        return FALSE;
    }

    gboolean ok = TRUE;
    struct dirent *entry;
    guint64 id;
    while (ok && (errno = 0, entry = readdir(dir)) != NULL)
        ok = !parse_name(entry->d_name, &id) || func(id, data, error);
    if (ok && errno != 0)
        ok = varve_error_set_errno(error, errno, "reading the snapshots' directory");
    closedir(dir);
    return ok;
}

gboolean
varve_folder_list(int folder, VarveDriverListFunc func, gpointer data, GError **error)
{
    for (guint64 shard = 0; shard < SHARDS; shard++) {
        if (!list_shard(folder, shard, func, data, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
varve_folder_space(int folder, guint64 *size, guint64 *free, GError **error)
{
    struct statvfs st;
    if (fstatvfs(folder, &st) < 0)
        return varve_error_set_errno(error, errno, "asking how full the file system is");
    *size = (guint64)(st.f_blocks - st.f_bfree + st.f_bavail) * st.f_frsize; /* as df has it */
    *free = (guint64)st.f_bavail * st.f_frsize;
    return TRUE;
}
