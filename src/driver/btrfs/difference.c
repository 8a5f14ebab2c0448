/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/difference.h"
#include "base/inodes.h"
#include "driver/btrfs/sight.h"
#include "driver/btrfs/subvolume-names.h"
#include "driver/btrfs/subvolume.h"
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>

/*
 * A stream tells which names it touched, and which came, went and moved. What is left to do:
 *
 *  1. complete(): names that changed although the stream does not speak of them. An inode that
 *     changed has one of its names in the stream, but counts under all; subvolumes in directories
 *     are passed over by send.
 *  2. join(): a file that gets another name gets a new link, and then loses the old one. That is
 *     one name that moved.
 *  3. match(): what came to a directory, where something else of the same name has gone, stands for
 *     that. So a file that an editor replaced is a modified one, and a directory that was removed
 *     and made again is compared with what it was.
 *  4. tell(): each name, compared.
 */

typedef struct {
    VarveNamespace *space;
    VarveSight *before, *after;
    guint64 parted;        /* the last transaction that both subvolumes have */
    GHashTable *completed; /* inodes with several names that were looked at */
    GHashTable *gone;      /* names that have gone, a queue for each inode */
    VarveCompare how;
    VarveChangeList *list;
} Difference;

/* The names that there are when it is called; more may be added meanwhile, which it leaves out. */
static gboolean
for_each_name(Difference *difference,
              gboolean (*func)(Difference *difference, VarveName *name, GError **error),
              GError **error)
{
    const GPtrArray *names = varve_namespace_names(difference->space);
    for (guint i = 0, n = names->len; i < n; i++) {
        if (!varve_check_cancelled(difference->how.cancelled, error) ||
            !func(difference, names->pdata[i], error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
disagree(const VarveName *name, gboolean old, GError **error)
{
    g_autofree char *path = old ? varve_name_old_path(name) : varve_name_path(name);
    g_autofree char *shown = g_strescape(path, NULL);
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the send stream speaks of '%.200s', which the subvolume does not have",
                           shown);
}

/* Looks at what must be there. */
static gboolean
see(VarveSight *sight, const VarveName *name, VarveSeen *seen, GError **error)
{
    return varve_sight_look(sight, name, seen, error) &&
           (seen->exists || disagree(name, sight->old, error));
}

/* --- 1. what the stream does not speak of ----------------------------------------------------- */

static gboolean
touch_path(const char *path, gpointer data, GError **error)
{
    VarveName *name = varve_namespace_resolve(((Difference *)data)->space, path, error);
    if (name == NULL)
        return FALSE;
    name->flags |= VARVE_NAME_TOUCHED | VARVE_NAME_CONTENT;
    return TRUE;
}

static gboolean
is_subvolume(const VarveSeen *seen)
{
    return seen->exists && S_ISDIR(seen->st.st_mode) &&
           (seen->st.st_ino == BTRFS_FIRST_FREE_OBJECTID ||
            seen->st.st_ino == BTRFS_EMPTY_SUBVOL_DIR_OBJECTID);
}

typedef struct {
    Difference *difference;
    VarveName *dir;
} Within;

/* A subvolume that the directory has now. */
static gboolean
add_subvolume(const char *entry, gpointer data, GError **error)
{
    const Within *within = data;
    Difference *difference = within->difference;
    VarveName *dir = within->dir;
    VarveSeen seen = {.exists = FALSE};
    if (varve_namespace_find(difference->space, dir, entry) != NULL)
        return TRUE;
    if (varve_name_was_there(dir) &&
        !varve_sight_look_in(difference->before, dir, entry, &seen, error))
        return FALSE;
    if (!is_subvolume(&seen) || varve_namespace_find_old(difference->space, dir, entry) != NULL)
        varve_namespace_add(difference->space, dir, entry);
    return TRUE;
}

/* A subvolume that the directory had. */
static gboolean
add_old_subvolume(const char *entry, gpointer data, GError **error)
{
    const Within *within = data;
    Difference *difference = within->difference;
    VarveSeen seen = {.exists = FALSE};
    if (varve_namespace_find_old(difference->space, within->dir, entry) != NULL)
        return TRUE;
    if (varve_name_is_there(within->dir) &&
        !varve_sight_look_in(difference->after, within->dir, entry, &seen, error))
        return FALSE;
    if (!seen.exists || varve_namespace_find(difference->space, within->dir, entry) != NULL)
        varve_namespace_add_old(difference->space, within->dir, entry);
    return TRUE;
}

static gboolean
find_old_subvolumes(Difference *difference, VarveName *dir, guint64 inode, GError **error)
{
    Within within = {difference, dir};
    return varve_subvolume_nested_names(difference->before->root, inode, 0, add_old_subvolume,
                                        &within, error);
}

/* The entries that came are found among those in young blocks. Those that went could be anywhere;
 * but a directory's size is twice the length of the names in it (btrfs_add_link in Linux), so that
 * it tells when there are any. */
static gboolean
find_subvolumes(Difference *difference, VarveName *dir, const struct stat *st, GError **error)
{
    Within within = {difference, dir};
    if (!varve_subvolume_nested_names(difference->after->root, st->st_ino, difference->parted,
                                      add_subvolume, &within, error))
        return FALSE;
    if (!varve_name_was_there(dir))
        return TRUE;
    VarveSeen before;
    if (!see(difference->before, dir, &before, error))
        return FALSE;
    gint64 came = ((gint64)dir->length - (gint64)dir->old_length) * 2;
    return st->st_size == before.st.st_size + came ||
           find_old_subvolumes(difference, dir, before.st.st_ino, error);
}

static gboolean
complete(Difference *difference, VarveName *name, GError **error)
{
    VarveSeen seen;
    if (!varve_name_is_there(name) || (name->flags & VARVE_NAME_TOUCHED) == 0)
        return TRUE;
    if (!see(difference->after, name, &seen, error))
        return FALSE;
    if (S_ISDIR(seen.st.st_mode))
        return find_subvolumes(difference, name, &seen.st, error);
    VarveInode inode = {seen.st.st_dev, seen.st.st_ino};
    return seen.st.st_nlink == 1 ||
           !g_hash_table_add(difference->completed, g_memdup2(&inode, sizeof inode)) ||
           varve_subvolume_inode_paths(difference->after->root, seen.st.st_ino, touch_path,
                                       difference, error);
}

/* --- 2. files that moved by a new link -------------------------------------------------------- */

static gboolean
is_new_link(const VarveName *name)
{
    const guint made_or_linked = VARVE_NAME_MADE | VARVE_NAME_LINKED;
    return varve_name_is_there(name) && !varve_name_was_there(name) &&
           (name->flags & made_or_linked) == VARVE_NAME_LINKED;
}

static gboolean
has_new_links(Difference *difference)
{
    const GPtrArray *names = varve_namespace_names(difference->space);
    for (guint i = 0; i < names->len; i++) {
        if (is_new_link(names->pdata[i]))
            return TRUE;
    }
    return FALSE;
}

/* Keeps a name that has gone by its inode. */
static gboolean
keep_gone(Difference *difference, VarveName *name, GError **error)
{
    VarveSeen seen;
    if (varve_name_is_there(name) || !varve_name_was_there(name))
        return TRUE;
    if (!see(difference->before, name, &seen, error))
        return FALSE;
    VarveInode inode = {0, seen.st.st_ino};
    GQueue *names = g_hash_table_lookup(difference->gone, &inode);
    if (names == NULL) {
        names = g_queue_new();
        g_hash_table_insert(difference->gone, g_memdup2(&inode, sizeof inode), names);
    }
    g_queue_push_tail(names, name);
    return TRUE;
}

/* The number of an inode may have been given to another one. */
static gboolean
same_birth(const VarveSeen *a, const VarveSeen *b)
{
    struct statx x, y;
    const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    return statx(a->file.dirfd, a->file.name, flags, STATX_BTIME, &x) == 0 &&
           statx(b->file.dirfd, b->file.name, flags, STATX_BTIME, &y) == 0 &&
           x.stx_btime.tv_sec == y.stx_btime.tv_sec && x.stx_btime.tv_nsec == y.stx_btime.tv_nsec;
}

static gboolean
join_link(Difference *difference, VarveName *name, GError **error)
{
    VarveSeen before, after;
    if (!is_new_link(name))
        return TRUE;
    if (!see(difference->after, name, &after, error))
        return FALSE;
    VarveInode inode = {0, after.st.st_ino};
    GQueue *gone = g_hash_table_lookup(difference->gone, &inode);
    VarveName *from = gone != NULL ? g_queue_peek_head(gone) : NULL;
    if (from == NULL)
        return TRUE;
    if (!see(difference->before, from, &before, error))
        return FALSE;
    if (varve_changes_same_type(&before.st, &after.st) && same_birth(&before, &after))
        varve_namespace_join(difference->space, g_queue_pop_head(gone), name);
    return TRUE;
}

static gboolean
join_links(Difference *difference, GError **error)
{
    return !has_new_links(difference) || (for_each_name(difference, keep_gone, error) &&
                                          for_each_name(difference, join_link, error));
}

/* --- 3. what stands for something else -------------------------------------------------------- */

/* The directory of the old subvolume that one of the new is compared with; NULL: there is none. */
static VarveName *
old_dir(VarveName *dir)
{
    return varve_name_was_there(dir) ? dir : dir->match;
}

/* What has gone from where the name is now, or NULL. */
static gboolean
find_replaced(Difference *difference, VarveName *name, VarveName **replaced, GError **error)
{
    VarveName *dir = old_dir(name->parent);
    VarveSeen seen;
    *replaced = NULL;
    if (dir == NULL)
        return TRUE;
    VarveName *old = varve_namespace_find_old(difference->space, dir, name->name);
    if (old == NULL) {
        if (!varve_sight_look_in(difference->before, dir, name->name, &seen, error))
            return FALSE;
        if (seen.exists) /* a subvolume */
            old = varve_namespace_add_old(difference->space, dir, name->name);
    }
    if (old != NULL && !varve_name_is_there(old))
        *replaced = old;
    return TRUE;
}

/* Of a directory that was removed and made again, the stream has told all but its subvolumes. */
static gboolean
complete_replaced(Difference *difference, VarveName *name, GError **error)
{
    VarveSeen before;
    if (!see(difference->before, name->match, &before, error))
        return FALSE;
    return !S_ISDIR(before.st.st_mode) || is_subvolume(&before) ||
           find_old_subvolumes(difference, name->match, before.st.st_ino, error);
}

static gboolean
match_one(Difference *difference, VarveName *name, GError **error)
{
    VarveName *replaced;
    name->flags |= VARVE_NAME_MATCHED;
    if (!find_replaced(difference, name, &replaced, error))
        return FALSE;
    if (replaced == NULL)
        return TRUE;
    name->match = replaced;
    replaced->match = name;
    return (name->flags & VARVE_NAME_FILE) != 0 || complete_replaced(difference, name, error);
}

static gboolean
is_unmatched(const VarveName *name)
{
    return varve_name_is_there(name) && !varve_name_was_there(name) &&
           (name->flags & VARVE_NAME_MATCHED) == 0;
}

/* After the directories that it is in. */
static gboolean
match(Difference *difference, VarveName *name, GError **error)
{
    g_autoptr(GPtrArray) way = g_ptr_array_new();
    for (VarveName *at = name; is_unmatched(at); at = at->parent)
        g_ptr_array_add(way, at);
    for (guint i = way->len; i > 0; i--) {
        if (!match_one(difference, way->pdata[i - 1], error))
            return FALSE;
    }
    return TRUE;
}

/* --- 4. telling ------------------------------------------------------------------------------- */

static gboolean
add_change(Difference *difference, VarveChangeKind kind, guint what, const VarveName *name,
           const VarveSeen *seen, GError **error)
{
    gboolean gone = kind == VARVE_CHANGE_DELETED, moved = kind == VARVE_CHANGE_RENAMED;
    g_autofree char *path = gone ? varve_name_old_path(name) : varve_name_path(name);
    g_autofree char *from = moved ? varve_name_old_path(name) : NULL;
    const VarveChange change = {
        .kind = kind, .what = what, .path = path, .from = from, .mode = seen->st.st_mode & S_IFMT};
    return varve_change_list_add(&change, difference->list, error);
}

/* What of an inode changed: its content only if the stream said so, or its size differs. */
static gboolean
compare_inode(Difference *difference, const VarveName *name, const VarveSeen *before,
              const VarveSeen *after, guint *what, GError **error)
{
    if ((name->flags & VARVE_NAME_CONTENT) != 0)
        return varve_changes_compare(before->file, &before->st, after->file, &after->st,
                                     &difference->how, what, error);
    if (!varve_changes_compare_attributes(before->file, &before->st, after->file, &after->st,
                                          &difference->how, what, error))
        return FALSE;
    if (S_ISREG(after->st.st_mode) && before->st.st_size != after->st.st_size)
        *what |= VARVE_CHANGE_CONTENT;
    return TRUE;
}

static gboolean
is_moved(const VarveName *name)
{
    return name->parent != name->old_parent || g_strcmp0(name->name, name->old_name) != 0;
}

/* A name that both subvolumes have. */
static gboolean
tell_kept(Difference *difference, const VarveName *name, GError **error)
{
    VarveSeen before, after;
    guint what = 0;
    gboolean moved = is_moved(name);
    if (!moved && (name->flags & VARVE_NAME_TOUCHED) == 0)
        return TRUE;
    if (!see(difference->before, name, &before, error) ||
        !see(difference->after, name, &after, error) ||
        !compare_inode(difference, name, &before, &after, &what, error))
        return FALSE;
    if (moved)
        return add_change(difference, VARVE_CHANGE_RENAMED, what, name, &after, error);
    return what == 0 || add_change(difference, VARVE_CHANGE_MODIFIED, what, name, &after, error);
}

static gboolean
tell_replaced(Difference *difference, const VarveName *name, GError **error)
{
    VarveSeen before, after;
    guint what;
    if (!see(difference->before, name->match, &before, error) ||
        !see(difference->after, name, &after, error))
        return FALSE;
    if (!varve_changes_same_type(&before.st, &after.st))
        return add_change(difference, VARVE_CHANGE_REPLACED, 0, name, &after, error);
    if (!varve_changes_compare(before.file, &before.st, after.file, &after.st, &difference->how,
                               &what, error))
        return FALSE;
    return what == 0 || add_change(difference, VARVE_CHANGE_MODIFIED, what, name, &after, error);
}

static gboolean
tell_added(Difference *difference, const VarveName *name, GError **error)
{
    VarveSeen after;
    return see(difference->after, name, &after, error) &&
           add_change(difference, VARVE_CHANGE_ADDED, 0, name, &after, error);
}

/* Only what went from a directory that is still one; not what had to make room for something that
 * moved there. */
static gboolean
tell_deleted(Difference *difference, const VarveName *name, GError **error)
{
    VarveSeen before;
    const VarveName *dir = name->old_parent;
    if (!varve_name_is_there(dir))
        dir = dir->match;
    if (dir == NULL || (dir->flags & VARVE_NAME_FILE) != 0 ||
        varve_namespace_find(difference->space, dir, name->old_name) != NULL)
        return TRUE;
    return see(difference->before, name, &before, error) &&
           add_change(difference, VARVE_CHANGE_DELETED, 0, name, &before, error);
}

static gboolean
tell(Difference *difference, VarveName *name, GError **error)
{
    gboolean was_there = varve_name_was_there(name);
    if (varve_name_is_there(name))
        return was_there             ? tell_kept(difference, name, error)
               : name->match != NULL ? tell_replaced(difference, name, error)
                                     : tell_added(difference, name, error);
    return !was_there || name->match != NULL || tell_deleted(difference, name, error);
}

gboolean
varve_btrfs_difference(VarveNamespace *space, int before, int after, const gint *cancelled,
                       VarveChangeList *list, GError **error)
{
    g_auto(VarveSight) old = varve_sight_new(before, TRUE);
    g_auto(VarveSight) now = varve_sight_new(after, FALSE);
    g_autoptr(GHashTable) completed = varve_inodes_new(NULL);
    g_autoptr(GHashTable) gone = varve_inodes_new((GDestroyNotify)g_queue_free);
    Difference difference = {.space = space,
                             .before = &old,
                             .after = &now,
                             .completed = completed,
                             .gone = gone,
                             .how = {.flags = VARVE_COMPARE_CONTENT, .cancelled = cancelled},
                             .list = list};
    struct timespec when;
    return varve_subvolume_last_change(before, &difference.parted, &when, error) &&
           for_each_name(&difference, complete, error) && join_links(&difference, error) &&
           for_each_name(&difference, match, error) && for_each_name(&difference, tell, error);
}
