/* SPDX-License-Identifier: Apache-2.0 */
#include "base/listing.h"
#include "base/walk.h"
#include "layer/writer-internal.h"
#include <dirent.h>
#include <string.h>
#include <unistd.h>

/* ".wh.NAME" removes NAME of the layers below, ".wh..wh..opq" all that is in a directory: OCI image
 * specification, layer.md, "Whiteouts". */
#define OPAQUE ".wh..wh..opq"

/* --- as overlayfs has them ------------------------------------------------------------------- */

/* Whether the layers below have something there. As long as they are not there, it is noted, and
 * taken to be so. */
static gboolean
hides_something(VarveWriter *writer, const VarvePlace *place, gboolean *hides, GError **error)
{
    *hides = FALSE;
    if (!varve_directory_is_merged(writer->directories, place->directory))
        return TRUE;
    if (writer->target->unsettled != NULL) {
        g_autofree char *directory = varve_directory_path(place->directory);
        g_autofree char *path = g_build_filename(directory, place->name, NULL);
        *hides = TRUE;
        return varve_unsettled_note(writer->target->unsettled, path, VARVE_UNSETTLED_WHITEOUT,
                                    error);
    }
    struct stat st;
    varve_autofd below = varve_directory_open_below(writer->directories, place->directory);
    *hides = below >= 0 && fstatat(below, place->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    return TRUE;
}

/* What the layer itself made there before gives way. Where nothing is to be hidden there must be no
 * whiteout: overlayfs leaves them out of directories that it merges, and lists them in others. */
static gboolean
make_whiteout(VarveWriter *writer, const VarvePlace *place, GError **error)
{
    gboolean hides;
    if (!hides_something(writer, place, &hides, error))
        return FALSE;
    if (!hides)
        return varve_writer_remove(writer, place, error);
    writer->has_whiteouts = TRUE;
    place->directory->dirty = TRUE;
    if (mknodat(place->dirfd, place->name, S_IFCHR, 0) == 0)
        return TRUE;
    if (errno != EEXIST)
        return varve_error_set_errno(error, errno, "making the whiteout");
    return varve_writer_remove(writer, place, error) &&
           (mknodat(place->dirfd, place->name, S_IFCHR, 0) == 0 ||
            varve_error_set_errno(error, errno, "making the whiteout"));
}

/* Those beneath a directory that has become opaque hide nothing any more. */
static gboolean
remove_whiteouts(VarveWriter *writer, int fd, GError **error)
{
    g_autoptr(VarveWalk) walk =
        varve_walk_new(fd, ".", "removing whiteouts", &writer->target->watch, error);
    if (walk == NULL)
        return FALSE;
    VarveWalkEntry entry;
    while (varve_walk_next(walk, &entry, error)) {
        int failed = 0;
        if (entry.name == NULL && varve_walk_depth(walk) == 0)
            return TRUE;
        if (entry.name == NULL && !varve_walk_leave(walk, NULL, error))
            return FALSE;
        if (entry.name != NULL && entry.type == DT_DIR)
            failed = varve_walk_enter(walk, entry.name);
        else if (entry.name != NULL && entry.type == DT_CHR)
            failed = varve_whiteout_remove(varve_walk_fd(walk), entry.name);
        if (failed != 0)
            return varve_error_set_errno(error, failed, "removing the whiteout '%s'", entry.name);
    }
    return FALSE;
}

/* What is in the directory stays. */
static gboolean
hide_below(VarveWriter *writer, VarveDirectory *directory, int fd, GError **error)
{
    return varve_directory_make_opaque(directory, fd, error) &&
           (!writer->has_whiteouts || remove_whiteouts(writer, fd, error));
}

/* Overlayfs merges the roots of layers whatever they say: each name is removed for itself. */
static gboolean
whiteout_below(VarveWriter *writer, VarveDirectory *root, int fd, GError **error)
{
    varve_autofd below = varve_fd_open_dir(writer->target->parent, ".", error);
    if (below < 0)
        return FALSE;
    g_autoptr(VarveListing) names = varve_listing_read(below);
    if (names == NULL)
        return varve_error_set_errno(error, errno, "listing the layers below");
    for (gsize i = 0; i < varve_listing_length(names); i++) {
        const char *name = varve_listing_get(names, i).name;
        struct stat st;
        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            VarveDirectory *directory;
            int failed;
            if (!S_ISDIR(st.st_mode))
                continue;
            if (!varve_directory_open(writer->directories, root, name, &directory, &failed, error))
                return FALSE;
            int inner =
                directory != NULL ? varve_directory_fd(writer->directories, directory, error) : -1;
            if (inner < 0 || !hide_below(writer, directory, inner, error))
                return FALSE;
        } else if (!make_whiteout(writer, &(VarvePlace){root, fd, name}, error)) {
            return FALSE;
        }
    }
    root->opaque = TRUE;
    return TRUE;
}

