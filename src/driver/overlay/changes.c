/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/changes.h"
#include "base/dirstack.h"
#include "base/listing.h"
#include "base/mount.h"
#include "base/walk.h"
#include "driver/folder.h"
#include "driver/overlay/base.h"
#include "driver/overlay/notes.h"
#include "driver/overlay/overlay.h"
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

/*
 * The upper directory holds all that changed, and a few things that did not: what was opened for
 * writing, or stands above something that changed, was copied up. So the walk is one over the upper
 * directory, and each thing in it is compared with the one of the same path in the parent's state:
 * the parent's directory where it is the only one, a mount of the lower layers where there are
 * several.
 *
 * Three notes of overlayfs count (notes.h):
 *
 *     a whiteout           what the parent has there is deleted
 *     an opaque directory  hides all that the parent has there. It took the place of another one,
 *                          so the names in both are compared
 *     a redirect           the directory was renamed: all in it is compared with what was at the
 *                          path that it had
 *
 * A directory that was renamed away leaves a whiteout behind, or something new, before which or
 * after which its new place may come. So the redirects are looked for first, in a walk of their own
 * over the directories. When there are any, the changes are put in their order at the end: what was
 * deleted in a renamed directory is told by its old path.
 */

/* A directory of the upper layer that the walk is in. */
typedef struct {
    VarveListing *upper, *before; /* before: of an opaque one only */
    gsize next_upper, next_before;
    gsize path_length, base_length;
    gboolean based;   /* there is one in the parent to compare with */
    gboolean merged;  /* and overlayfs shows what it holds too */
    char *outer_base; /* of a renamed one: base above it */
} Level;

typedef struct {
    VarveOverlayNotes notes;
    VarveCompare how;
    VarveDirstack *upper; /* the way to the last level */
    GArray *levels;
    GString *path;          /* in the snapshot, of what is looked at; empty for the root */
    VarveOverlayBase *base; /* in the parent, of what that is compared with */
    GHashTable *away;       /* paths in the parent (char*) that were renamed */
    gboolean finding;       /* just those */
    VarveChangeSink *sink;
} Walk;

/* --- telling ---------------------------------------------------------------------------------- */

static const char *
or_root(const GString *path)
{
    return path->len > 0 ? path->str : "/";
}

static gboolean
tell(Walk *walk, const VarveChange *change, GError **error)
{
    VarveChange full = *change;
    if (full.path == NULL)
        full.path = or_root(walk->path);
    full.mode &= S_IFMT;
    return walk->finding || varve_changes_tell(walk->sink, &full, error);
}

static gboolean
tell_deleted(Walk *walk, const VarveFound *before, GError **error)
{
    const VarveChange change = {.kind = VARVE_CHANGE_DELETED,
                                .path = or_root(walk->base->path),
                                .mode = before->st.st_mode};
    return tell(walk, &change, error);
}

/* A file whose content stayed below is compared with it without being read, unless it was renamed
 * to the place of another one: then it is said to differ. */
static gboolean
compare_metacopy(Walk *walk, const VarveFound *before, const VarveFound *upper, guint *what,
                 GError **error)
{
    g_autofree char *redirect = NULL;
    if (!varve_overlay_redirect(walk->notes, upper->file, &redirect, error) ||
        !varve_changes_compare_attributes(before->file, &before->st, upper->file, &upper->st,
                                          &walk->how, what, error))
        return FALSE;
    if (redirect != NULL || before->st.st_size != upper->st.st_size)
        *what |= VARVE_CHANGE_CONTENT;
    return TRUE;
}

static gboolean
compare(Walk *walk, const VarveFound *before, const VarveFound *upper, guint *what, GError **error)
{
    if (S_ISREG(upper->st.st_mode) && varve_overlay_is_metacopy(walk->notes, upper->file))
        return compare_metacopy(walk, before, upper, what, error);
    return varve_changes_compare(before->file, &before->st, upper->file, &upper->st, &walk->how,
                                 what, error);
}

static gboolean
tell_difference(Walk *walk, const VarveFound *before, const VarveFound *upper, GError **error)
{
    VarveChange change = {.kind = VARVE_CHANGE_MODIFIED, .mode = upper->st.st_mode};
    if (walk->finding)
        return TRUE;
    if (!before->exists)
        change.kind = VARVE_CHANGE_ADDED;
    else if (!varve_changes_same_type(&before->st, &upper->st))
        change.kind = VARVE_CHANGE_REPLACED;
    else if (!compare(walk, before, upper, &change.what, error))
        return FALSE;
    gboolean same = change.kind == VARVE_CHANGE_MODIFIED && change.what == 0;
    return same || tell(walk, &change, error);
}

