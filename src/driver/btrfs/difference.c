/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/difference.h"
#include "base/inodes.h"
#include "driver/btrfs/namespace.h"
#include "driver/btrfs/subvolume-names.h"
#include "driver/btrfs/subvolume.h"
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>

/*
 * A stream tells which names it touched, and which came, went and moved. What is left to do before
 * they can be compared (entries.h):
 *
 *  1. complete(): names that changed although the stream does not speak of them. An inode that
 *     changed has one of its names in the stream, but counts under all; subvolumes in directories
 *     are passed over by send.
 *  2. join(): a file that gets another name gets a new link, and then loses the old one. That is
 *     one name that moved.
 *  3. find_replaced(), complete_gone(): subvolumes that something stands for now.
 */

typedef struct {
    VarveEntries *names;
    VarveEntrySight before, after;
    guint64 parted;        /* the last transaction that both subvolumes have */
    GHashTable *completed; /* inodes with several names that were looked at */
    GHashTable *gone;      /* names that have gone, a queue for each inode */
    VarveCompare how;
} Difference;

/* The names that there are when it is called; more may be added meanwhile, which it leaves out. */
static gboolean
for_each_name(Difference *difference,
              gboolean (*func)(Difference *difference, VarveEntry *name, GError **error),
              GError **error)
{
    const GPtrArray *names = varve_entries_all(difference->names);
    for (guint i = 0, n = names->len; i < n; i++) {
        if (!varve_check_cancelled(difference->how.cancelled, error) ||
            !func(difference, names->pdata[i], error))
            return FALSE;
    }
    return TRUE;
}

/* --- 1. what the stream does not speak of ----------------------------------------------------- */

static gboolean
touch_path(const char *path, gpointer data, GError **error)
{
    VarveEntry *name = varve_namespace_resolve(((Difference *)data)->names, path, error);
    if (name == NULL)
        return FALSE;
    name->flags |= VARVE_ENTRY_TOUCHED;
    return TRUE;
}

static gboolean
is_subvolume(const VarveFound *seen)
{
    return seen->exists && S_ISDIR(seen->st.st_mode) &&
           (seen->st.st_ino == BTRFS_FIRST_FREE_OBJECTID ||
            seen->st.st_ino == BTRFS_EMPTY_SUBVOL_DIR_OBJECTID);
}

typedef struct {
    Difference *difference;
    VarveEntry *dir;
} Within;

/* A subvolume that the directory has now. */
static gboolean
add_subvolume(const char *entry, gpointer data, GError **error)
{
    const Within *within = data;
    Difference *difference = within->difference;
    VarveEntry *dir = within->dir;
    VarveFound seen = {.exists = FALSE};
    if (varve_entries_find(difference->names, dir, entry) != NULL)
        return TRUE;
    if (dir->old_name != NULL &&
        !varve_entry_sight_look_in(&difference->before, dir, entry, &seen, error))
        return FALSE;
    if (!is_subvolume(&seen) || varve_entries_find_old(difference->names, dir, entry) != NULL)
        varve_entries_add(difference->names, dir, entry);
    return TRUE;
}

/* A subvolume that the directory had. */
static gboolean
add_old_subvolume(const char *entry, gpointer data, GError **error)
{
    const Within *within = data;
    Difference *difference = within->difference;
    VarveFound seen = {.exists = FALSE};
    if (varve_entries_find_old(difference->names, within->dir, entry) != NULL)
        return TRUE;
    if (within->dir->name != NULL &&
        !varve_entry_sight_look_in(&difference->after, within->dir, entry, &seen, error))
        return FALSE;
    if (!seen.exists || varve_entries_find(difference->names, within->dir, entry) != NULL)
        varve_entries_gone(difference->names, within->dir, entry);
    return TRUE;
}

static gboolean
find_old_subvolumes(Difference *difference, VarveEntry *dir, guint64 inode, GError **error)
{
    Within within = {difference, dir};
    return varve_subvolume_nested_names(difference->before.root, inode, 0, add_old_subvolume,
                                        &within, error);
}

/* The entries that came are found among those in young blocks. Those that went could be anywhere;
 * but a directory's size is twice the length of the names in it (btrfs_add_link in Linux), so that
 * it tells when there are any. */
static gboolean
find_subvolumes(Difference *difference, VarveEntry *dir, const struct stat *st, GError **error)
{
    Within within = {difference, dir};
    if (!varve_subvolume_nested_names(difference->after.root, st->st_ino, difference->parted,
                                      add_subvolume, &within, error))
        return FALSE;
    if (dir->old_name == NULL)
        return TRUE;
    VarveFound before;
    if (!varve_entry_sight_look(&difference->before, dir, &before, error))
        return FALSE;
    return st->st_size == before.st.st_size + dir->grown * 2 ||
           find_old_subvolumes(difference, dir, before.st.st_ino, error);
}

static gboolean
complete(Difference *difference, VarveEntry *name, GError **error)
{
    VarveFound seen;
    if (name->name == NULL || (name->flags & VARVE_ENTRY_TOUCHED) == 0)
        return TRUE;
    if (!varve_entry_sight_look(&difference->after, name, &seen, error))
        return FALSE;
    if (S_ISDIR(seen.st.st_mode))
        return find_subvolumes(difference, name, &seen.st, error);
    VarveInode inode = {seen.st.st_dev, seen.st.st_ino};
    return seen.st.st_nlink == 1 ||
           !g_hash_table_add(difference->completed, g_memdup2(&inode, sizeof inode)) ||
           varve_subvolume_inode_paths(difference->after.root, seen.st.st_ino, touch_path,
                                       difference, error);
}

