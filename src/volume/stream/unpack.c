/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/unpack.h"
#include "base/content.h"
#include "base/cursor.h"
#include "base/fd.h"
#include "volume/stream/attributes.h"
#include "volume/stream/path.h"
#include "volume/stream/tree.h"
#include <linux/falloc.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

typedef struct {
    const VarveTreeWatch *watch;
    VarveStreamTree *tree;
    VarveCursor *targets; /* of hard links */
    VarveStreamEntry *entry;
    int fd; /* of the entry's file, whose content follows; -1: none does */
    guint64 entries, bytes;
} Unpack;

static gboolean
does_not_fit(const char *reason, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_CORRUPT, "the stream does not fit what is there: %s",
                           reason);
}

/* --- content ---------------------------------------------------------------------------------- */

static gboolean
check_range(const Unpack *u, const VarveRecord *record, GError **error)
{
    if (u->fd < 0)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the stream has content there that no file has");
    return (record->offset <= u->entry->size && record->size <= u->entry->size - record->offset) ||
           varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the stream has content beyond the end of the file");
}

static gboolean
write_bytes(int fd, const guint8 *bytes, gsize size, guint64 at, GError **error)
{
    return varve_fd_write_all(fd, bytes, size, (gint64)at) ||
           varve_error_set_errno(error, errno, "writing it");
}

static gboolean
write_data(Unpack *u, const VarveRecord *record, GError **error)
{
    u->bytes += record->size;
    return check_range(u, record, error) &&
           write_bytes(u->fd, record->bytes, record->size, record->offset, error);
}

