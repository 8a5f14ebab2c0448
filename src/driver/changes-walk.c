/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dirstack.h"
#include "base/listing.h"
#include "base/walk.h"
#include "driver/changes.h"
#include <string.h>
#include <sys/stat.h>

/*
 * Two trees are walked side by side. What both have is compared, and entered when it is a directory
 * in both; below a directory that only the snapshot has, there is nothing to compare with, and all
 * that there is is added. A directory that only the parent has is told and not entered.
 */

/* A directory that the walk is in. */
typedef struct {
    VarveListing *before, *after; /* before: NULL where the parent has no such directory */
    gsize next_before, next_after;
    gsize path_length; /* of the path to it */
} Level;

typedef struct {
    VarveDirstack *before, *after; /* before: as deep as there are levels that have one, or NULL */
    GArray *levels;
    GString *path; /* of what is looked at; empty for the root */
    VarveCompare how;
    VarveChangeSink *sink;
} Walk;

/* --- telling ---------------------------------------------------------------------------------- */

static gboolean
tell(Walk *walk, VarveChangeKind kind, guint what, const struct stat *st, GError **error)
{
    const VarveChange change = {
        .kind = kind,
        .what = what,
        .path = walk->path->len > 0 ? walk->path->str : "/",
        .mode = st->st_mode & S_IFMT,
    };
    return varve_changes_tell(walk->sink, &change, error);
}

static gboolean
tell_difference(Walk *walk, const VarveFound *before, const VarveFound *after, GError **error)
{
    if (!after->exists)
        return tell(walk, VARVE_CHANGE_DELETED, 0, &before->st, error);
    if (!before->exists)
        return tell(walk, VARVE_CHANGE_ADDED, 0, &after->st, error);
    if (!varve_changes_same_type(&before->st, &after->st))
        return tell(walk, VARVE_CHANGE_REPLACED, 0, &after->st, error);
    guint what;
    if (!varve_changes_compare(before->file, &before->st, after->file, &after->st, &walk->how,
                               &what, error))
        return FALSE;
    return what == 0 || tell(walk, VARVE_CHANGE_MODIFIED, what, &after->st, error);
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
    varve_listing_free(level->before);
    varve_listing_free(level->after);
}

/* Reads the directories that were just entered. */
static gboolean
add_level(Walk *walk, gboolean before, GError **error)
{
    Level level = {.path_length = walk->path->len};
    level.after = varve_listing_read(varve_dirstack_top(walk->after));
    if (level.after != NULL && before)
        level.before = varve_listing_read(varve_dirstack_top(walk->before));
    g_array_append_val(walk->levels, level);
    return (level.after != NULL && (!before || level.before != NULL)) ||
           varve_error_set_errno(error, errno, "reading the directory");
}

static gboolean
enter(Walk *walk, const VarveFound *before, const VarveFound *after, GError **error)
{
    int failed = varve_dirstack_push(walk->after, after->file.name);
    if (failed == ENOENT || failed == ENOTDIR || failed == ELOOP || failed == EXDEV)
        return TRUE; /* gone meanwhile, or something was mounted on it */
    if (failed != 0)
        return varve_error_set_errno(error, failed, "opening the directory");
    gboolean both = before->exists && S_ISDIR(before->st.st_mode);
    failed = both ? varve_dirstack_push(walk->before, before->file.name) : 0;
    if (failed != 0)
        return varve_error_set_errno(error, failed, "opening the parent's directory");
    return add_level(walk, both, error);
}

static gboolean
leave(Walk *walk, GError **error)
{
    gboolean both = last(walk)->before != NULL;
    g_array_set_size(walk->levels, walk->levels->len - 1);
    return varve_dirstack_pop(walk->after, error) &&
           (!both || varve_dirstack_pop(walk->before, error));
}

/* --- the walk --------------------------------------------------------------------------------- */

static gboolean
compare_name(Walk *walk, const char *name, gboolean in_before, gboolean in_after, GError **error)
{
    VarveFound before = {.exists = FALSE}, after = {.exists = FALSE};
    if (in_before &&
        !varve_changes_look((VarveFile){varve_dirstack_top(walk->before), name}, &before, error))
        return FALSE;
    if (in_after &&
        !varve_changes_look((VarveFile){varve_dirstack_top(walk->after), name}, &after, error))
        return FALSE;
    if (before.mounted || after.mounted || (!before.exists && !after.exists))
        return TRUE;
    if (!tell_difference(walk, &before, &after, error))
        return FALSE;
    return !after.exists || !S_ISDIR(after.st.st_mode) || enter(walk, &before, &after, error);
}

static const char *
name_at(const VarveListing *listing, gsize i)
{
    return listing != NULL && i < varve_listing_length(listing) ? varve_listing_get(listing, i).name
                                                                : NULL;
}

