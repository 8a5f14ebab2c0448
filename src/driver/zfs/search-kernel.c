/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "driver/zfs/search.h"
#include <string.h>

/*
 * The kernel is asked for the path of an object. It knows the directory that the object is in, and
 * looks through that for the name; so the directory is read here at once, and tells where the other
 * objects are that changed in it.
 */

typedef struct {
    VarveZfsSearch *search;
    VarveEntrySight sight;
    GHashTable *read; /* of VarveEntry: directories */
    gboolean hidden;
} Asking;

static gboolean
read_dir(Asking *asking, VarveEntry *dir, GError **error)
{
    VarveZfsSearch *search = asking->search;
    if (!g_hash_table_add(asking->read, dir))
        return TRUE;
    if (!varve_entry_sight_open(&asking->sight, dir, error))
        return FALSE;
    varve_autofd fd = varve_fd_open_dir(asking->sight.dirfd, ".", error);
    g_autoptr(VarveListing) listing = fd >= 0 ? varve_listing_read(fd) : NULL;
    if (listing == NULL)
        return fd >= 0 && varve_error_set_errno(error, errno, "reading a directory of %s",
                                                search->pair->before);
    for (gsize i = 0; i < varve_listing_length(listing); i++) {
        gboolean wanted;
        VarveListingEntry found = varve_listing_get(listing, i);
        if (!varve_zfs_search_wants(search, fd, &found, &wanted, error))
            return FALSE;
        if (wanted)
            varve_zfs_search_touch(search, varve_entries_old(search->entries, dir, found.name),
                                   found.inode, varve_zfs_search_is_dir(fd, &found));
    }
    return TRUE;
}

/* The entry of the directory that a path is in, which is used up. */
static VarveEntry *
find_dir(Asking *asking, char *path)
{
    VarveEntry *dir = varve_entries_root(asking->search->entries);
    for (char *name = path + 1, *end; (end = strchr(name, '/')) != NULL; name = end + 1) {
        *end = '\0';
        dir = varve_entries_old(asking->search->entries, dir, name);
    }
    return dir;
}

/* Objects that hold extended attributes are given a path beneath the file's. When they change, the
 * change time of the file is set as well (zpl_xattr_set_dir in OpenZFS). */
static gboolean
is_of_attributes(const char *path)
{
    const char *last = g_strrstr(path, "/<xattrdir>");
    return last != NULL && (last[11] == '\0' || (last[11] == '/' && !strchr(last + 12, '/')));
}

/* Beside the root, whose state is known, there is a directory that is in no other one
 * (zfs_create_share_dir in OpenZFS). */
static gboolean
is_root(const char *path)
{
    return path[1] == '\0';
}

static gboolean
find_object(Asking *asking, guint64 object, char *path, GError **error)
{
    g_autoptr(GError) failure = NULL;
    VarveZfsSearch *search = asking->search;
    gboolean attributes = is_of_attributes(path);
    if (!read_dir(asking, find_dir(asking, path), &failure)) {
        if (attributes && g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_CORRUPT))
            return TRUE;
        g_propagate_error(error, g_steal_pointer(&failure));
        return FALSE;
    }
    if (*varve_zfs_objects_state(search->objects, object) == VARVE_ZFS_OBJECT_NEW && !attributes)
        asking->hidden = TRUE;
    return TRUE;
}

/* Moves on to an object that has to be asked for. */
static gboolean
skip(const VarveZfsSearch *search, gsize *i, GError **error)
{
    guint64 next, object = varve_zfs_objects_number(search->objects, *i);
    if (!varve_zfs_control_next(search->control, search->pair->before, object + 1, &next, error))
        return FALSE;
    *i = varve_zfs_objects_from(search->objects, next);
    return TRUE;
}

static gboolean
ask(Asking *asking, gsize *i, GError **error)
{
    g_autofree char *path = NULL;
    VarveZfsSearch *search = asking->search;
    guint64 object = varve_zfs_objects_number(search->objects, *i);
    if (*varve_zfs_objects_state(search->objects, object) != VARVE_ZFS_OBJECT_NEW) {
        ++*i;
        return TRUE;
    }
    switch (varve_zfs_control_path(search->control, search->pair->before, object, &path)) {
    case VARVE_ZFS_OBJECT_FOUND:
        ++*i;
        return is_root(path) || find_object(asking, object, path, error);
    case VARVE_ZFS_OBJECT_HIDDEN:
        asking->hidden = TRUE;
        ++*i;
        return TRUE;
    case VARVE_ZFS_OBJECT_NONE:
    default:
        return skip(search, i, error);
    }
}

gboolean
varve_zfs_search_by_kernel(VarveZfsSearch *search, gboolean *hidden, GError **error)
{
    gboolean ok = TRUE;
    Asking asking = {.search = search,
                     .sight = varve_entry_sight_new(search->pair->before_fd, TRUE),
                     .read = g_hash_table_new(NULL, NULL)};
    for (gsize i = 0; ok && i < varve_zfs_objects_count(search->objects) && !asking.hidden;)
        ok = varve_check_cancelled(search->cancelled, error) && ask(&asking, &i, error);
    varve_entry_sight_clear(&asking.sight);
    g_hash_table_unref(asking.read);
    *hidden = asking.hidden;
    return ok;
}
