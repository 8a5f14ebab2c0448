/* SPDX-License-Identifier: Apache-2.0 */
#include "base/read-ahead.h"
#include "driver/entries.h"

/*
 *  1. match(): what came to a directory, where something else of the same name has gone, stands for
 *     that. So a file that an editor replaced is a modified one, and a directory that was removed
 *     and made again is compared with what it was.
 *  2. tell(): each entry, compared.
 */

typedef struct {
    VarveEntries *entries;
    VarveEntrySight before, after;
    VarveCompare how;
    VarveChangeList *list;
} Telling;

static gboolean
is_there(const VarveEntry *entry)
{
    return entry->name != NULL;
}

static gboolean
was_there(const VarveEntry *entry)
{
    return entry->old_name != NULL;
}

/* --- 1. what stands for something else -------------------------------------------------------- */

static void
match_one(Telling *telling, VarveEntry *entry)
{
    /* The directory of before that the one of now is compared with. */
    VarveEntry *dir = was_there(entry->parent) ? entry->parent : entry->parent->match;
    entry->flags |= VARVE_ENTRY_MATCHED;
    VarveEntry *gone =
        dir != NULL ? varve_entries_find_old(telling->entries, dir, entry->name) : NULL;
    if (gone == NULL || is_there(gone))
        return;
    entry->match = gone;
    gone->match = entry;
}

static gboolean
is_unmatched(const VarveEntry *entry)
{
    return is_there(entry) && !was_there(entry) && (entry->flags & VARVE_ENTRY_MATCHED) == 0;
}

/* After the directories that it is in. */
static void
match(Telling *telling, VarveEntry *entry)
{
    g_autoptr(GPtrArray) way = g_ptr_array_new();
    for (VarveEntry *at = entry; is_unmatched(at); at = at->parent)
        g_ptr_array_add(way, at);
    for (guint i = way->len; i > 0; i--)
        match_one(telling, way->pdata[i - 1]);
}

static gboolean
match_all(Telling *telling, GError **error)
{
    const GPtrArray *all = varve_entries_all(telling->entries);
    for (guint i = 0; i < all->len; i++) {
        if (!varve_check_cancelled(telling->how.cancelled, error))
            return FALSE;
        match(telling, all->pdata[i]);
    }
    return TRUE;
}

/* --- 2. telling ------------------------------------------------------------------------------- */

static gboolean
add_change(Telling *telling, VarveChangeKind kind, guint what, const VarveEntry *entry,
           const VarveFound *found, GError **error)
{
    gboolean gone = kind == VARVE_CHANGE_DELETED, moved = kind == VARVE_CHANGE_RENAMED;
    g_autofree char *path = gone ? varve_entry_old_path(entry) : varve_entry_path(entry);
    g_autofree char *from = moved ? varve_entry_old_path(entry) : NULL;
    const VarveChange change = {
        .kind = kind, .what = what, .path = path, .from = from, .mode = found->st.st_mode & S_IFMT};
    return varve_change_list_add(&change, telling->list, error);
}

static gboolean
compare(Telling *telling, const VarveFound *before, const VarveFound *after, guint *what,
        GError **error)
{
    return varve_changes_compare(before->file, &before->st, after->file, &after->st, &telling->how,
                                 what, error);
}

static gboolean
compare_kept(Telling *telling, const VarveEntry *entry, const VarveFound *before,
             const VarveFound *after, guint *what, GError **error)
{
    if ((entry->flags & VARVE_ENTRY_TOUCHED) != VARVE_ENTRY_ATTRIBUTES)
        return compare(telling, before, after, what, error);
    if (!varve_changes_compare_attributes(before->file, &before->st, after->file, &after->st,
                                          &telling->how, what, error))
        return FALSE;
    if (S_ISREG(after->st.st_mode) && before->st.st_size != after->st.st_size)
        *what |= VARVE_CHANGE_CONTENT;
    return TRUE;
}

/* An entry that both trees have. */
static gboolean
tell_kept(Telling *telling, const VarveEntry *entry, GError **error)
{
    VarveFound before, after;
    guint what;
    gboolean moved = entry->parent != entry->old_parent ||
                     (entry->parent != NULL && !g_str_equal(entry->name, entry->old_name));
    if (!moved && (entry->flags & VARVE_ENTRY_TOUCHED) == 0)
        return TRUE;
    if (!varve_entry_sight_look(&telling->before, entry, &before, error) ||
        !varve_entry_sight_look(&telling->after, entry, &after, error) ||
        !compare_kept(telling, entry, &before, &after, &what, error))
        return FALSE;
    if (moved)
        return add_change(telling, VARVE_CHANGE_RENAMED, what, entry, &after, error);
    return what == 0 || add_change(telling, VARVE_CHANGE_MODIFIED, what, entry, &after, error);
}

