/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cursor.h"
#include "driver/changes.h"
#include <string.h>

/*
 * Changes without renames. A rename touches two places: where it was, and where it is. In both, and
 * in all that is beneath them, what a driver told is forgotten, and the trees are compared; that
 * takes as long as what moved is large, and so does writing it into a layer, which knows no renames
 * either.
 */

struct VarvePlainChanges {
    VarveChangeList *told;
    GPtrArray *places; /* char*: both paths of each rename */
};

VarvePlainChanges *
varve_plain_changes_new(void)
{
    VarvePlainChanges *plain = g_new0(VarvePlainChanges, 1);
    plain->told = varve_change_list_new();
    plain->places = g_ptr_array_new_with_free_func(g_free);
    return plain;
}

void
varve_plain_changes_free(VarvePlainChanges *plain)
{
    if (plain == NULL)
        return;
    varve_change_list_free(plain->told);
    g_ptr_array_unref(plain->places);
    g_free(plain);
}

gboolean
varve_plain_changes_add(const VarveChange *change, gpointer data, GError **error)
{
    VarvePlainChanges *plain = data;
    if (change->kind == VARVE_CHANGE_RENAMED) {
        g_ptr_array_add(plain->places, g_strdup(change->path));
        g_ptr_array_add(plain->places, g_strdup(change->from));
    }
    return varve_change_list_add(change, plain->told, error);
}

/* --- places ---------------------------------------------------------------------------------- */

static gboolean
is_within(const char *path, const char *place)
{
    gsize length = strlen(place);
    return strncmp(path, place, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static int
order_of(gconstpointer a, gconstpointer b)
{
    return varve_changes_order(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts the places, and leaves out those that are within another one. */
static void
reduce_places(GPtrArray *places)
{
    guint kept = 0;
    g_ptr_array_sort(places, order_of);
    for (guint i = 0; i < places->len; i++) {
        char **place = (char **)&places->pdata[i];
        if (kept > 0 && is_within(*place, places->pdata[kept - 1]))
            continue;
        char *other = places->pdata[kept];
        places->pdata[kept++] = *place;
        *place = other;
    }
    g_ptr_array_set_size(places, (gint)kept);
}

/* --- telling --------------------------------------------------------------------------------- */

typedef struct {
    const GPtrArray *places;
    guint next; /* the first place that no change was beyond yet */
    VarveChangeList *list;
} Sorting;

/* Changes come in the order of their paths, and so do the places. */
static gboolean
take_outside(const VarveChange *change, gpointer data, GError **error)
{
    Sorting *sorting = data;
    for (; sorting->next < sorting->places->len; sorting->next++) {
        const char *place = sorting->places->pdata[sorting->next];
        if (is_within(change->path, place))
            return TRUE;
        if (varve_changes_order(change->path, place) < 0)
            break;
    }
    return varve_change_list_add(change, sorting->list, error);
}

static gboolean
look(VarveCursor *cursor, const char *path, VarveFound *found, GError **error)
{
    VarveFile file;
    gboolean there;
    *found = (VarveFound){.exists = FALSE};
    if (cursor == NULL)
        return TRUE;
    return varve_cursor_seek(cursor, path, &file, &there, error) &&
           (!there || varve_changes_look(file, found, error));
}

static gboolean
compare_places(const GPtrArray *places, const VarveDriverTrees *trees, VarveChangeList *list,
               GError **error)
{
    const VarveCompare how = {.flags = VARVE_COMPARE_CONTENT, .cancelled = trees->cancelled};
    VarveChangeSink sink = {varve_change_list_add, list, trees->cancelled, FALSE};
    g_autoptr(VarveCursor) before = NULL;
    g_autoptr(VarveCursor) after = varve_cursor_new(trees->after, error);
    if (after == NULL ||
        (trees->before >= 0 && (before = varve_cursor_new(trees->before, error)) == NULL))
        return FALSE;
    for (guint i = 0; i < places->len; i++) {
        VarveFound old, new;
        const char *place = places->pdata[i];
        if (!look(before, place, &old, error) || !look(after, place, &new, error) ||
            !varve_changes_walk_at(&old, &new, place, &how, &sink, error))
            return FALSE;
    }
    return TRUE;
}

/* The caller's function, and the last path that is no directory any more. */
typedef struct {
    VarveChangeFunc func;
    gpointer data;
    char *gone;
} Last;

/* What was in a directory that is gone, went with it, wherever it was told of. */
static gboolean
tell_once(const VarveChange *change, gpointer data, GError **error)
{
    Last *last = data;
    gboolean deleted = change->kind == VARVE_CHANGE_DELETED;
    if (deleted && last->gone != NULL && is_within(change->path, last->gone))
        return TRUE;
    if (deleted || change->kind == VARVE_CHANGE_REPLACED) {
        g_free(last->gone);
        last->gone = g_strdup(change->path);
    }
    return last->func(change, last->data, error);
}

gboolean
varve_plain_changes_tell(VarvePlainChanges *plain, const VarveDriverTrees *trees,
                         VarveChangeFunc func, gpointer data, GError **error)
{
    g_autoptr(VarveChangeList) list = varve_change_list_new();
    reduce_places(plain->places);
    Sorting sorting = {plain->places, 0, list};
    VarveChangeSink inner = {take_outside, &sorting, trees->cancelled, FALSE};
    if (!varve_change_list_tell(plain->told, &inner, error) ||
        (plain->places->len > 0 && !compare_places(plain->places, trees, list, error)))
        return FALSE;
    if (!varve_changes_add_names(trees->after, list, trees->cancelled, error))
        return FALSE;
    Last last = {func, data, NULL};
    VarveChangeSink outer = {tell_once, &last, trees->cancelled, FALSE};
    gboolean ok = varve_change_list_tell(list, &outer, error);
    g_free(last.gone);
    return varve_changes_ended(&outer, ok);
}

gboolean
varve_driver_compare_trees(const VarveDriverTrees *trees, VarveChangeFunc func, gpointer data,
                           GError **error)
{
    g_autoptr(VarvePlainChanges) plain = varve_plain_changes_new();
    VarveChangeSink sink = {varve_plain_changes_add, plain, trees->cancelled, FALSE};
    return varve_changes_walk(trees->before, trees->after, NULL, &sink, error) &&
           varve_plain_changes_tell(plain, trees, func, data, error);
}