/* --- in a tree that has everything ----------------------------------------------------------- */

/* Removes what the layer did not make. */
static gboolean
empty_entry(VarveWriter *writer, VarveWalk *walk, const char *top, const VarveWalkEntry *entry,
            GError **error)
{
    g_autofree char *below = varve_walk_path(walk, entry->name);
    g_autofree char *path = *top == '\0' ? g_strdup(below) : g_strconcat(top, "/", below, NULL);
    gboolean made;
    if (!varve_writer_has_made(writer, path, &made, error))
        return FALSE;
    if (!made)
        return varve_tree_remove(varve_walk_fd(walk), entry->name, &writer->target->watch, error);
    if (entry->type != DT_DIR)
        return TRUE;
    int failed = varve_walk_enter(walk, entry->name);
    return failed == 0 || varve_error_set_errno(error, failed, "opening '%s'", entry->name);
}

/* Directories that are known may go: all are forgotten first. */
static gboolean
empty(VarveWriter *writer, VarveDirectory *directory, GError **error)
{
    if (writer->made == NULL)
        return TRUE; /* all of it is the layer's */
    g_autofree char *path = varve_directory_path(directory);
    if (!varve_directories_finish(writer->directories, error) ||
        !varve_directories_find(writer->directories, path, FALSE, &directory, error))
        return FALSE;
    int fd = varve_directory_fd(writer->directories, directory, error);
    if (fd < 0)
        return FALSE;
    directory->dirty = TRUE;
    g_autoptr(VarveWalk) walk = varve_walk_new(fd, ".", "removing", &writer->target->watch, error);
    if (walk == NULL)
        return FALSE;
    VarveWalkEntry entry;
    while (varve_walk_next(walk, &entry, error)) {
        if (entry.name == NULL && varve_walk_depth(walk) == 0)
            return TRUE;
        if (!(entry.name != NULL ? empty_entry(writer, walk, path, &entry, error)
                                 : varve_walk_leave(walk, NULL, error)))
            return FALSE;
    }
    return FALSE;
}

/* --- entries --------------------------------------------------------------------------------- */

static gboolean
make_opaque(VarveWriter *writer, VarveDirectory *directory, int fd, GError **error)
{
    directory->dirty = TRUE;
    if (writer->target->whiteouts == VARVE_WHITEOUTS_REMOVE)
        return empty(writer, directory, error);
    if (directory->parent == NULL && writer->target->unsettled != NULL)
        return varve_unsettled_give_up(writer->target->unsettled, error);
    if (directory->parent == NULL)
        return writer->target->parent < 0 || whiteout_below(writer, directory, fd, error);
    return hide_below(writer, directory, fd, error);
}

static gboolean
check_name(const char *name, GError **error)
{
    return (name[0] != '\0' && !g_str_equal(name, ".") && !g_str_equal(name, "..")) ||
           varve_error_set(error, VARVE_ERROR_CORRUPT, "a whiteout of '%s' is not valid", name);
}

/* Aufs kept files in the root's ".wh..wh.plnk" and the like; they are no content. */
static gboolean
is_of_aufs(const VarveWriterPath *path)
{
    static const char meta[] = ".wh..wh.";
    const char *first = path->directory[0] != '\0' ? path->directory : path->name;
    return g_str_has_prefix(first, meta) && !g_str_equal(path->name, OPAQUE);
}

gboolean
varve_writer_whiteout(VarveWriter *writer, const VarveWriterPath *path, GError **error)
{
    if (is_of_aufs(path))
        return TRUE;
    const char *name = path->name + strlen(VARVE_WHITEOUT_PREFIX);
    if (!check_name(name, error))
        return FALSE;
    gboolean make = writer->target->whiteouts == VARVE_WHITEOUTS_OVERLAY;
    VarveDirectory *directory;
    if (!varve_directories_find(writer->directories, path->directory, make, &directory, error))
        return FALSE;
    if (directory == NULL)
        return TRUE; /* nothing there that could be removed */
    int fd = varve_directory_fd(writer->directories, directory, error);
    if (fd < 0)
        return FALSE;
    if (g_str_equal(path->name, OPAQUE))
        return make_opaque(writer, directory, fd, error);
    VarvePlace place = {directory, fd, name};
    return make ? make_whiteout(writer, &place, error) : varve_writer_remove(writer, &place, error);
}
