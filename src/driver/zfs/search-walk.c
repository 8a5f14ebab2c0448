/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dirstack.h"
#include "driver/zfs/search.h"
#include <string.h>

typedef struct {
    VarveListing *listing;
    gsize next;
    VarveEntry *entry; /* NULL until something in it is needed */
    gsize path_length; /* of the path to it, 0 for the root */
} Level;

typedef struct {
    VarveZfsSearch *search;
    VarveDirstack *stack;
    GArray *levels;
    gsize longest; /* path */
} Walk;

static void
level_clear(gpointer data)
{
    varve_listing_free(((Level *)data)->listing);
}

static void
walk_clear(Walk *walk)
{
    varve_dirstack_free(walk->stack);
    g_array_unref(walk->levels);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Walk, walk_clear)

static Level *
level_at(const Walk *walk, guint i)
{
    return &g_array_index(walk->levels, Level, i);
}

static VarveEntry *
walk_entry(Walk *walk)
{
    guint known = walk->levels->len - 1;
    while (level_at(walk, known)->entry == NULL)
        known--;
    for (guint i = known + 1; i < walk->levels->len; i++) {
        const Level *above = level_at(walk, i - 1);
        const char *name = varve_listing_get(above->listing, above->next - 1).name;
        level_at(walk, i)->entry = varve_entries_old(walk->search->entries, above->entry, name);
    }
    return level_at(walk, walk->levels->len - 1)->entry;
}

static gboolean
walk_read(Walk *walk, VarveEntry *entry, gsize path_length, GError **error)
{
    Level level = {.listing = varve_listing_read(varve_dirstack_top(walk->stack)),
                   .entry = entry,
                   .path_length = path_length};
    if (level.listing == NULL)
        return varve_error_set_errno(error, errno, "reading a directory of %s",
                                     walk->search->pair->before);
    g_array_append_val(walk->levels, level);
    return TRUE;
}

static gboolean
walk_visit(Walk *walk, const VarveListingEntry *found, gboolean is_dir, GError **error)
{
    gboolean wanted;
    VarveZfsSearch *search = walk->search;
    if (!varve_zfs_search_wants(search, varve_dirstack_top(walk->stack), found, &wanted, error))
        return FALSE;
    if (wanted)
        varve_zfs_search_touch(search,
                               varve_entries_old(search->entries, walk_entry(walk), found->name),
                               found->inode, is_dir);
    return TRUE;
}

static gboolean
walk_enter(Walk *walk, const char *name, gsize path_length, GError **error)
{
    int failed = varve_dirstack_push(walk->stack, name);
    if (failed != 0)
        return varve_error_set_errno(error, failed, "opening a directory of %s",
                                     walk->search->pair->before);
    return walk_read(walk, NULL, path_length, error);
}

static gboolean
walk_run(Walk *walk, GError **error)
{
    while (walk->levels->len > 0) {
        Level *level = level_at(walk, walk->levels->len - 1);
        if (!varve_check_cancelled(walk->search->cancelled, error))
            return FALSE;
        if (level->next == varve_listing_length(level->listing)) {
            g_array_set_size(walk->levels, walk->levels->len - 1);
            if (walk->levels->len > 0 && !varve_dirstack_pop(walk->stack, error))
                return FALSE;
            continue;
        }
        VarveListingEntry found = varve_listing_get(level->listing, level->next++);
        gsize length = level->path_length + 1 + strlen(found.name);
        gboolean is_dir = varve_zfs_search_is_dir(varve_dirstack_top(walk->stack), &found);
        walk->longest = MAX(walk->longest, length);
        if (!walk_visit(walk, &found, is_dir, error) ||
            (is_dir && !walk_enter(walk, found.name, length, error)))
            return FALSE;
    }
    return TRUE;
}

gboolean
varve_zfs_search_everywhere(VarveZfsSearch *search, GError **error)
{
    int root = varve_fd_open_dir(search->pair->before_fd, ".", error);
    if (root < 0)
        return FALSE;
    g_auto(Walk) walk = {.search = search,
                         .stack = varve_dirstack_new(root),
                         .levels = g_array_new(FALSE, FALSE, sizeof(Level))};
    g_array_set_clear_func(walk.levels, level_clear);
    if (!walk_read(&walk, varve_entries_root(search->entries), 0, error) || !walk_run(&walk, error))
        return FALSE;
    search->all_names = TRUE;
    search->pair->before_longest = MAX(walk.longest, 1);
    search->pair->way = VARVE_ZFS_DIFF_READ;
    return TRUE;
}
