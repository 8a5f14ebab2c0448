/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/pack.h"
#include "base/cursor.h"
#include "base/dirstack.h"
#include "base/inodes.h"
#include "volume/stream/content.h"
#include "volume/stream/entry.h"
#include "volume/stream/path.h"

struct VarveStreamPacker {
    const VarveStreamPack *pack;
    const VarveSink *sink;
    VarveCursor *before, *after;
    GHashTable *links; /* of files with several names: the path that was told first */
    VarveStreamContent content;
    char *last; /* path */
    char *gone; /* the last directory that was removed, with all in it */
    guint64 entries, bytes;
};

typedef struct {
    gboolean exists;
    VarveFile file;
    struct stat st;
} Found;

VarveStreamPacker *
varve_stream_packer_new(const VarveStreamPack *pack, const VarveSink *sink, GError **error)
{
    g_autoptr(VarveStreamPacker) packer = g_new0(VarveStreamPacker, 1);
    packer->pack = pack;
    packer->sink = sink;
    packer->links = varve_inodes_new(g_free);
    varve_stream_content_init(&packer->content, sink, pack->watch.cancelled);
    packer->after = varve_cursor_new(pack->after, error);
    if (packer->after == NULL)
        return NULL;
    if (pack->before >= 0 && (packer->before = varve_cursor_new(pack->before, error)) == NULL)
        return NULL;
    return g_steal_pointer(&packer);
}

void
varve_stream_packer_free(VarveStreamPacker *packer)
{
    if (packer == NULL)
        return;
    varve_cursor_free(packer->before);
    varve_cursor_free(packer->after);
    g_clear_pointer(&packer->links, g_hash_table_unref);
    varve_stream_content_clear(&packer->content);
    g_free(packer->last);
    g_free(packer->gone);
    g_free(packer);
}

/* --- looking ---------------------------------------------------------------------------------- */

