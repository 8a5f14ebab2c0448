/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/zfs/diff.h"
#include "base/fd.h"
#include "base/listing.h"
#include "driver/zfs/search.h"
#include <dirent.h>
#include <string.h>
#include <unistd.h>
#include <varve/log.h>

/*
 * The kernel knows which objects (files and directories) changed from one snapshot to another,
 * since the two share all blocks that did not, but not what they are called.
 *
 *  1. Those that both snapshots have are looked for in the snapshot before (search.h).
 *  2. A name that came or went changed the directory that it is in. So the directories that changed
 *     are read in both snapshots. What is in one that is new, or gone, all came, or went, too.
 *  3. What went here and came there is the same if it is one object: it was moved.
 *  4. What is left is compared (entries.h).
 */

typedef struct {
    VarveEntry *dir;
    char *name;
    guint64 object;
    gboolean is_dir;
} Arrival;

/* A new directory. Its path is known only when all that moved has its place. */
typedef struct {
    VarveEntry *entry;
    struct file_handle *handle;
} NewDir;

typedef struct {
    VarveZfsSearch search;
    VarveEntrySight before, after;
    GPtrArray *gone_dirs; /* of VarveEntry */
    GArray *new_dirs;
    GArray *arrivals;     /* what came, and is no new object */
    GHashTable *departed; /* guint64* to GQueue of VarveEntry: what went, and is somewhere else */
} Diff;

/* --- what came and went ----------------------------------------------------------------------- */

static int
compare_old_paths(gconstpointer a, gconstpointer b, gpointer data)
{
    g_autofree char *x = varve_entry_old_path(a), *y = varve_entry_old_path(b);
    return strcmp(x, y);
}

/* Of a file with several names some may go: in order, so that the answer is always the same. */
static void
keep_departed(Diff *diff, guint64 object, VarveEntry *entry)
{
    GQueue *entries = g_hash_table_lookup(diff->departed, &object);
    if (entries == NULL) {
        entries = g_queue_new();
        g_hash_table_insert(diff->departed, g_memdup2(&object, sizeof object), entries);
    }
    g_queue_insert_sorted(entries, entry, compare_old_paths, NULL);
}

static gboolean
went(Diff *diff, VarveEntry *dir, int dirfd, const VarveListingEntry *found, GError **error)
{
    VarveZfsObjectState state;
    VarveEntry *entry = varve_entries_old(diff->search.entries, dir, found->name);
    gboolean is_dir = varve_zfs_search_is_dir(dirfd, found);
    varve_entries_leave(diff->search.entries, entry);
    if (!is_dir)
        entry->flags |= VARVE_ENTRY_FILE;
    if (!varve_zfs_search_state(&diff->search, dirfd, found->name, found->inode, &state, error))
        return FALSE;
    if (state != VARVE_ZFS_OBJECT_GONE)
        keep_departed(diff, found->inode, entry);
    else if (is_dir)
        g_ptr_array_add(diff->gone_dirs, entry);
    return TRUE;
}

static gboolean
is_new(Diff *diff, guint64 object)
{
    const guint8 *state = varve_zfs_objects_state(diff->search.objects, object);
    return state != NULL && (*state == VARVE_ZFS_OBJECT_NEW || *state == VARVE_ZFS_OBJECT_GONE);
}

static gboolean
came(Diff *diff, VarveEntry *dir, int dirfd, const VarveListingEntry *found, GError **error)
{
    gboolean is_dir = varve_zfs_search_is_dir(dirfd, found);
    if (!is_new(diff, found->inode)) {
        Arrival arrival = {dir, g_strdup(found->name), found->inode, is_dir};
        g_array_append_val(diff->arrivals, arrival);
        return TRUE;
    }
    VarveEntry *entry = varve_entries_add(diff->search.entries, dir, found->name);
    if (!is_dir) {
        entry->flags |= VARVE_ENTRY_FILE;
        return TRUE;
    }
    NewDir new = {entry, varve_zfs_search_handle(dirfd, found->name)};
    g_array_append_val(diff->new_dirs, new);
    return new.handle != NULL || varve_error_set_errno(error, errno, "looking at a directory of %s",
                                                       diff->search.pair->after);
}

