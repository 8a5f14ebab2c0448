/* SPDX-License-Identifier: Apache-2.0 */
#include "image/mounts.h"
#include "base/fd.h"
#include "base/listing.h"
#include "base/mount.h"
#include <string.h>

/* --- what is taken --------------------------------------------------------------------------- */

static gboolean
is_bind(const VarveMount *mount)
{
    g_auto(VarveMountOptions) options;
    varve_mount_options_parse(mount, &options);
    return options.bind;
}

static gboolean
check_absolute(const char *what, const char *path, GError **error)
{
    return *path == '/' ||
           varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "the mount's %s '%s' is not an absolute path", what, path);
}

/* overlayfs's option of that key, or NULL; the last one holds. */
static const char *
option_of(const VarveMount *mount, const char *key)
{
    const char *found = NULL;
    for (char **option = mount->options; *option != NULL; option++) {
        const char *value = varve_mount_option_value(*option, key);
        found = value != NULL ? value : found;
    }
    return found;
}

static gboolean
check_overlay(const VarveMount *mount, GError **error)
{
    const char *lower = option_of(mount, "lowerdir"), *upper = option_of(mount, "upperdir");
    if (lower == NULL)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the overlay mount has no lowerdir");
    if (upper != NULL && !check_absolute("upperdir", upper, error))
        return FALSE;
    g_autoptr(GPtrArray) layers = varve_mount_split_layers(lower);
    for (guint i = 0; i < layers->len; i++) {
        const char *layer = layers->pdata[i];
        if (*layer != '\0' && !check_absolute("lowerdir", layer, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
check_type(const VarveMount *mount, GError **error)
{
    if (is_bind(mount))
        return check_absolute("source", mount->source, error);
    if (g_str_equal(mount->type, "overlay"))
        return check_overlay(mount, error);
    return g_str_equal(mount->type, "btrfs") || g_str_equal(mount->type, "zfs") ||
           varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                           "mounts of type '%s' are not supported: only bind, overlay, btrfs and "
                           "zfs are",
                           mount->type);
}

static const VarveMount *
only_mount(VarveMount *const *mounts, GError **error)
{
    if (mounts[0] == NULL) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "there is no mount");
        return NULL;
    }
    if (mounts[1] != NULL) {
        varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                        "several mounts on top of each other are not supported");
        return NULL;
    }
    return check_type(mounts[0], error) ? mounts[0] : NULL;
}

/* --- overlayfs's options ---------------------------------------------------------------------- */

static gboolean
is_option(const char *option, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (g_str_equal(option, *names) || varve_mount_option_value(option, *names) != NULL)
            return TRUE;
    }
    return FALSE;
}

/* Leaves a note behind that keeps the next mount from being made. */
static const char *const of_volatile[] = {"volatile", NULL};

/* Those that speak of the upper directory, and which are the lower ones. */
static const char *const of_layers[] = {"upperdir", "workdir", "volatile", "rw", "lowerdir", NULL};

/* The mount with some options left out and one, which may be NULL, added. */
static VarveMount *
change_options(const VarveMount *mount, const char *const *without, char *added)
{
    g_autoptr(GPtrArray) options = g_ptr_array_new();
    for (char **option = mount->options; *option != NULL; option++) {
        if (!is_option(*option, without))
            g_ptr_array_add(options, *option);
    }
    g_ptr_array_add(options, added);
    g_ptr_array_add(options, NULL);
    return varve_mount_new(mount->type, mount->source, (const char *const *)options->pdata);
}

/* A mount of the directories of lowerdir alone, with the other options as they were. */
static VarveMount *
lower_mount(const VarveMount *mount, const char *lower)
{
    g_autofree char *lowerdir = g_strconcat("lowerdir=", lower, NULL);
    return change_options(mount, of_layers, lowerdir);
}

/* overlayfs wants two directories; one alone shows itself. */
static int
open_lower(VarveEngine *engine, const VarveMount *mount, const char *lower, GError **error)
{
    g_autoptr(GPtrArray) layers = varve_mount_split_layers(lower);
    if (layers->len == 1) {
        g_autofree char *path = varve_mount_unescape(layers->pdata[0]);
        int fd = varve_fd_open_dir(AT_FDCWD, path, error);
        if (fd < 0)
            g_prefix_error(error, "opening the layer %s: ", path);
        return fd;
    }
    g_autoptr(VarveMount) lowers = lower_mount(mount, lower);
    return varve_mount_open(lowers, engine->root, error);
}

/* --- to write to ----------------------------------------------------------------------------- */