static gboolean
look(VarveCursor *cursor, const char *path, Found *found, GError **error)
{
    gboolean there = FALSE;
    *found = (Found){.exists = FALSE};
    if (cursor == NULL)
        return TRUE;
    if (!varve_cursor_seek(cursor, path, &found->file, &there, error))
        return FALSE;
    if (!there)
        return TRUE;
    const char *name = found->file.name != NULL ? found->file.name : "";
    found->exists =
        fstatat(found->file.dirfd, name, &found->st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0;
    return found->exists || errno == ENOENT || varve_error_set_errno(error, errno, "looking at it");
}

static gboolean
is_gone(const VarveStreamPacker *packer, const char *path)
{
    return packer->gone != NULL && varve_stream_path_is_within(path, packer->gone);
}

/* --- telling ---------------------------------------------------------------------------------- */

static gboolean
tell(VarveStreamPacker *packer, VarveStreamEntryKind kind, const char *path, const Found *found,
     GError **error)
{
    packer->entries++;
    return varve_stream_entry_tell(packer->sink, kind, path, found->file, &found->st, error);
}

static gboolean
tell_removal(VarveStreamPacker *packer, const char *path, const Found *old, GError **error)
{
    packer->entries++;
    if (S_ISDIR(old->st.st_mode)) {
        g_free(packer->gone);
        packer->gone = g_strdup(path);
    }
    return varve_stream_entry_tell_bare(packer->sink, VARVE__STREAM__ENTRY__KIND__REMOVE, path,
                                        NULL, error);
}

static gboolean
is_file(const Found *found)
{
    return found->exists && S_ISREG(found->st.st_mode);
}

static int
open_file(const Found *found, GError **error)
{
    int fd = varve_dirstack_open_inside(found->file.dirfd, found->file.name, O_NONBLOCK);
    if (fd < 0)
        varve_error_set_errno(error, errno, "opening it");
    return fd;
}

/* *before is closed when nothing of it stays: then the file is made anew, which spares an overlay
 * copying up what is overwritten next. */
static gboolean
tell_patched(VarveStreamPacker *packer, const char *path, const Found *old, const Found *new,
             int *before, GError **error)
{
    gboolean other;
    if (!varve_stream_content_is_other(&packer->content, new->file.dirfd, new->st.st_size, *before,
                                       old->st.st_size, &other, error))
        return FALSE;
    if (!other)
        return tell(packer, VARVE__STREAM__ENTRY__KIND__PATCH, path, new, error);
    varve_fd_clear(before);
    return tell_removal(packer, path, old, error) &&
           tell(packer, VARVE__STREAM__ENTRY__KIND__FILE, path, new, error);
}

static gboolean
tell_content(VarveStreamPacker *packer, const char *path, const Found *old, const Found *new,
             GError **error)
{
    varve_autofd file = open_file(new, error);
    gboolean patch = is_file(old);
    varve_autofd before = patch && file >= 0 ? open_file(old, error) : -1;
    if (file < 0 || (patch && before < 0))
        return FALSE;
    const Found opened = {TRUE, {file, NULL}, new->st};
    packer->bytes += (guint64) new->st.st_size;
    return (patch ? tell_patched(packer, path, old, &opened, &before, error)
                  : tell(packer, VARVE__STREAM__ENTRY__KIND__FILE, path, &opened, error)) &&
           varve_stream_content_tell(&packer->content, file, new->st.st_size, before,
                                     old->st.st_size, error);
}

static gboolean
tell_file(VarveStreamPacker *packer, const VarveChange *change, const Found *old, const Found *new,
          GError **error)
{
    gboolean patch = is_file(old);
    gboolean same = patch && packer->pack->trust_content && change->kind == VARVE_CHANGE_MODIFIED &&
                    (change->what & VARVE_CHANGE_CONTENT) == 0;
    if (!same && new->st.st_size > 0)
        return tell_content(packer, change->path, old, new, error);
    return tell(packer,
                patch ? VARVE__STREAM__ENTRY__KIND__PATCH : VARVE__STREAM__ENTRY__KIND__FILE,
                change->path, new, error);
}

static VarveStreamEntryKind
special_kind(mode_t mode)
{
    static const VarveStreamEntryKind kinds[] = {
        [S_IFLNK >> 12] = VARVE__STREAM__ENTRY__KIND__SYMLINK,
        [S_IFCHR >> 12] = VARVE__STREAM__ENTRY__KIND__CHARACTER,
        [S_IFBLK >> 12] = VARVE__STREAM__ENTRY__KIND__BLOCK,
        [S_IFIFO >> 12] = VARVE__STREAM__ENTRY__KIND__FIFO,
        [S_IFSOCK >> 12] = VARVE__STREAM__ENTRY__KIND__SOCKET,
    };
    return kinds[(mode & S_IFMT) >> 12];
}

/* The path of a file under which it was told already; else it is remembered by this one. */
static const char *
find_link(VarveStreamPacker *packer, const char *path, const struct stat *st)
{
    if (st->st_nlink < 2 || S_ISDIR(st->st_mode))
        return NULL;
    const VarveInode inode = {st->st_dev, st->st_ino};
    const char *first = g_hash_table_lookup(packer->links, &inode);
    if (first == NULL)
        g_hash_table_insert(packer->links, g_memdup2(&inode, sizeof inode), g_strdup(path));
    return first;
}

/* What cannot be made of what was there replaces it. */
static gboolean
stays(const Found *old, const Found *new, const char *link)
{
    return link == NULL && (old->st.st_mode & S_IFMT) == (new->st.st_mode &S_IFMT) &&
           (S_ISDIR(new->st.st_mode) || S_ISREG(new->st.st_mode));
}

static gboolean
tell_path(VarveStreamPacker *packer, const VarveChange *change, Found *old, const Found *new,
          GError **error)
{
    const char *path = change->path;
    const char *link = new->exists ? find_link(packer, path, &new->st) : NULL;
    if (old->exists && (!new->exists || !stays(old, new, link))) {
        if (!tell_removal(packer, path, old, error))
            return FALSE;
        old->exists = FALSE;
    }
    if (!new->exists)
        return TRUE;
    if (link != NULL) {
        packer->entries++;
        return varve_stream_entry_tell_bare(packer->sink, VARVE__STREAM__ENTRY__KIND__LINK, path,
                                            link, error);
    }
    if (S_ISREG(new->st.st_mode))
        return tell_file(packer, change, old, new, error);
    return tell(packer,
                S_ISDIR(new->st.st_mode) ? VARVE__STREAM__ENTRY__KIND__DIRECTORY
                                         : special_kind(new->st.st_mode),
                path, new, error);
}

static gboolean
look_and_tell(VarveStreamPacker *packer, const VarveChange *change, GError **error)
{
    Found old = {.exists = FALSE}, new;
    if (!varve_check_cancelled(packer->pack->watch.cancelled, error) ||
        !look(packer->after, change->path, &new, error) ||
        (!is_gone(packer, change->path) && !look(packer->before, change->path, &old, error)))
        return FALSE;
    return tell_path(packer, change, &old, &new, error);
}

gboolean
varve_stream_packer_add(const VarveChange *change, gpointer data, GError **error)
{
    VarveStreamPacker *packer = data;
    const VarveTreeWatch *watch = &packer->pack->watch;
    if (g_strcmp0(packer->last, change->path) == 0)
        return TRUE;
    if (!look_and_tell(packer, change, error)) {
        g_autofree char *shown = varve_stream_path_show(change->path);
        g_prefix_error(error, "'%s': ", shown);
        return FALSE;
    }
    g_free(packer->last);
    packer->last = g_strdup(change->path);
    if (watch->progress != NULL && packer->entries % 64 == 0)
        watch->progress("sending", packer->entries, packer->bytes, watch->progress_data);
    return TRUE;
}

gboolean
varve_stream_packer_finish(VarveStreamPacker *packer, GError **error)
{
    return varve_record_write_end(packer->sink, error);
}

guint64
varve_stream_packer_entries(const VarveStreamPacker *packer)
{
    return packer->entries;
}
