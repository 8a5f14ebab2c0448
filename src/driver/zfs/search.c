/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/zfs/search.h"
#include "base/fd.h"
#include <dirent.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* --- one object ------------------------------------------------------------------------------- */

struct file_handle *
varve_zfs_search_handle(int dirfd, const char *name)
{
    union {
        struct file_handle handle;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } space = {.handle = {.handle_bytes = MAX_HANDLE_SZ}};
    int mount_id;
    if (name_to_handle_at(dirfd, name, &space.handle, &mount_id,
                          *name == '\0' ? AT_EMPTY_PATH : 0) < 0)
        return NULL;
    return g_memdup2(&space, sizeof space.handle + space.handle.handle_bytes);
}

int
varve_zfs_search_open(const VarveZfsSearch *search, struct file_handle *handle, int flags)
{
    return open_by_handle_at(search->pair->after_fd, handle, flags | O_NOFOLLOW | O_CLOEXEC);
}

int
varve_zfs_search_counterpart(const VarveZfsSearch *search, int dirfd, const char *name, int flags)
{
    g_autofree struct file_handle *handle = varve_zfs_search_handle(dirfd, name);
    return handle != NULL ? varve_zfs_search_open(search, handle, flags) : -1;
}

static gboolean
look(int dirfd, const char *name, struct statx *stx)
{
    return statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH,
                 STATX_TYPE | STATX_NLINK | STATX_CTIME, stx) == 0;
}

gboolean
varve_zfs_search_is_dir(int dirfd, const VarveListingEntry *found)
{
    struct statx stx;
    if (found->type != DT_UNKNOWN)
        return found->type == DT_DIR;
    return look(dirfd, found->name, &stx) && S_ISDIR(stx.stx_mode);
}

/* Whatever is done to a file or directory sets its change time, which nobody can set back. Only in
 * the moment in which the snapshot was taken could the same time be given twice. */
static gboolean
is_untouched(const VarveZfsSearch *search, const struct statx *before, const struct statx *after)
{
    const struct statx_timestamp *was = &before->stx_ctime, *is = &after->stx_ctime;
    return was->tv_sec == is->tv_sec && was->tv_nsec == is->tv_nsec &&
           is->tv_sec < search->pair->taken - 1;
}

static void
note_links(VarveZfsSearch *search, guint64 object, const struct statx *stx)
{
    if (stx->stx_nlink < 2 || S_ISDIR(stx->stx_mode))
        return;
    VarveZfsLinks *links = g_new0(VarveZfsLinks, 1);
    links->count = stx->stx_nlink;
    links->names = g_ptr_array_new();
    g_hash_table_replace(search->linked, g_memdup2(&object, sizeof object), links);
}

static gboolean
find_state(VarveZfsSearch *search, int dirfd, const char *name, guint64 object,
           VarveZfsObjectState *state, GError **error)
{
    struct statx before, after;
    varve_autofd fd = varve_zfs_search_counterpart(search, dirfd, name, O_PATH);
    if (fd < 0 && errno == ESTALE) {
        *state = VARVE_ZFS_OBJECT_GONE;
        return TRUE;
    }
    if (fd < 0 || !look(dirfd, name, &before) || !look(fd, "", &after))
        return varve_error_set_errno(error, errno, "looking for a file of %s in %s",
                                     search->pair->before, search->pair->after);
    *state =
        is_untouched(search, &before, &after) ? VARVE_ZFS_OBJECT_SAME : VARVE_ZFS_OBJECT_CHANGED;
    if (*state == VARVE_ZFS_OBJECT_CHANGED)
        note_links(search, object, &after);
    return TRUE;
}

gboolean
varve_zfs_search_state(VarveZfsSearch *search, int dirfd, const char *name, guint64 object,
                       VarveZfsObjectState *state, GError **error)
{
    guint8 *known = varve_zfs_objects_state(search->objects, object);
    *state = known != NULL ? *known : VARVE_ZFS_OBJECT_NEW;
    if (*state != VARVE_ZFS_OBJECT_NEW)
        return TRUE;
    if (!find_state(search, dirfd, name, object, state, error))
        return FALSE;
    if (known != NULL)
        *known = *state;
    return TRUE;
}