/* Looks at base in the parent. What was renamed away is not there any more, and a whiteout in the
 * only lower layer never was. */
static gboolean
look_before(Walk *walk, const char *name, VarveFound *before, GError **error)
{
    *before = (VarveFound){.exists = FALSE};
    if (g_hash_table_contains(walk->away, walk->base->path->str))
        return TRUE;
    VarveFile file = {varve_overlay_base_fd(walk->base), name};
    if (!varve_changes_look(file, before, error))
        return FALSE;
    if (before->exists && varve_overlay_is_whiteout(walk->notes, file, &before->st))
        before->exists = FALSE;
    return TRUE;
}

/* --- the way ---------------------------------------------------------------------------------- */

static Level *
last(const Walk *walk)
{
    return &g_array_index(walk->levels, Level, walk->levels->len - 1);
}

static void
level_clear(gpointer data)
{
    Level *level = data;
    varve_listing_free(level->upper);
    varve_listing_free(level->before);
    g_free(level->outer_base);
}

/* Adds the level of the directory that was just opened, and whose counterpart, if it is based, is
 * base. Takes level. */
static gboolean
add_level(Walk *walk, Level level, GError **error)
{
    level.path_length = walk->path->len;
    level.base_length = level.based ? walk->base->path->len : last(walk)->base_length;
    level.upper = varve_listing_read(varve_dirstack_top(walk->upper));
    gboolean ok = level.upper != NULL;
    if (ok && level.based && !level.merged) {
        level.before = varve_listing_read(varve_overlay_base_fd(walk->base));
        ok = level.before != NULL;
    }
    g_array_append_val(walk->levels, level);
    return ok || varve_error_set_errno(error, errno, "reading the directory");
}

/* Sets *entered; a directory that is gone meanwhile is not entered. */
static gboolean
enter_upper(Walk *walk, const char *name, gboolean *entered, GError **error)
{
    int failed = varve_dirstack_push(walk->upper, name);
    *entered = failed == 0;
    return failed == 0 || failed == ENOENT || failed == ENOTDIR || failed == ELOOP ||
           failed == EXDEV || varve_error_set_errno(error, failed, "opening the directory");
}

static gboolean
enter(Walk *walk, const char *name, gboolean based, gboolean merged, GError **error)
{
    gboolean entered;
    if (!enter_upper(walk, name, &entered, error))
        return FALSE;
    if (!entered)
        return TRUE;
    if (based && !varve_overlay_base_enter(walk->base, name, error))
        return FALSE;
    return add_level(walk, (Level){.based = based, .merged = merged}, error);
}

/* origin: the way to the directory that it was, whose path is from; taken. */
static gboolean
enter_renamed(Walk *walk, const char *name, const char *from, VarveDirstack **origin,
              GError **error)
{
    gboolean entered;
    if (!enter_upper(walk, name, &entered, error))
        return FALSE;
    if (!entered)
        return TRUE;
    Level level = {.based = TRUE, .merged = TRUE};
    level.outer_base = g_strndup(walk->base->path->str, last(walk)->base_length);
    varve_overlay_base_set(walk->base, from, origin);
    return add_level(walk, level, error);
}

static gboolean
leave(Walk *walk, GError **error)
{
    gboolean based = last(walk)->based, ok = TRUE;
    g_autofree char *outer = g_steal_pointer(&last(walk)->outer_base);
    g_array_set_size(walk->levels, walk->levels->len - 1);
    if (outer != NULL)
        ok = varve_overlay_base_return(walk->base, outer, error);
    else if (based)
        ok = varve_overlay_base_leave(walk->base, error);
    return ok && varve_dirstack_pop(walk->upper, error);
}

/* --- directories ------------------------------------------------------------------------------ */

/* Where a directory was in the parent, by its redirect: a name in the directory that it is in only
 * means something if that one shows the parent's. */
static char *
origin_of(const Walk *walk, const char *redirect)
{
    const Level *level = last(walk);
    if (*redirect == '/')
        return g_strdup(redirect);
    return level->merged ? g_strdup_printf("%.*s/%s", (int)level->base_length,
                                           walk->base->path->str, redirect)
                         : NULL;
}

static gboolean
visit_renamed(Walk *walk, const char *from, VarveDirstack **origin, const VarveFound *upper,
              GError **error)
{
    VarveFound before;
    VarveChange change = {.kind = VARVE_CHANGE_RENAMED, .from = from, .mode = upper->st.st_mode};
    if (walk->finding)
        g_hash_table_add(walk->away, g_strdup(from));
    else if (!varve_changes_look((VarveFile){varve_dirstack_top(*origin), NULL}, &before, error) ||
             !compare(walk, &before, upper, &change.what, error) || !tell(walk, &change, error))
        return FALSE;
    return enter_renamed(walk, upper->file.name, from, origin, error);
}

