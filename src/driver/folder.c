/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/folder.h"
#include "base/fd.h"
#include <dirent.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

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
    if (fd < 0 || !settle(fd, name, mode, error)) {
        varve_fd_clear(&fd);
        (void)unlinkat(dirfd, name, AT_REMOVEDIR);
    }
    return fd;
}

VarveFolderName
varve_folder_name(guint64 id)
{
    VarveFolderName name;
    g_snprintf(name.text, sizeof name.text, "%" G_GUINT64_FORMAT, id);
    return name;
}

gboolean
varve_folder_make(int folder, guint64 id, mode_t mode, GError **error)
{
    VarveFolderName name = varve_folder_name(id);
    if (mkdirat(folder, name.text, mode) < 0)
        return varve_error_set_errno(error, errno, "making directory %s", name.text);

    /* The umask belongs to the whole process, so that a library must not touch it. */
    struct stat st;
    if (fstatat(folder, name.text, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        ((st.st_mode & 07777) == mode || fchmodat(folder, name.text, mode, 0) == 0))
        return TRUE;
    varve_error_set_errno(error, errno, "setting the mode of directory %s", name.text);
    (void)unlinkat(folder, name.text, AT_REMOVEDIR);
    return FALSE;
}

/* Only the name that varve_folder_name() makes: no sign, no leading zero, no overflow. */
static gboolean
parse_name(const char *text, guint64 *id)
{
    if (!g_ascii_isdigit(*text))
        return FALSE;
    *id = g_ascii_strtoull(text, NULL, 10);
    return g_str_equal(varve_folder_name(*id).text, text);
}

static DIR *
open_again(int folder, GError **error)
{
    /* The folder's own descriptor has one read position for all threads. */
    varve_autofd fd = varve_fd_open_dir(folder, ".", error);
    if (fd < 0)
        return NULL;
    DIR *dir = fdopendir(fd);
    if (dir == NULL)
        varve_error_set_errno(error, errno, "reading the snapshots' directory");
    else
        fd = -1; /* the stream's now */
    return dir;
}

gboolean
varve_folder_list(int folder, VarveDriverListFunc func, gpointer data, GError **error)
{
    DIR *dir = open_again(folder, error);
    if (dir == NULL)
        return FALSE;

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