static gboolean
tell_replaced(Telling *telling, const VarveEntry *entry, GError **error)
{
    VarveFound before, after;
    guint what;
    if (!varve_entry_sight_look(&telling->before, entry->match, &before, error) ||
        !varve_entry_sight_look(&telling->after, entry, &after, error))
        return FALSE;
    if (!varve_changes_same_type(&before.st, &after.st))
        return add_change(telling, VARVE_CHANGE_REPLACED, 0, entry, &after, error);
    return compare(telling, &before, &after, &what, error) &&
           (what == 0 || add_change(telling, VARVE_CHANGE_MODIFIED, what, entry, &after, error));
}

static gboolean
tell_added(Telling *telling, const VarveEntry *entry, GError **error)
{
    VarveFound after;
    return varve_entry_sight_look(&telling->after, entry, &after, error) &&
           add_change(telling, VARVE_CHANGE_ADDED, 0, entry, &after, error);
}

/* Only what went from a directory that is still one; not what had to make room for something that
 * moved there. */
static gboolean
tell_deleted(Telling *telling, const VarveEntry *entry, GError **error)
{
    VarveFound before;
    const VarveEntry *dir = entry->old_parent;
    if (!is_there(dir))
        dir = dir->match;
    if (dir == NULL || (dir->flags & VARVE_ENTRY_FILE) != 0 ||
        varve_entries_find(telling->entries, dir, entry->old_name) != NULL)
        return TRUE;
    return varve_entry_sight_look(&telling->before, entry, &before, error) &&
           add_change(telling, VARVE_CHANGE_DELETED, 0, entry, &before, error);
}

static gboolean
tell(Telling *telling, VarveEntry *entry, GError **error)
{
    if (is_there(entry))
        return was_there(entry)       ? tell_kept(telling, entry, error)
               : entry->match != NULL ? tell_replaced(telling, entry, error)
                                      : tell_added(telling, entry, error);
    return !was_there(entry) || entry->match != NULL || tell_deleted(telling, entry, error);
}

/* --- ahead of it ------------------------------------------------------------------------------ */

/* Of a file, as much as comparing reads at once. */
static void
read_ahead(Telling *ahead, const VarveEntry *entry)
{
    VarveFound before, after;
    if (!is_there(entry) || !was_there(entry) ||
        (entry->flags & VARVE_ENTRY_TOUCHED) != VARVE_ENTRY_TOUCHED ||
        !varve_entry_sight_look(&ahead->before, entry, &before, NULL) ||
        !varve_entry_sight_look(&ahead->after, entry, &after, NULL))
        return;
    if (S_ISREG(before.st.st_mode) && S_ISREG(after.st.st_mode) &&
        before.st.st_size == after.st.st_size)
        varve_read_ahead(before.file, after.file, after.st.st_size, VARVE_COMPARE_PIECE);
}

static gboolean
tell_all(Telling *telling, Telling *ahead, GError **error)
{
    const GPtrArray *all = varve_entries_all(telling->entries);
    for (guint i = 0, next = 0; i < all->len; i++) {
        for (; next < all->len && next < i + VARVE_READ_AHEAD_FILES; next++)
            read_ahead(ahead, all->pdata[next]);
        if (!varve_check_cancelled(telling->how.cancelled, error) ||
            !tell(telling, all->pdata[i], error))
            return FALSE;
    }
    return TRUE;
}

static Telling
telling_new(VarveEntries *entries, int before, int after, const VarveCompare *how,
            VarveChangeList *list)
{
    return (Telling){.entries = entries,
                     .before = varve_entry_sight_new(before, TRUE),
                     .after = varve_entry_sight_new(after, FALSE),
                     .how = *how,
                     .list = list};
}

static void
telling_clear(Telling *telling)
{
    varve_entry_sight_clear(&telling->before);
    varve_entry_sight_clear(&telling->after);
}

gboolean
varve_entries_tell(VarveEntries *entries, int before, int after, const VarveCompare *how,
                   VarveChangeList *list, GError **error)
{
    Telling telling = telling_new(entries, before, after, how, list);
    Telling ahead = telling_new(entries, before, after, how, list); /* with sights of its own */
    gboolean ok = match_all(&telling, error) && tell_all(&telling, &ahead, error);
    telling_clear(&telling);
    telling_clear(&ahead);
    return ok;
}
