/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cursor.h"
#include "base/inodes.h"
#include "base/walk.h"
#include "driver/changes.h"
#include <dirent.h>

/*
 * To give a file another name changes nothing of the file, so only the new name is told. Who copies
 * what is told would have two files then. The other names are known to nobody but the directories
 * that have them: all have to be looked at, but only if there are any.
 */

/* A file of several names, some of which are in the list. */
typedef struct {
    guint missing; /* names that are not */
    GHashTable *paths;
} Named;

static void
named_free(gpointer data)
{
    Named *named = data;
    g_hash_table_unref(named->paths);
    g_free(named);
}

typedef struct {
    VarveCursor *cursor;
    GHashTable *files; /* of VarveInode to Named */
} Names;

/* --- those in the list ----------------------------------------------------------------------- */

static void
take_name(GHashTable *files, const struct stat *st, const char *path)
{
    const VarveInode inode = {st->st_dev, st->st_ino};
    Named *named = g_hash_table_lookup(files, &inode);
    if (named == NULL) {
        named = g_new0(Named, 1);
        named->paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        named->missing = (guint)st->st_nlink;
        g_hash_table_insert(files, g_memdup2(&inode, sizeof inode), named);
    }
    if (g_hash_table_add(named->paths, g_strdup(path)) && named->missing > 0)
        named->missing--;
}

static gboolean
look_at_change(const VarveChange *change, gpointer data, GError **error)
{
    Names *names = data;
    VarveFile file;
    gboolean there;
    struct stat st;
    if (change->kind == VARVE_CHANGE_DELETED || S_ISDIR(change->mode))
        return TRUE;
    if (!varve_cursor_seek(names->cursor, change->path, &file, &there, error))
        return FALSE;
    if (there && file.name != NULL &&
        fstatat(file.dirfd, file.name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode) &&
        st.st_nlink > 1)
        take_name(names->files, &st, change->path);
    return TRUE;
}

static gboolean
is_complete(gpointer inode, gpointer named, gpointer data)
{
    return ((Named *)named)->missing == 0;
}

/* --- the others ------------------------------------------------------------------------------ */

static gboolean
look_at_entry(const Names *names, VarveWalk *walk, const char *name, VarveChangeList *list,
              GError **error)
{
    struct stat st;
    if (fstatat(varve_walk_fd(walk), name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return TRUE; /* it went meanwhile */
    const VarveInode inode = {st.st_dev, st.st_ino};
    const Named *named = st.st_nlink > 1 ? g_hash_table_lookup(names->files, &inode) : NULL;
    if (named == NULL)
        return TRUE;
    g_autofree char *below = varve_walk_path(walk, name);
    g_autofree char *path = g_strconcat("/", below, NULL);
    if (g_hash_table_contains(named->paths, path))
        return TRUE;
    const VarveChange change = {
        .kind = VARVE_CHANGE_MODIFIED, .path = path, .mode = st.st_mode & S_IFMT};
    return varve_change_list_add(&change, list, error);
}

/* What goes meanwhile, or has something mounted on it, is passed over. */
static gboolean
enter(VarveWalk *walk, const char *name, GError **error)
{
    int failed = varve_walk_enter(walk, name);
    return failed == 0 || failed == ENOENT || failed == ENOTDIR || failed == ELOOP ||
           failed == EXDEV || varve_error_set_errno(error, failed, "opening '%s'", name);
}

static gboolean
search(const Names *names, int after, VarveChangeList *list, const gint *cancelled, GError **error)
{
    const VarveTreeWatch watch = {.cancelled = cancelled};
    g_autoptr(VarveWalk) walk = varve_walk_new(after, ".", "searching", &watch, error);
    if (walk == NULL)
        return FALSE;
    VarveWalkEntry entry;
    while (varve_walk_next(walk, &entry, error)) {
        if (entry.name == NULL && varve_walk_depth(walk) == 0)
            return TRUE;
        if (!(entry.name == NULL     ? varve_walk_leave(walk, NULL, error)
              : entry.type == DT_DIR ? enter(walk, entry.name, error)
                                     : look_at_entry(names, walk, entry.name, list, error)))
            return FALSE;
    }
    return FALSE;
}

/* --- both ------------------------------------------------------------------------------------ */

gboolean
varve_changes_add_names(int after, VarveChangeList *list, const gint *cancelled, GError **error)
{
    g_autoptr(VarveCursor) cursor = varve_cursor_new(after, error);
    if (cursor == NULL)
        return FALSE;
    g_autoptr(GHashTable) files = varve_inodes_new(named_free);
    Names names = {cursor, files};
    VarveChangeSink sink = {look_at_change, &names, cancelled, FALSE};
    if (!varve_change_list_tell(list, &sink, error))
        return FALSE;
    g_hash_table_foreach_remove(files, is_complete, NULL);
    return g_hash_table_size(files) == 0 || search(&names, after, list, cancelled, error);
}