/* Takes the next name of a directory; FALSE at its end. */
static gboolean
next_name(Level *level, const char **name, gboolean *in_before, gboolean *in_after)
{
    const char *before = name_at(level->before, level->next_before);
    const char *after = name_at(level->after, level->next_after);
    int order = before == NULL ? 1 : after == NULL ? -1 : strcmp(before, after);
    *name = order <= 0 ? before : after;
    *in_before = before != NULL && order <= 0;
    *in_after = after != NULL && order >= 0;
    level->next_before += *in_before;
    level->next_after += *in_after;
    return *name != NULL;
}

static gboolean
run(Walk *walk, GError **error)
{
    for (;;) {
        const char *name;
        gboolean in_before, in_after;
        Level *level = last(walk);
        g_string_truncate(walk->path, level->path_length);
        if (!next_name(level, &name, &in_before, &in_after)) {
            if (walk->levels->len == 1)
                return TRUE;
            if (!leave(walk, error))
                return FALSE;
            continue;
        }
        g_string_append_printf(walk->path, "/%s", name);
        if (!varve_check_cancelled(walk->sink->cancelled, error) ||
            !compare_name(walk, name, in_before, in_after, error))
            return FALSE;
    }
}

static VarveDirstack *
stack_on(int dirfd, GError **error)
{
    int fd = varve_fd_open_dir(dirfd, ".", error);
    return fd < 0 ? NULL : varve_dirstack_new(fd);
}

static gboolean
run_from(Walk *walk, int before, int after, GError **error)
{
    if (before >= 0 && (walk->before = stack_on(before, error)) == NULL)
        return FALSE;
    walk->after = stack_on(after, error);
    return walk->after != NULL && add_level(walk, before >= 0, error) && run(walk, error);
}

static void
walk_init(Walk *walk, const char *path, const VarveCompare *how, VarveChangeSink *sink)
{
    *walk = (Walk){.sink = sink, .path = g_string_new(path)};
    if (how != NULL)
        walk->how = *how;
    walk->how.cancelled = sink->cancelled;
    walk->levels = g_array_new(FALSE, FALSE, sizeof(Level));
    g_array_set_clear_func(walk->levels, level_clear);
}

static void
walk_clear(Walk *walk)
{
    varve_dirstack_free(walk->before);
    varve_dirstack_free(walk->after);
    g_array_unref(walk->levels);
    g_string_free(walk->path, TRUE);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Walk, walk_clear)

/* Says where an error that is none of the sink's was met. */
static gboolean
ended(const Walk *walk, gboolean ok, GError **error)
{
    if (!ok && !walk->sink->enough) {
        g_autofree char *place = varve_walk_printable(walk->path->len > 0 ? walk->path->str : "/");
        g_prefix_error(error, "comparing %s: ", place);
    }
    return ok;
}

gboolean
varve_changes_walk(int before, int after, const VarveCompare *how, VarveChangeSink *sink,
                   GError **error)
{
    g_auto(Walk) walk;
    walk_init(&walk, "", how, sink);
    VarveFound old = {.exists = FALSE}, new;
    gboolean ok = (before < 0 || varve_changes_look((VarveFile){before, NULL}, &old, error)) &&
                  varve_changes_look((VarveFile){after, NULL}, &new, error) &&
                  tell_difference(&walk, &old, &new, error) &&
                  run_from(&walk, before, after, error);
    return ended(&walk, ok, error);
}

gboolean
varve_changes_add_tree(int dirfd, const char *name, const char *path, VarveChangeSink *sink,
                       GError **error)
{
    g_auto(Walk) walk;
    walk_init(&walk, g_str_equal(path, "/") ? "" : path, NULL, sink);
    VarveFound new;
    gboolean ok = varve_changes_look((VarveFile){dirfd, name}, &new, error) &&
                  (!new.exists || tell(&walk, VARVE_CHANGE_ADDED, 0, &new.st, error));
    if (ok && new.exists && S_ISDIR(new.st.st_mode) && !new.mounted) {
        varve_autofd dir = varve_fd_open_dir(dirfd, name, error);
        ok = dir >= 0 && run_from(&walk, -1, dir, error);
    }
    return ended(&walk, ok, error);
}

/* Opens what was found, when it is a directory that can be entered; -1: it cannot. */
static gboolean
open_found(const VarveFound *found, int *fd, GError **error)
{
    *fd = -1;
    if (!found->exists || found->mounted || !S_ISDIR(found->st.st_mode))
        return TRUE;
    *fd = varve_fd_open_dir(found->file.dirfd, found->file.name != NULL ? found->file.name : ".",
                            error);
    return *fd >= 0;
}

gboolean
varve_changes_walk_at(const VarveFound *before, const VarveFound *after, const char *path,
                      const VarveCompare *how, VarveChangeSink *sink, GError **error)
{
    if (!before->exists && !after->exists)
        return TRUE;
    g_auto(Walk) walk;
    varve_autofd old = -1, new = -1;
    walk_init(&walk, g_str_equal(path, "/") ? "" : path, how, sink);
    gboolean ok =
        tell_difference(&walk, before, after, error) && open_found(after, &new, error) &&
        (new < 0 || (open_found(before, &old, error) && run_from(&walk, old, new, error)));
    return ended(&walk, ok, error);
}