/* --- directories ------------------------------------------------------------------------------ */

static VarveListing *
read_dir(const Diff *diff, int fd, GError **error)
{
    VarveListing *listing = fd >= 0 ? varve_listing_read(fd) : NULL;
    if (listing == NULL)
        varve_error_set_errno(error, errno, "reading a directory of %s and %s",
                              diff->search.pair->before, diff->search.pair->after);
    return listing;
}

static int
open_again(int fd)
{
    return openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static gboolean
is_same(Diff *diff, const VarveListingEntry *a, const VarveListingEntry *b)
{
    return a->inode == b->inode && !is_new(diff, a->inode);
}

static gboolean
compare_names(Diff *diff, VarveEntry *dir, int before_fd, int after_fd, GError **error)
{
    g_autoptr(VarveListing) before = read_dir(diff, before_fd, error);
    g_autoptr(VarveListing) after = before != NULL ? read_dir(diff, after_fd, error) : NULL;
    if (after == NULL)
        return FALSE;
    const gsize n = varve_listing_length(before), m = varve_listing_length(after);
    for (gsize i = 0, j = 0; i < n || j < m;) {
        VarveListingEntry was = {NULL}, is = {NULL};
        if (i < n)
            was = varve_listing_get(before, i);
        if (j < m)
            is = varve_listing_get(after, j);
        int order = i == n ? 1 : j == m ? -1 : strcmp(was.name, is.name);
        i += order <= 0;
        j += order >= 0;
        if (order == 0 && is_same(diff, &was, &is))
            continue;
        if (order <= 0 && !went(diff, dir, before_fd, &was, error))
            return FALSE;
        if (order >= 0 && !came(diff, dir, after_fd, &is, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
read_changed(Diff *diff, VarveEntry *dir, GError **error)
{
    if (!varve_check_cancelled(diff->search.cancelled, error) ||
        !varve_entry_sight_open(&diff->before, dir, error))
        return FALSE;
    varve_autofd before = open_again(diff->before.dirfd);
    varve_autofd after = before < 0 ? -1
                                    : varve_zfs_search_counterpart(&diff->search, before, "",
                                                                   O_RDONLY | O_DIRECTORY);
    return compare_names(diff, dir, before, after, error);
}

/* A directory that is in one of the two snapshots only: all that is in it came, or went. */
static gboolean
read_alone(Diff *diff, VarveEntry *dir, int fd, gboolean old, GError **error)
{
    g_autoptr(VarveListing) listing = read_dir(diff, fd, error);
    for (gsize i = 0; listing != NULL && i < varve_listing_length(listing); i++) {
        VarveListingEntry found = varve_listing_get(listing, i);
        if (!(old ? went : came)(diff, dir, fd, &found, error))
            return FALSE;
    }
    return listing != NULL && varve_check_cancelled(diff->search.cancelled, error);
}

static gboolean
read_gone(Diff *diff, VarveEntry *dir, GError **error)
{
    if (!varve_entry_sight_open(&diff->before, dir, error))
        return FALSE;
    varve_autofd fd = open_again(diff->before.dirfd);
    return read_alone(diff, dir, fd, TRUE, error);
}

static gboolean
read_new(Diff *diff, const NewDir *dir, GError **error)
{
    varve_autofd fd = varve_zfs_search_open(&diff->search, dir->handle, O_RDONLY | O_DIRECTORY);
    return read_alone(diff, dir->entry, fd, FALSE, error);
}

/* More are found meanwhile. */
static gboolean
read_dirs(Diff *diff, GError **error)
{
    GPtrArray *dirs = diff->search.dirs;
    for (guint i = 0; i < dirs->len; i++) {
        if (!read_changed(diff, dirs->pdata[i], error))
            return FALSE;
    }
    for (guint i = 0; i < diff->gone_dirs->len; i++) {
        if (!read_gone(diff, diff->gone_dirs->pdata[i], error))
            return FALSE;
    }
    for (guint i = 0; i < diff->new_dirs->len; i++) {
        NewDir dir = g_array_index(diff->new_dirs, NewDir, i);
        if (!read_new(diff, &dir, error))
            return FALSE;
    }
    return TRUE;
}

/* --- moves ------------------------------------------------------------------------------------ */

static gboolean
settle(Diff *diff, const Arrival *arrival, GError **error)
{
    GQueue *entries = g_hash_table_lookup(diff->departed, &arrival->object);
    VarveEntry *entry = entries != NULL ? g_queue_pop_head(entries) : NULL;
    if (entry != NULL) {
        varve_entries_place(diff->search.entries, entry, arrival->dir, arrival->name);
        return TRUE;
    }
    if (arrival->is_dir)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "%s has a directory that %s has as well, but nowhere",
                               diff->search.pair->after, diff->search.pair->before);
    entry = varve_entries_add(diff->search.entries, arrival->dir, arrival->name);
    entry->flags |= VARVE_ENTRY_FILE;
    VarveZfsLinks *links = g_hash_table_lookup(diff->search.linked, &arrival->object);
    if (links != NULL)
        g_ptr_array_add(links->names, entry);
    return TRUE;
}

static int
compare_arrivals(gconstpointer a, gconstpointer b)
{
    const Arrival *x = a, *y = b;
    if (x->object != y->object)
        return x->object < y->object ? -1 : 1;
    g_autofree char *first = varve_entry_path(x->dir), *second = varve_entry_path(y->dir);
    int order = strcmp(first, second);
    return order != 0 ? order : strcmp(x->name, y->name);
}

/* Directories have one name each; when they have their places, the paths of files are known. */
static gboolean
settle_all(Diff *diff, GError **error)
{
    for (int dirs = 1; dirs >= 0; dirs--) {
        if (!dirs)
            g_array_sort(diff->arrivals, compare_arrivals);
        for (guint i = 0; i < diff->arrivals->len; i++) {
            const Arrival *arrival = &g_array_index(diff->arrivals, Arrival, i);
            if (arrival->is_dir == dirs && !settle(diff, arrival, error))
                return FALSE;
        }
    }
    return TRUE;
}

/* --- other names ------------------------------------------------------------------------------ */

static VarveEntry *
find_name(const VarveZfsLinks *links, gboolean old, guint32 *count)
{
    VarveEntry *found = NULL;
    *count = 0;
    for (guint i = 0; i < links->names->len; i++) {
        VarveEntry *entry = links->names->pdata[i];
        if ((old ? entry->old_name : entry->name) != NULL) {
            found = entry;
            ++*count;
        }
    }
    return found;
}

/* Whether the file has names that are not known, and would have to be told. */
static gboolean
lacks_names(Diff *diff, const VarveZfsLinks *links, const VarveCompare *how, gboolean *lacks,
            GError **error)
{
    guint32 count, old_count;
    guint what;
    VarveFound before, after;
    const VarveEntry *is = find_name(links, FALSE, &count);
    const VarveEntry *was = find_name(links, TRUE, &old_count);
    *lacks = count < links->count;
    if (!*lacks || is == NULL || was == NULL)
        return TRUE;
    if (!varve_entry_sight_look(&diff->before, was, &before, error) ||
        !varve_entry_sight_look(&diff->after, is, &after, error) ||
        !varve_changes_compare(before.file, &before.st, after.file, &after.st, how, &what, error))
        return FALSE;
    *lacks = what != 0;
    return TRUE;
}

/* To find the other names of a changed file with hard links takes reading all directories, if not
 * all of them are in directories that were read: the file system keeps no list of them. */
static gboolean
complete_links(Diff *diff, const VarveCompare *how, GError **error)
{
    GHashTableIter iter;
    gpointer links;
    gboolean lacks;
    g_hash_table_iter_init(&iter, diff->search.linked);
    while (!diff->search.all_names && g_hash_table_iter_next(&iter, NULL, &links)) {
        if (!lacks_names(diff, links, how, &lacks, error))
            return FALSE;
        if (lacks)
            return varve_zfs_search_everywhere(&diff->search, error);
    }
    return TRUE;
}

/* --- the longest path ------------------------------------------------------------------------- */

static gsize
path_length(const VarveEntry *entry, gboolean old)
{
    g_autofree char *path = old ? varve_entry_old_path(entry) : varve_entry_path(entry);
    return strlen(path);
}

/* What is beneath a directory got longer paths with it. */
static guint64
longest_after(const Diff *diff)
{
    const guint64 before = diff->search.pair->before_longest;
    guint64 longest = before;
    const GPtrArray *all = varve_entries_all(diff->search.entries);
    for (guint i = 0; i < all->len; i++) {
        const VarveEntry *entry = all->pdata[i];
        if (entry->name == NULL || (entry->parent == entry->old_parent && entry->old_name != NULL &&
                                    g_str_equal(entry->name, entry->old_name)))
            continue;
        guint64 length = path_length(entry, FALSE);
        if (entry->old_name != NULL && (entry->flags & VARVE_ENTRY_FILE) == 0)
            length += before - MIN(before, path_length(entry, TRUE));
        longest = MAX(longest, length);
    }
    return longest;
}

/* --- the difference --------------------------------------------------------------------------- */

static void
arrival_clear(gpointer data)
{
    g_free(((Arrival *)data)->name);
}

static void
new_dir_clear(gpointer data)
{
    g_free(((NewDir *)data)->handle);
}

static void
diff_clear(Diff *diff)
{
    varve_entry_sight_clear(&diff->before);
    varve_entry_sight_clear(&diff->after);
    varve_zfs_search_clear(&diff->search);
    g_ptr_array_unref(diff->gone_dirs);
    g_array_unref(diff->new_dirs);
    g_array_unref(diff->arrivals);
    g_hash_table_unref(diff->departed);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Diff, diff_clear)

static void
diff_init(Diff *diff, int control, VarveZfsPair *pair, GArray *ranges, const gint *cancelled)
{
    *diff = (Diff){
        .before = varve_entry_sight_new(pair->before_fd, TRUE),
        .after = varve_entry_sight_new(pair->after_fd, FALSE),
        .gone_dirs = g_ptr_array_new(),
        .new_dirs = g_array_new(FALSE, FALSE, sizeof(NewDir)),
        .arrivals = g_array_new(FALSE, FALSE, sizeof(Arrival)),
        .departed = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                          (GDestroyNotify)g_queue_free),
    };
    g_array_set_clear_func(diff->arrivals, arrival_clear);
    g_array_set_clear_func(diff->new_dirs, new_dir_clear);
    varve_zfs_search_init(&diff->search, control, pair, ranges, cancelled);
}

static gboolean
find_changes(int control, VarveZfsPair *pair, GArray *ranges, const gint *cancelled,
             VarveChangeList *list, GError **error)
{
    g_auto(Diff) diff;
    const VarveCompare how = {.flags = VARVE_COMPARE_CONTENT, .cancelled = cancelled};
    diff_init(&diff, control, pair, ranges, cancelled);
    if (!varve_zfs_search(&diff.search, error) || !read_dirs(&diff, error) ||
        !settle_all(&diff, error) || !complete_links(&diff, &how, error) ||
        !varve_entries_tell(diff.search.entries, pair->before_fd, pair->after_fd, &how, list,
                            error))
        return FALSE;
    pair->after_longest = longest_after(&diff);
    return TRUE;
}

/* What the kernel does not tell, or not as the snapshots are, can be compared nevertheless. */
static gboolean
can_be_compared(gboolean unrelated, const GError *failure)
{
    return unrelated || g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_CORRUPT);
}

gboolean
varve_zfs_diff(int control, VarveZfsPair *pair, VarveChangeSink *sink, GError **error)
{
    gboolean unrelated;
    g_autoptr(VarveChangeList) list = varve_change_list_new();
    g_autoptr(GError) failure = NULL;
    const VarveCompare how = {.flags = VARVE_COMPARE_CONTENT};
    GArray *ranges =
        varve_zfs_control_diff(control, pair->before, pair->after, &unrelated, &failure);
    if (ranges != NULL && find_changes(control, pair, ranges, sink->cancelled, list, &failure))
        return varve_change_list_tell(list, sink, error);
    if (!can_be_compared(unrelated, failure)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return FALSE;
    }
    pair->way = VARVE_ZFS_DIFF_COMPARED;
    varve_log(VARVE_LOG_INFO, "comparing two snapshots of ZFS file by file", "reason",
              failure->message, NULL);
    return varve_changes_walk(pair->before_fd, pair->after_fd, &how, sink, error);
}
