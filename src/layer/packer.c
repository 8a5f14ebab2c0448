/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/packer.h"
#include "base/cursor.h"
#include "base/inodes.h"
#include "base/walk.h"
#include "base/xattrs.h"
#include "layer/packer-content.h"
#include <linux/limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define WHITEOUT "/.wh."

/* How often a file may change its type between two looks at it. */
#define MAX_ATTEMPTS 8

struct VarvePacker {
    const VarvePackage *package;
    VarvePackageInfo *info;
    VarveTarWriter *writer;
    VarveCursor *cursor;
    GHashTable *links; /* the name in the layer of each file that has several */
    GString *last;     /* the path of the last entry; empty before the first one and for the root */
    VarvePackerContent *content;
};

VarvePacker *
varve_packer_new(const VarvePackage *package, VarveSink sink, VarvePackageInfo *info,
                 GError **error)
{
    VarveCursor *cursor = varve_cursor_new(package->root, error);
    if (cursor == NULL)
        return NULL;
    VarvePacker *packer = g_new0(VarvePacker, 1);
    packer->package = package;
    packer->info = info;
    packer->writer = varve_tar_writer_new(sink);
    packer->cursor = cursor;
    packer->links = varve_inodes_new(g_free);
    packer->last = g_string_new(NULL);
    packer->content = varve_packer_content_new(packer->writer, package->watch.cancelled);
    return packer;
}

void
varve_packer_free(VarvePacker *packer)
{
    if (packer == NULL)
        return;
    varve_packer_content_free(packer->content);
    g_string_free(packer->last, TRUE);
    g_hash_table_unref(packer->links);
    varve_cursor_free(packer->cursor);
    varve_tar_writer_free(packer->writer);
    g_free(packer);
}

/* --- one entry ------------------------------------------------------------------------------- */

/* A file that is to be an entry. */
typedef struct {
    VarveFile file;
    struct stat st;
    int fd;       /* of a regular one; else -1 */
    char *target; /* of a symbolic link */
    GArray *xattrs;
} Subject;

#define SUBJECT_INIT                                                                               \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

static void
subject_clear(Subject *subject)
{
    varve_fd_clear(&subject->fd);
    g_clear_pointer(&subject->target, g_free);
    g_clear_pointer(&subject->xattrs, g_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Subject, subject_clear)

static int
look(VarveFile file, struct stat *st)
{
    const char *name = file.name != NULL ? file.name : "";
    int flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT;
    return fstatat(file.dirfd, name, st, flags);
}

static int
read_target(Subject *subject)
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(subject->file.dirfd, subject->file.name, target, sizeof target);
    if (length < 0)
        return errno;
    subject->target = g_strndup(target, (gsize)length);
    return 0;
}

/* What was a regular file a moment ago may be a fifo now, which must not be waited for. */
static int
open_content(Subject *subject)
{
    int flags = O_NONBLOCK | O_NOCTTY;
    subject->fd = varve_dirstack_open_inside(subject->file.dirfd, subject->file.name, flags);
    if (subject->fd < 0 || fstat(subject->fd, &subject->st) < 0)
        return errno;
    return S_ISREG(subject->st.st_mode) ? 0 : EINVAL;
}

/* Returns 0, ENOENT when it is not there, or another errno value. */
static int
examine(Subject *subject)
{
    if (look(subject->file, &subject->st) < 0)
        return errno;
    if (S_ISLNK(subject->st.st_mode))
        return read_target(subject);
    return S_ISREG(subject->st.st_mode) ? open_content(subject) : 0;
}

/* A file that is another one at each look is somebody's joke. */
static gboolean
find_subject(VarvePacker *packer, const char *path, Subject *subject, gboolean *there,
             GError **error)
{
    int failed = EINVAL;
    for (guint i = 0; i < MAX_ATTEMPTS; i++) {
        subject_clear(subject);
        if (!varve_cursor_seek(packer->cursor, path, &subject->file, there, error))
            return FALSE;
        if (!*there)
            return TRUE;
        failed = examine(subject);
        if (failed != ELOOP && failed != ENXIO && failed != EINVAL && failed != ESTALE)
            break;
    }
    *there = failed != ENOENT && failed != EXDEV;
    return failed == 0 || !*there || varve_error_set_errno(error, failed, "reading it");
}

