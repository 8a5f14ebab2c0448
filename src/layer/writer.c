/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/writer-internal.h"
#include <string.h>
#include <unistd.h>

/* --- paths ----------------------------------------------------------------------------------- */

static gboolean
refuse(const char *text, const char *reason, GError **error)
{
    g_autofree char *start = g_strndup(text, 200);
    g_autofree char *printable = g_strescape(start, NULL);
    return varve_error_set(error, VARVE_ERROR_CORRUPT, "the path '%s' %s", printable, reason);
}

/* Of a name that is as long as names may be. */
static gboolean
is_long_whiteout(const char *name, gsize length)
{
    return length <= VARVE_WRITER_NAME_MAX && name[length] == '\0' &&
           strncmp(name, VARVE_WHITEOUT_PREFIX, strlen(VARVE_WHITEOUT_PREFIX)) == 0;
}

/* Leaves out slashes too many and ".". */
gboolean
varve_writer_split(const char *text, VarveWriterPath *path, GError **error)
{
    gsize length = 0, last = 0; /* of the path so far; where its last component begins */
    for (const char *at = text; *at != '\0';) {
        gsize n = strcspn(at, "/");
        if (n == 2 && at[0] == '.' && at[1] == '.')
            return refuse(text, "has \"..\" in it", error);
        if (n > NAME_MAX && !is_long_whiteout(at, n))
            return refuse(text, "has a name of more than 255 bytes", error);
        if (n > 0 && !(n == 1 && at[0] == '.')) {
            if (length + n + 2 > sizeof path->directory)
                return refuse(text, "has more than 4095 bytes", error);
            if (length > 0)
                path->directory[length++] = '/';
            last = length;
            memcpy(path->directory + length, at, n);
            length += n;
        }
        at += n;
        at += strspn(at, "/");
    }
    memcpy(path->name, path->directory + last, length - last);
    path->name[length - last] = '\0';
    path->directory[last > 0 ? last - 1 : 0] = '\0';
    return TRUE;
}

/* --- what the layer made --------------------------------------------------------------------- */

/* FNV-1a. The seed is random, and what a collision could do is to keep a file that was to be
 * hidden. */
static guint64
hash(guint64 value, const char *text)
{
    for (; *text != '\0'; text++)
        value = (value ^ (guint8)*text) * G_GUINT64_CONSTANT(0x100000001b3);
    return value;
}

static gboolean
record_path(VarveWriter *writer, const char *directory, const char *name, GError **error)
{
    guint64 key = hash(writer->seed, directory);
    key = hash(key, *directory != '\0' && *name != '\0' ? "/" : "");
    return varve_made_add(writer->made, hash(key, name), error);
}

gboolean
varve_writer_record(VarveWriter *writer, const VarvePlace *place, GError **error)
{
    place->directory->dirty = TRUE;
    if (writer->made == NULL)
        return TRUE;
    g_autofree char *path = varve_directory_path(place->directory);
    if (!record_path(writer, path, place->name, error))
        return FALSE;
    for (VarveDirectory *at = place->directory; at->parent != NULL && !at->recorded;
         at = at->parent) {
        g_autofree char *above = varve_directory_path(at);
        if (!record_path(writer, above, "", error))
            return FALSE;
        at->recorded = TRUE;
    }
    return TRUE;
}

gboolean
varve_writer_has_made(VarveWriter *writer, const char *path, gboolean *has, GError **error)
{
    return varve_made_has(writer->made, hash(writer->seed, path), has, error);
}

gboolean
varve_writer_remove(VarveWriter *writer, const VarvePlace *place, GError **error)
{
    if (unlinkat(place->dirfd, place->name, 0) < 0) {
        if (errno == ENOENT)
            return TRUE;
        if (!varve_tree_remove(place->dirfd, place->name, &writer->target->watch, error))
            return FALSE;
    }
    place->directory->dirty = TRUE;
    varve_directory_drop(writer->directories, place->directory, place->name);
    return TRUE;
}

/* --- entries --------------------------------------------------------------------------------- */