/* --- 2. files that moved by a new link -------------------------------------------------------- */

static gboolean
is_new_link(const VarveEntry *name)
{
    const guint made_or_linked = VARVE_NAME_MADE | VARVE_NAME_LINKED;
    return name->name != NULL && name->old_name == NULL &&
           (name->flags & made_or_linked) == VARVE_NAME_LINKED;
}

static gboolean
has_new_links(Difference *difference)
{
    const GPtrArray *names = varve_entries_all(difference->names);
    for (guint i = 0; i < names->len; i++) {
        if (is_new_link(names->pdata[i]))
            return TRUE;
    }
    return FALSE;
}

/* Keeps a name that has gone by its inode. */
static gboolean
keep_gone(Difference *difference, VarveEntry *name, GError **error)
{
    VarveFound seen;
    if (name->name != NULL || name->old_name == NULL)
        return TRUE;
    if (!varve_entry_sight_look(&difference->before, name, &seen, error))
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
same_birth(const VarveFound *a, const VarveFound *b)
{
    struct statx x, y;
    const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    return statx(a->file.dirfd, a->file.name, flags, STATX_BTIME, &x) == 0 &&
           statx(b->file.dirfd, b->file.name, flags, STATX_BTIME, &y) == 0 &&
           x.stx_btime.tv_sec == y.stx_btime.tv_sec && x.stx_btime.tv_nsec == y.stx_btime.tv_nsec;
}

/* The name that has gone, from, is the one that came. */
static void
join(VarveEntries *names, VarveEntry *from, VarveEntry *to)
{
    VarveEntry *dir = to->parent;
    const char *name = to->name;
    varve_entries_leave(names, to);
    varve_entries_place(names, from, dir, name);
    from->flags |= to->flags;
}

static gboolean
join_link(Difference *difference, VarveEntry *name, GError **error)
{
    VarveFound before, after;
    if (!is_new_link(name))
        return TRUE;
    if (!varve_entry_sight_look(&difference->after, name, &after, error))
        return FALSE;
    VarveInode inode = {0, after.st.st_ino};
    GQueue *gone = g_hash_table_lookup(difference->gone, &inode);
    VarveEntry *from = gone != NULL ? g_queue_peek_head(gone) : NULL;
    if (from == NULL)
        return TRUE;
    if (!varve_entry_sight_look(&difference->before, from, &before, error))
        return FALSE;
    if (varve_changes_same_type(&before.st, &after.st) && same_birth(&before, &after))
        join(difference->names, g_queue_pop_head(gone), name);
    return TRUE;
}

static gboolean
join_links(Difference *difference, GError **error)
{
    return !has_new_links(difference) || (for_each_name(difference, keep_gone, error) &&
                                          for_each_name(difference, join_link, error));
}

/* --- 3. subvolumes that are gone with their place --------------------------------------------- */

/* Something else may have come to where a subvolume was. */
static gboolean
find_replaced(Difference *difference, VarveEntry *name, GError **error)
{
    VarveEntry *dir = name->parent;
    VarveFound found;
    if (name->name == NULL || name->old_name != NULL || dir->old_name == NULL ||
        varve_entries_find_old(difference->names, dir, name->name) != NULL)
        return TRUE;
    if (!varve_entry_sight_look_in(&difference->before, dir, name->name, &found, error))
        return FALSE;
    if (found.exists)
        varve_entries_gone(difference->names, dir, name->name);
    return TRUE;
}

/* Of a directory that was removed, and may have been made again, the stream has told all but its
 * subvolumes. */
static gboolean
complete_gone(Difference *difference, VarveEntry *name, GError **error)
{
    VarveFound found;
    if (name->name != NULL || name->old_name == NULL || (name->flags & VARVE_ENTRY_FILE) != 0)
        return TRUE;
    if (!varve_entry_sight_look(&difference->before, name, &found, error))
        return FALSE;
    return !S_ISDIR(found.st.st_mode) || is_subvolume(&found) ||
           find_old_subvolumes(difference, name, found.st.st_ino, error);
}

/* --- the difference --------------------------------------------------------------------------- */

static gboolean
find_difference(Difference *difference, int before, int after, VarveChangeList *list,
                GError **error)
{
    struct timespec when;
    return varve_subvolume_last_change(before, &difference->parted, &when, error) &&
           for_each_name(difference, complete, error) && join_links(difference, error) &&
           for_each_name(difference, find_replaced, error) &&
           for_each_name(difference, complete_gone, error) &&
           varve_entries_tell(difference->names, before, after, &difference->how, list, error);
}

gboolean
varve_btrfs_difference(VarveEntries *names, int before, int after, const gint *cancelled,
                       VarveChangeList *list, GError **error)
{
    g_autoptr(GHashTable) completed = varve_inodes_new(NULL);
    g_autoptr(GHashTable) gone = varve_inodes_new((GDestroyNotify)g_queue_free);
    Difference difference = {.names = names,
                             .before = varve_entry_sight_new(before, TRUE),
                             .after = varve_entry_sight_new(after, FALSE),
                             .completed = completed,
                             .gone = gone,
                             .how = {.flags = VARVE_COMPARE_CONTENT, .cancelled = cancelled}};
    gboolean ok = find_difference(&difference, before, after, list, error);
    varve_entry_sight_clear(&difference.before);
    varve_entry_sight_clear(&difference.after);
    return ok;
}