static gboolean
visit_in_place(Walk *walk, gboolean merged, const VarveFound *before, const VarveFound *upper,
               GError **error)
{
    gboolean based = before->exists && S_ISDIR(before->st.st_mode);
    return tell_difference(walk, before, upper, error) &&
           enter(walk, upper->file.name, based, based && merged, error);
}

static gboolean
visit_directory(Walk *walk, const VarveFound *before, const VarveFound *upper, GError **error)
{
    gboolean opaque = varve_overlay_is_opaque(walk->notes, upper->file), missing = TRUE;
    g_autofree char *redirect = NULL;
    if (!opaque && !varve_overlay_redirect(walk->notes, upper->file, &redirect, error))
        return FALSE;
    if (redirect == NULL)
        return visit_in_place(walk, last(walk)->merged && !opaque, before, upper, error);

    g_autofree char *from = origin_of(walk, redirect);
    gboolean back = last(walk)->based && g_strcmp0(from, walk->base->path->str) == 0;
    if (from == NULL || back) /* it may have been renamed to where it was */
        return visit_in_place(walk, back, before, upper, error);
    g_autoptr(VarveDirstack) origin = varve_overlay_base_way(walk->base, from, &missing, error);
    if (origin == NULL)
        return missing && visit_in_place(walk, FALSE, before, upper, error);
    return visit_renamed(walk, from, &origin, upper, error);
}

/* --- the walk --------------------------------------------------------------------------------- */

static gboolean
visit(Walk *walk, const char *name, gboolean in_upper, GError **error)
{
    VarveFound before = {.exists = FALSE}, upper = {.exists = FALSE};
    if (last(walk)->based) {
        g_string_append_printf(walk->base->path, "/%s", name);
        if (!look_before(walk, name, &before, error))
            return FALSE;
    }
    if (in_upper) {
        VarveFile file = {varve_dirstack_top(walk->upper), name};
        if (!varve_changes_look(file, &upper, error))
            return FALSE;
        if (!upper.exists || upper.mounted)
            return TRUE;
    }
    if (!in_upper || varve_overlay_is_whiteout(walk->notes, upper.file, &upper.st))
        return !before.exists || tell_deleted(walk, &before, error);
    return S_ISDIR(upper.st.st_mode) ? visit_directory(walk, &before, &upper, error)
                                     : tell_difference(walk, &before, &upper, error);
}

static const VarveListingEntry *
peek(const VarveListing *listing, gsize i, VarveListingEntry *entry)
{
    if (listing == NULL || i >= varve_listing_length(listing))
        return NULL;
    *entry = varve_listing_get(listing, i);
    return entry;
}

/* Takes the next name of a directory; NULL at its end. */
static const char *
next_name(Level *level, gboolean *in_upper, unsigned char *type)
{
    VarveListingEntry entries[2];
    const VarveListingEntry *before = peek(level->before, level->next_before, &entries[0]);
    const VarveListingEntry *upper = peek(level->upper, level->next_upper, &entries[1]);
    if (before == NULL && upper == NULL)
        return NULL;
    int order = before == NULL ? 1 : upper == NULL ? -1 : strcmp(before->name, upper->name);
    *in_upper = order >= 0;
    *type = *in_upper ? upper->type : DT_UNKNOWN;
    level->next_upper += order >= 0;
    level->next_before += order <= 0;
    return *in_upper ? upper->name : before->name;
}

static gboolean
is_of_interest(const Walk *walk, gboolean in_upper, unsigned char type)
{
    return !walk->finding || (in_upper && (type == DT_DIR || type == DT_UNKNOWN));
}

static gboolean
run(Walk *walk, GError **error)
{
    for (;;) {
        gboolean in_upper;
        unsigned char type;
        Level *level = last(walk);
        g_string_truncate(walk->path, level->path_length);
        g_string_truncate(walk->base->path, level->base_length);
        const char *name = next_name(level, &in_upper, &type);
        if (name == NULL && walk->levels->len == 1)
            return TRUE;
        if (name == NULL) {
            if (!leave(walk, error))
                return FALSE;
            continue;
        }
        g_string_append_printf(walk->path, "/%s", name);
        if (is_of_interest(walk, in_upper, type) &&
            (!varve_check_cancelled(walk->sink->cancelled, error) ||
             !visit(walk, name, in_upper, error)))
            return FALSE;
    }
}

/* --- a snapshot ------------------------------------------------------------------------------- */

/* What a walk is of. */
typedef struct {
    VarveOverlayNotes notes;
    VarveCompare how;
    int parent, upper; /* the roots */
    GHashTable *away;
} Job;