/* --- entries ---------------------------------------------------------------------------------- */

gboolean
varve_zfs_search_wants(VarveZfsSearch *search, int dirfd, const VarveListingEntry *found,
                       gboolean *wanted, GError **error)
{
    VarveZfsObjectState state;
    *wanted = FALSE;
    if (varve_zfs_objects_state(search->objects, found->inode) == NULL)
        return TRUE;
    if (!varve_zfs_search_state(search, dirfd, found->name, found->inode, &state, error))
        return FALSE;
    *wanted = state == VARVE_ZFS_OBJECT_CHANGED;
    return TRUE;
}

void
varve_zfs_search_touch(VarveZfsSearch *search, VarveEntry *entry, guint64 object, gboolean is_dir)
{
    if ((entry->flags & VARVE_ENTRY_TOUCHED) != 0)
        return;
    entry->flags |= VARVE_ENTRY_TOUCHED | (is_dir ? 0 : VARVE_ENTRY_FILE);
    VarveZfsLinks *links = g_hash_table_lookup(search->linked, &object);
    if (links != NULL)
        g_ptr_array_add(links->names, entry);
    if (is_dir)
        g_ptr_array_add(search->dirs, entry);
}

/* The root directory is in no other one. */
static gboolean
search_root(VarveZfsSearch *search, GError **error)
{
    struct stat st;
    VarveZfsObjectState state;
    int root = search->pair->before_fd;
    if (fstat(root, &st) < 0)
        return varve_error_set_errno(error, errno, "looking at %s", search->pair->before);
    if (!varve_zfs_search_state(search, root, "", st.st_ino, &state, error))
        return FALSE;
    if (state == VARVE_ZFS_OBJECT_GONE)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "%s and %s have different roots",
                               search->pair->before, search->pair->after);
    if (state == VARVE_ZFS_OBJECT_CHANGED)
        varve_zfs_search_touch(search, varve_entries_root(search->entries), st.st_ino, TRUE);
    return TRUE;
}

/* --- the search ------------------------------------------------------------------------------- */

/* To ask for one object takes about as long as to read so many entries of directories. */
#define ENTRIES_PER_QUESTION 16

static gboolean
is_quicker_to_ask(const VarveZfsSearch *search)
{
    struct statvfs st;
    return fstatvfs(search->pair->before_fd, &st) == 0 &&
           varve_zfs_objects_count(search->objects) <
               (st.f_files - st.f_ffree) / ENTRIES_PER_QUESTION;
}

static gboolean
may_ask(const VarveZfsSearch *search)
{
    const VarveZfsPair *pair = search->pair;
    return pair->before_longest > 0 && pair->before_longest <= VARVE_ZFS_SAFE_PATH &&
           (pair->always_ask || is_quicker_to_ask(search));
}

gboolean
varve_zfs_search(VarveZfsSearch *search, GError **error)
{
    gboolean hidden = TRUE;
    search->pair->way = VARVE_ZFS_DIFF_ASKED;
    return search_root(search, error) &&
           (!may_ask(search) || varve_zfs_search_by_kernel(search, &hidden, error)) &&
           (!hidden || varve_zfs_search_everywhere(search, error));
}

static void
links_free(gpointer data)
{
    VarveZfsLinks *links = data;
    g_ptr_array_unref(links->names);
    g_free(links);
}

void
varve_zfs_search_init(VarveZfsSearch *search, int control, VarveZfsPair *pair, GArray *ranges,
                      const gint *cancelled)
{
    *search = (VarveZfsSearch){
        .pair = pair,
        .control = control,
        .cancelled = cancelled,
        .objects = varve_zfs_objects_new(ranges),
        .entries = varve_entries_new(),
        .dirs = g_ptr_array_new(),
        .linked = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, links_free),
    };
}

void
varve_zfs_search_clear(VarveZfsSearch *search)
{
    varve_zfs_objects_free(search->objects);
    varve_entries_free(search->entries);
    g_ptr_array_unref(search->dirs);
    g_hash_table_unref(search->linked);
}