static VarveTarType
type_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return VARVE_TAR_DIRECTORY;
    case S_IFLNK:
        return VARVE_TAR_SYMLINK;
    case S_IFCHR:
        return VARVE_TAR_CHAR;
    case S_IFBLK:
        return VARVE_TAR_BLOCK_DEVICE;
    case S_IFIFO:
        return VARVE_TAR_FIFO;
    default:
        return VARVE_TAR_FILE;
    }
}

/* "/dir/file" is "dir/file", "/dir" is "dir/", "/" is "./". */
static char *
name_of(const char *path, mode_t mode)
{
    if (path[1] == '\0')
        return g_strdup("./");
    return g_strconcat(path + 1, S_ISDIR(mode) ? "/" : NULL, NULL);
}

static VarveTarEntry
describe(const Subject *subject, char *name)
{
    const struct stat *st = &subject->st;
    gboolean device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
    return (VarveTarEntry){
        .type = type_of(st->st_mode),
        .name = name,
        .target = subject->target,
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .mtime = st->st_mtim,
        .major = device ? major(st->st_rdev) : 0,
        .minor = device ? minor(st->st_rdev) : 0,
        .size = S_ISREG(st->st_mode) ? (guint64)st->st_size : 0,
    };
}

/* The label is this host's: another one's policy sets its own. */
static gboolean
is_of_host(const VarveXattr *xattr)
{
    return g_str_equal(xattr->name, "security.selinux");
}

static gboolean
write_whole(VarvePacker *packer, Subject *subject, VarveTarEntry *entry, GError **error)
{
    subject->xattrs = varve_xattrs_read(subject->file, error);
    if (subject->xattrs == NULL)
        return FALSE;
    g_autofree VarveTarXattr *xattrs = g_new(VarveTarXattr, subject->xattrs->len);
    entry->xattrs = xattrs;
    for (guint i = 0; i < subject->xattrs->len; i++) {
        const VarveXattr *xattr = &g_array_index(subject->xattrs, VarveXattr, i);
        if (!is_of_host(xattr))
            xattrs[entry->n_xattrs++] = (VarveTarXattr){xattr->name, xattr->value, xattr->size};
    }
    if (!varve_tar_writer_add(packer->writer, entry, error))
        return FALSE;
    gboolean quiet = TRUE;
    if (subject->fd >= 0 &&
        !varve_packer_content_copy(packer->content, subject->fd, &subject->st, &quiet, error))
        return FALSE;
    packer->info->unquiet += !quiet;
    return TRUE;
}

static struct timespec
limited(const VarvePacker *packer, struct timespec time)
{
    const gint64 *latest = packer->package->latest;
    if (latest == NULL || time.tv_sec < *latest)
        return time;
    return (struct timespec){.tv_sec = *latest};
}

/* A second name of a file is a link to the first one. */
static gboolean
write_subject(VarvePacker *packer, const char *path, Subject *subject, GError **error)
{
    const struct stat *st = &subject->st;
    g_autofree char *name = name_of(path, st->st_mode);
    VarveTarEntry entry = describe(subject, name);
    entry.mtime = limited(packer, entry.mtime);
    packer->info->entries++;
    if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
        return write_whole(packer, subject, &entry, error);
    const VarveInode inode = {st->st_dev, st->st_ino};
    char *first = g_hash_table_lookup(packer->links, &inode);
    if (first == NULL) {
        g_hash_table_insert(packer->links, g_memdup2(&inode, sizeof inode), g_strdup(name));
        return write_whole(packer, subject, &entry, error);
    }
    entry.type = VARVE_TAR_LINK;
    entry.target = first;
    entry.major = entry.minor = 0;
    return varve_tar_writer_add(packer->writer, &entry, error);
}