static gboolean
make(VarveWriter *writer, const VarvePlace *place, VarveTar *tar, const VarveTarEntry *entry,
     GError **error)
{
    switch (entry->type) {
    case VARVE_TAR_FILE:
        return varve_writer_make_file(writer, place, tar, entry, error);
    case VARVE_TAR_LINK:
        return varve_writer_make_link(writer, place, entry, error);
    case VARVE_TAR_SYMLINK:
        return varve_writer_make_symlink(writer, place, entry, error);
    case VARVE_TAR_DIRECTORY:
        return varve_writer_make_directory(writer, place, entry, error);
    default:
        return varve_writer_make_node(writer, place, entry, error);
    }
}

/* The root itself is there; its entry says what it must have. */
static gboolean
apply_root(VarveWriter *writer, const VarveTarEntry *entry, GError **error)
{
    VarveDirectory *root;
    if (entry->type != VARVE_TAR_DIRECTORY)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "the root is no directory there");
    if (!varve_directories_find(writer->directories, "", TRUE, &root, error))
        return FALSE;
    VarvePlace place = {root, varve_directory_fd(writer->directories, root, error), "."};
    return varve_writer_set_directory(writer, &place, root, entry, TRUE, error);
}

static gboolean
add(VarveWriter *writer, VarveTar *tar, const VarveTarEntry *entry, GError **error)
{
    VarveWriterPath path;
    if (!varve_check_cancelled(writer->target->watch.cancelled, error) ||
        !varve_directories_trim(writer->directories, error) ||
        !varve_writer_split(entry->name, &path, error))
        return FALSE;
    if (g_str_has_prefix(path.name, VARVE_WHITEOUT_PREFIX) ||
        g_str_has_prefix(path.directory, ".wh..wh."))
        return varve_writer_whiteout(writer, &path, error);
    if (path.name[0] == '\0')
        return apply_root(writer, entry, error);

    VarvePlace place = {.name = path.name};
    if (!varve_directories_find(writer->directories, path.directory, TRUE, &place.directory, error))
        return FALSE;
    if (place.directory->path_length + strlen(path.name) + 1 > PATH_MAX)
        return varve_error_set_errno(error, ENAMETOOLONG, "making it");
    place.dirfd = varve_directory_fd(writer->directories, place.directory, error);
    return place.dirfd >= 0 && make(writer, &place, tar, entry, error) &&
           varve_writer_record(writer, &place, error);
}

gboolean
varve_writer_add(VarveWriter *writer, VarveTar *tar, const VarveTarEntry *entry, GError **error)
{
    GError *failed = NULL;
    if (add(writer, tar, entry, &failed))
        return TRUE;
    g_autofree char *start = g_strndup(entry->name, 200);
    g_autofree char *printable = g_strescape(start, NULL);
    g_propagate_prefixed_error(error, failed, "unpacking '%s': ", printable);
    return FALSE;
}

gboolean
varve_writer_finish(VarveWriter *writer, GError **error)
{
    return varve_directories_finish(writer->directories, error);
}

guint64
varve_writer_xattrs_dropped(const VarveWriter *writer)
{
    return writer->xattrs_dropped;
}

VarveWriter *
varve_writer_new(const VarveLayerTarget *target, gboolean exact_modes, GError **error)
{
    g_autoptr(VarveWriter) writer = g_new0(VarveWriter, 1);
    writer->target = target;
    writer->exact_modes = exact_modes;
    writer->uid = geteuid();
    writer->gid = getegid();
    writer->directories = varve_directories_new(target, error);
    if (writer->directories == NULL)
        return NULL;
    if (target->whiteouts == VARVE_WHITEOUTS_REMOVE && !target->fresh) {
        writer->made = varve_made_new(target->root);
        writer->seed = (guint64)g_random_int() << 32 | g_random_int();
    }
    return g_steal_pointer(&writer);
}

void
varve_writer_free(VarveWriter *writer)
{
    if (writer == NULL)
        return;
    g_clear_pointer(&writer->made, varve_made_free);
    varve_directories_free(writer->directories);
    g_free(writer);
}