static gboolean
is_empty(int dirfd, gboolean *empty, GError **error)
{
    varve_autofd fd = varve_fd_open_dir(dirfd, ".", error);
    if (fd < 0)
        return FALSE;
    g_autoptr(VarveListing) names = varve_listing_read(fd);
    if (names == NULL)
        return varve_error_set_errno(error, errno, "reading the snapshot's root directory");
    *empty = varve_listing_length(names) == 0;
    return TRUE;
}

/* Whether what stands in the upper directory is what the mount would make of it. userxattr, for
 * one, has overlayfs look for its notes elsewhere. */
static gboolean
is_plain_overlay(const VarveMount *mount)
{
    static const char *const harmless[] = {
        "lowerdir", "upperdir",     "workdir",        "rw", "volatile", "index=off", "metacopy=off",
        "xino",     "redirect_dir", "nfs_export=off", NULL,
    };
    for (char **option = mount->options; *option != NULL; option++) {
        if (!is_option(*option, harmless) || strchr(*option, '\\') != NULL)
            return FALSE;
    }
    return option_of(mount, "upperdir") != NULL &&
           strstr(option_of(mount, "lowerdir"), "::") == NULL; /* data-only layers */
}

/* *taken: it is the way to go. */
static gboolean
open_upper(VarveEngine *engine, const VarveMount *mount, VarvePlace *place, gboolean *taken,
           GError **error)
{
    const char *path = option_of(mount, "upperdir");
    varve_autofd upper = varve_fd_open_dir(AT_FDCWD, path, error);
    if (upper < 0 || !is_empty(upper, taken, error)) {
        g_prefix_error(error, "opening the upper directory %s: ", path);
        return FALSE;
    }
    if (!*taken)
        return TRUE;
    place->below = open_lower(engine, mount, option_of(mount, "lowerdir"), error);
    place->root = upper;
    place->layer = place->empty = TRUE;
    upper = -1;
    return place->below >= 0;
}

static gboolean
open_place(VarveEngine *engine, const VarveMount *mount, VarvePlace *place, GError **error)
{
    gboolean taken = FALSE, overlay = !is_bind(mount) && g_str_equal(mount->type, "overlay");
    if (overlay && is_plain_overlay(mount) && !open_upper(engine, mount, place, &taken, error))
        return FALSE;
    if (taken)
        return TRUE;
    g_autoptr(VarveMount) own = change_options(mount, of_volatile, NULL);
    place->root = varve_mount_open(own, engine->root, error);
    return place->root >= 0 && is_empty(place->root, &place->empty, error);
}

gboolean
varve_mounts_open_place(VarveEngine *engine, VarveMount *const *mounts, VarvePlace *place,
                        GError **error)
{
    g_auto(VarvePlace) opened = VARVE_PLACE_INIT;
    const VarveMount *mount = only_mount(mounts, error);
    if (mount == NULL || !open_place(engine, mount, &opened, error))
        return FALSE;
    *place = opened;
    opened = (VarvePlace)VARVE_PLACE_INIT;
    return TRUE;
}

/* --- to read --------------------------------------------------------------------------------- */

/* The directories of an overlay mount, the upper one among them: overlayfs takes that as a lower
 * one while another mount, of a running container perhaps, has it as its upper one. */
static char *
all_layers(const VarveMount *mount)
{
    const char *upper = option_of(mount, "upperdir"), *lower = option_of(mount, "lowerdir");
    if (upper == NULL)
        return g_strdup(lower);
    GString *layers = g_string_new(NULL);
    for (const char *at = upper; *at != '\0'; at++) {
        if (*at == ':')
            g_string_append_c(layers, '\\');
        g_string_append_c(layers, *at);
        if (*at == '\\' && at[1] != '\0')
            g_string_append_c(layers, *++at);
    }
    g_string_append_printf(layers, ":%s", lower);
    return g_string_free(layers, FALSE);
}

static VarveMount *
read_only(const VarveMount *mount)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    g_strv_builder_addv(builder, (const char **)mount->options);
    g_strv_builder_add(builder, "ro");
    g_auto(GStrv) options = g_strv_builder_end(builder);
    return varve_mount_new(mount->type, mount->source, (const char *const *)options);
}

/* zfs has one superblock for all mounts of a dataset, which would have to be read-only too. */
int
varve_mounts_open_tree(VarveEngine *engine, VarveMount *const *mounts, GError **error)
{
    const VarveMount *mount = only_mount(mounts, error);
    if (mount == NULL)
        return -1;
    gboolean bind = is_bind(mount);
    if (!bind && g_str_equal(mount->type, "overlay")) {
        g_autofree char *layers = all_layers(mount);
        return open_lower(engine, mount, layers, error);
    }
    if (!bind && g_str_equal(mount->type, "zfs"))
        return varve_mount_open(mount, engine->root, error);
    g_autoptr(VarveMount) own = read_only(mount);
    return varve_mount_open(own, engine->root, error);
}