/* A file system that knows no holes gets zeros. */
static gboolean
write_zeros(Unpack *u, const VarveRecord *record, GError **error)
{
    static const guint8 zeros[64 * 1024];
    for (guint64 done = 0, n; done < record->size; done += n) {
        n = MIN(record->size - done, sizeof zeros);
        if (!varve_check_cancelled(u->watch->cancelled, error) ||
            !write_bytes(u->fd, zeros, n, record->offset + done, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
make_hole(Unpack *u, const VarveRecord *record, GError **error)
{
    if (!check_range(u, record, error))
        return FALSE;
    if (record->size == 0 || fallocate(u->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                       (off_t)record->offset, (off_t)record->size) == 0)
        return TRUE;
    return errno == EOPNOTSUPP ? write_zeros(u, record, error)
                               : varve_error_set_errno(error, errno, "making a hole in it");
}

/* --- files ------------------------------------------------------------------------------------ */

/* With the mode that it is to have, as far as the umask lets it: nobody else sees it. */
static gboolean
create_file(Unpack *u, VarveFile file, GError **error)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    u->fd = openat(file.dirfd, file.name, flags, u->entry->mode & 0777);
    return u->fd >= 0 || varve_error_set_errno(error, errno, "making it");
}

static gboolean
may_go_on(guint64 bytes, gpointer unpack, GError **error)
{
    return varve_check_cancelled(((const Unpack *)unpack)->watch->cancelled, error);
}

/* A file of its own in the place of one that has other names, which keep what they have. */
static gboolean
separate(Unpack *u, VarveFile file, const struct stat *st, GError **error)
{
    varve_autofd old =
        openat(file.dirfd, file.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (old < 0)
        return varve_error_set_errno(error, errno, "opening it");
    g_autoptr(VarveContent) content = varve_content_new(may_go_on, u);
    return varve_stream_tree_touch(u->tree, error) &&
           (unlinkat(file.dirfd, file.name, 0) == 0 ||
            varve_error_set_errno(error, errno, "removing it")) &&
           create_file(u, file, error) &&
           varve_content_copy(content, old, u->fd, st->st_size, error);
}

static gboolean
open_for_patch(Unpack *u, VarveFile file, GError **error)
{
    struct stat st;
    if (fstatat(file.dirfd, file.name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return does_not_fit("there is no file to change", error);
    if (st.st_nlink > 1) {
        if (!separate(u, file, &st, error))
            return FALSE;
    } else {
        u->fd = openat(file.dirfd, file.name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (u->fd < 0)
            return varve_error_set_errno(error, errno, "opening it");
    }
    return (guint64)st.st_size == u->entry->size || ftruncate(u->fd, (off_t)u->entry->size) == 0 ||
           varve_error_set_errno(error, errno, "setting its size");
}

/* The size comes last of a new file: before, each byte beyond what was written would be a hole. */
static gboolean
finish_file(Unpack *u, GError **error)
{
    struct stat st;
    if (fstat(u->fd, &st) < 0)
        return varve_error_set_errno(error, errno, "looking at it");
    gboolean ok =
        ((guint64)st.st_size == u->entry->size || ftruncate(u->fd, (off_t)u->entry->size) == 0 ||
         varve_error_set_errno(error, errno, "setting its size")) &&
        varve_stream_attributes_set(u->entry, (VarveFile){u->fd, NULL}, error);
    varve_fd_clear(&u->fd);
    return ok;
}

/* --- entries ---------------------------------------------------------------------------------- */

static gboolean
remove_path(Unpack *u, VarveFile file, GError **error)
{
    struct stat st;
    if (fstatat(file.dirfd, file.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? does_not_fit("there is nothing to remove", error)
                               : varve_error_set_errno(error, errno, "looking at it");
    return varve_stream_tree_touch(u->tree, error) &&
           varve_tree_remove(file.dirfd, file.name, u->watch, error);
}

static gboolean
make_directory(Unpack *u, VarveFile file, GError **error)
{
    struct timespec times[2];
    int fd;
    struct stat st;
    varve_stream_attributes_times(u->entry, times);
    if (file.name != NULL &&
        (fstatat(file.dirfd, file.name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))) {
        if (!varve_stream_tree_touch(u->tree, error))
            return FALSE;
        if (mkdirat(file.dirfd, file.name, 0700) < 0)
            return varve_error_set_errno(error, errno, "making it");
    }
    return varve_stream_tree_enter(u->tree, file.name, times, &fd, error) &&
           varve_stream_attributes_set(u->entry, (VarveFile){fd, NULL}, error);
}

static gboolean
make_file(Unpack *u, VarveFile file, GError **error)
{
    return varve_stream_tree_touch(u->tree, error) && create_file(u, file, error);
}

static gboolean
make_link(Unpack *u, VarveFile file, GError **error)
{
    VarveFile target;
    gboolean there;
    if (!varve_stream_path_check(u->entry->target, error) ||
        !varve_cursor_seek(u->targets, u->entry->target, &target, &there, error))
        return FALSE;
    if (!there || target.name == NULL)
        return does_not_fit("the file that it is to be another name of is missing", error);
    return varve_stream_tree_touch(u->tree, error) &&
           (linkat(target.dirfd, target.name, file.dirfd, file.name, 0) == 0 ||
            varve_error_set_errno(error, errno, "making it another name of a file"));
}

static gboolean
make_symlink(Unpack *u, VarveFile file, GError **error)
{
    if (u->entry->target[0] == '\0' || strlen(u->entry->target) >= PATH_MAX)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the stream has a symbolic link without a target that it can have");
    if (!varve_stream_tree_touch(u->tree, error))
        return FALSE;
    if (symlinkat(u->entry->target, file.dirfd, file.name) < 0)
        return varve_error_set_errno(error, errno, "making it");
    return varve_stream_attributes_set(u->entry, file, error);
}

static gboolean
make_node(Unpack *u, VarveFile file, GError **error)
{
    static const mode_t types[] = {
        [VARVE__STREAM__ENTRY__KIND__CHARACTER] = S_IFCHR,
        [VARVE__STREAM__ENTRY__KIND__BLOCK] = S_IFBLK,
        [VARVE__STREAM__ENTRY__KIND__FIFO] = S_IFIFO,
        [VARVE__STREAM__ENTRY__KIND__SOCKET] = S_IFSOCK,
    };
    if (!varve_stream_tree_touch(u->tree, error))
        return FALSE;
    if (mknodat(file.dirfd, file.name, types[u->entry->kind] | 0600,
                makedev(u->entry->major, u->entry->minor)) < 0)
        return varve_error_set_errno(error, errno, "making it");
    return varve_stream_attributes_set(u->entry, file, error);
}

static gboolean (*const makers[])(Unpack *u, VarveFile file, GError **error) = {
    [VARVE__STREAM__ENTRY__KIND__REMOVE] = remove_path,
    [VARVE__STREAM__ENTRY__KIND__DIRECTORY] = make_directory,
    [VARVE__STREAM__ENTRY__KIND__FILE] = make_file,
    [VARVE__STREAM__ENTRY__KIND__PATCH] = open_for_patch,
    [VARVE__STREAM__ENTRY__KIND__LINK] = make_link,
    [VARVE__STREAM__ENTRY__KIND__SYMLINK] = make_symlink,
    [VARVE__STREAM__ENTRY__KIND__CHARACTER] = make_node,
    [VARVE__STREAM__ENTRY__KIND__BLOCK] = make_node,
    [VARVE__STREAM__ENTRY__KIND__FIFO] = make_node,
    [VARVE__STREAM__ENTRY__KIND__SOCKET] = make_node,
};

static gboolean
make_entry(Unpack *u, GError **error)
{
    const VarveStreamEntry *entry = u->entry;
    VarveFile file;
    guint kind = (guint)entry->kind;
    if (kind >= G_N_ELEMENTS(makers) || makers[kind] == NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the stream has something of an unknown kind there");
    if (!varve_stream_attributes_check(entry, error) ||
        !varve_stream_tree_seek(u->tree, entry->path, &file, error))
        return FALSE;
    if (file.name == NULL && kind != VARVE__STREAM__ENTRY__KIND__DIRECTORY)
        return does_not_fit("the root is a directory", error);
    return makers[kind](u, file, error);
}

/* --- records ---------------------------------------------------------------------------------- */

static gboolean
within_entry(Unpack *u, gboolean ok, GError **error)
{
    if (ok || u->entry == NULL)
        return ok;
    g_autofree char *shown = varve_stream_path_show(u->entry->path);
    g_prefix_error(error, "'%s': ", shown);
    return FALSE;
}

static gboolean
begin_entry(Unpack *u, const VarveRecord *record, GError **error)
{
    const VarveTreeWatch *watch = u->watch;
    varve_stream_entry_free(u->entry);
    u->entry = record->entry;
    u->entries++;
    if (watch->progress != NULL && u->entries % 64 == 0)
        watch->progress("receiving", u->entries, u->bytes, watch->progress_data);
    return varve_stream_path_check(u->entry->path, error) && make_entry(u, error);
}

static gboolean
take_record(Unpack *u, const VarveRecord *record, GError **error)
{
    switch (record->type) {
    case VARVE_RECORD_DATA:
        return within_entry(u, write_data(u, record, error), error);
    case VARVE_RECORD_HOLE:
        return within_entry(u, make_hole(u, record, error), error);
    default:
        break;
    }
    gboolean finished = u->fd < 0 || within_entry(u, finish_file(u, error), error);
    if (record->type != VARVE_RECORD_ENTRY)
        return finished;
    if (finished)
        return within_entry(u, begin_entry(u, record, error), error);
    varve_stream_entry_free(record->entry);
    return FALSE;
}

static gboolean
take_records(Unpack *u, VarveSource source, GError **error)
{
    g_autoptr(VarveRecordReader) reader = varve_record_reader_new(source);
    VarveRecord record;
    do {
        if (!varve_check_cancelled(u->watch->cancelled, error) ||
            !varve_record_reader_next(reader, &record, error) || !take_record(u, &record, error))
            return FALSE;
    } while (record.type != VARVE_RECORD_END);
    return varve_stream_tree_finish(u->tree, error);
}

static gboolean
prepare(Unpack *u, int root, GError **error)
{
    u->tree = varve_stream_tree_new(root, error);
    u->targets = u->tree != NULL ? varve_cursor_new(root, error) : NULL;
    return u->targets != NULL;
}

gboolean
varve_stream_unpack(int root, VarveSource source, const VarveTreeWatch *watch, guint64 *entries,
                    GError **error)
{
    Unpack u = {.watch = watch, .fd = -1};
    gboolean ok = prepare(&u, root, error) && take_records(&u, source, error);
    *entries = u.entries;
    varve_fd_clear(&u.fd);
    varve_stream_entry_free(u.entry);
    g_clear_pointer(&u.targets, varve_cursor_free);
    g_clear_pointer(&u.tree, varve_stream_tree_free);
    return ok;
}