static gboolean
add_file(VarvePacker *packer, const char *path, gboolean *there, GError **error)
{
    g_auto(Subject) subject = SUBJECT_INIT;
    if (!find_subject(packer, path, &subject, there, error))
        return FALSE;
    if (!*there)
        return TRUE;
    g_string_assign(packer->last, path[1] == '\0' ? "" : path);
    if (S_ISSOCK(subject.st.st_mode)) {
        packer->info->sockets++;
        *there = FALSE;
        return TRUE;
    }
    return write_subject(packer, path, &subject, error);
}

/* All about it is 0, so that it says nothing else; but for a time that was asked for. */
static gboolean
add_whiteout(VarvePacker *packer, const char *path, GError **error)
{
    const char *slash = strrchr(path, '/');
    g_autofree char *name =
        g_strdup_printf("%.*s" WHITEOUT "%s", (int)(slash - path), path, slash + 1);
    const gint64 *latest = packer->package->latest;
    const VarveTarEntry entry = {.type = VARVE_TAR_FILE,
                                 .name = name + 1,
                                 .mtime = {.tv_sec = latest != NULL ? *latest : 0}};
    g_string_assign(packer->last, path);
    packer->info->entries++;
    packer->info->whiteouts++;
    return varve_tar_writer_add(packer->writer, &entry, error);
}

/* --- changes --------------------------------------------------------------------------------- */

/* The part of a path, up to a slash, that was an entry already or was on the way to one: since they
 * are in order, that is what the path has in common with the last one. */
static gsize
length_there(const VarvePacker *packer, const char *path)
{
    const char *last = packer->last->str;
    gsize there = 0;
    for (gsize i = 0; path[i] != '\0'; i++) {
        if (path[i] == '/' && (last[i] == '/' || last[i] == '\0'))
            there = i;
        if (last[i] != path[i])
            break;
    }
    return there;
}

/* The directories on the way to a path, whether they changed or not. */
static gboolean
add_way(VarvePacker *packer, const char *path, GError **error)
{
    gsize length = length_there(packer, path);
    const char *slash = strchr(path + length + 1, '/');
    for (gboolean there = TRUE; slash != NULL && there; slash = strchr(slash + 1, '/')) {
        g_autofree char *dir = g_strndup(path, (gsize)(slash - path));
        if (!add_file(packer, dir, &there, error))
            return FALSE;
    }
    return TRUE;
}

/* What is not there, or is a socket, which no layer has, still hides what was there. */
static gboolean
add_change(VarvePacker *packer, const VarveChange *change, GError **error)
{
    gboolean there = FALSE;
    if (strstr(change->path, WHITEOUT) != NULL)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "its name begins with \".wh.\", which in a layer means that "
                               "something was deleted: rename it");
    if (strlen(change->path) + strlen(WHITEOUT) > PATH_MAX)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "its path is longer than those who unpack layers take");
    if (!add_way(packer, change->path, error))
        return FALSE;
    if (change->kind != VARVE_CHANGE_DELETED && !add_file(packer, change->path, &there, error))
        return FALSE;
    gboolean same_socket = change->kind == VARVE_CHANGE_MODIFIED && S_ISSOCK(change->mode);
    if (there || change->kind == VARVE_CHANGE_ADDED || same_socket)
        return TRUE;
    return add_whiteout(packer, change->path, error);
}

gboolean
varve_packer_add(const VarveChange *change, gpointer data, GError **error)
{
    VarvePacker *packer = data;
    if (varve_check_cancelled(packer->package->watch.cancelled, error) &&
        add_change(packer, change, error))
        return TRUE;
    g_autofree char *place = varve_walk_printable(change->path);
    g_prefix_error(error, "packaging %s: ", place);
    return FALSE;
}

gboolean
varve_packer_finish(VarvePacker *packer, GError **error)
{
    return varve_tar_writer_finish(packer->writer, error);
}