static void
walk_clear(Walk *walk)
{
    varve_dirstack_free(walk->upper);
    g_array_unref(walk->levels);
    g_string_free(walk->path, TRUE);
    varve_overlay_base_free(walk->base);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Walk, walk_clear)

static gboolean
compare_roots(Walk *walk, const Job *job, GError **error)
{
    VarveFound before, upper;
    return varve_changes_look((VarveFile){job->parent, NULL}, &before, error) &&
           varve_changes_look((VarveFile){job->upper, NULL}, &upper, error) &&
           tell_difference(walk, &before, &upper, error);
}

static gboolean
start(Walk *walk, const Job *job, GError **error)
{
    int upper = varve_fd_open_dir(job->upper, ".", error);
    if (upper < 0)
        return FALSE;
    walk->upper = varve_dirstack_new(upper);
    return varve_overlay_base_return(walk->base, "", error) && compare_roots(walk, job, error) &&
           add_level(walk, (Level){.based = TRUE, .merged = TRUE}, error) && run(walk, error);
}

static gboolean
walk_once(const Job *job, gboolean finding, VarveChangeSink *sink, GError **error)
{
    g_auto(Walk) walk = {
        .notes = job->notes,
        .how = job->how,
        .away = job->away,
        .finding = finding,
        .sink = sink,
        .path = g_string_new(NULL),
        .base = varve_overlay_base_new(job->parent),
        .levels = g_array_new(FALSE, FALSE, sizeof(Level)),
    };
    g_array_set_clear_func(walk.levels, level_clear);
    gboolean ok = start(&walk, job, error);
    if (!ok && !sink->enough) {
        g_autofree char *place = varve_walk_printable(or_root(walk.path));
        g_prefix_error(error, "comparing %s: ", place);
    }
    return ok;
}

static gboolean
walk_and_sort(const Job *job, VarveChangeSink *sink, GError **error)
{
    g_autoptr(VarveChangeList) list = varve_change_list_new();
    VarveChangeSink to_list = {
        .func = varve_change_list_add, .data = list, .cancelled = sink->cancelled};
    return walk_once(job, FALSE, &to_list, error) && varve_change_list_tell(list, sink, error);
}

static gboolean
walk_upper(const VarveOverlayLayers *layers, const VarveDriverSnapshot *snapshot, int parent,
           int upper, VarveChangeSink *sink, GError **error)
{
    gboolean user = g_strv_contains((const char *const *)layers->options, "userxattr");
    guint raw = snapshot->n_parents == 1 ? VARVE_COMPARE_BEFORE_LAYER : 0;
    g_autoptr(GHashTable) away = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    const Job job = {
        .notes = user ? VARVE_OVERLAY_NOTES_USER : VARVE_OVERLAY_NOTES_TRUSTED,
        /* What was copied up was read and written once, so reading it again is in proportion. */
        .how = {.flags = VARVE_COMPARE_CONTENT | VARVE_COMPARE_AFTER_LAYER | raw,
                .cancelled = sink->cancelled},
        .parent = parent,
        .upper = upper,
        .away = away,
    };
    if (!walk_once(&job, TRUE, sink, error))
        return FALSE;
    return g_hash_table_size(away) == 0 ? walk_once(&job, FALSE, sink, error)
                                        : walk_and_sort(&job, sink, error);
}

/* The state of the parent, as a directory. */
static int
open_parent(const VarveOverlayLayers *layers, const VarveDriverSnapshot *snapshot, GError **error)
{
    if (snapshot->n_parents == 1)
        return varve_fd_open_dir(layers->fs, varve_folder_path(snapshot->parents[0]).text, error);
    const VarveDriverSnapshot view = {0, VARVE_KIND_VIEW, snapshot->parents, snapshot->n_parents};
    g_autoptr(VarveMount) mount = varve_overlay_mount(layers->options, layers->path, &view);
    return varve_mount_open(mount, layers->path, error);
}

gboolean
varve_overlay_changes(const VarveOverlayLayers *layers, const VarveDriverSnapshot *snapshot,
                      VarveChangeSink *sink, GError **error)
{
    varve_autofd upper = varve_fd_open_dir(layers->fs, varve_folder_path(snapshot->id).text, error);
    if (upper < 0)
        return FALSE;
    if (snapshot->n_parents == 0)
        return varve_changes_ended(sink, varve_changes_walk(-1, upper, NULL, sink, error));
    varve_autofd parent = open_parent(layers, snapshot, error);
    return parent >= 0 &&
           varve_changes_ended(sink, walk_upper(layers, snapshot, parent, upper, sink, error));
}
