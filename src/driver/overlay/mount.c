/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "driver/folder.h"
#include "driver/overlay/overlay.h"
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

/* --- options that all mounts of this process have --------------------------------------------- */

/* Whether the kernel knows an option: then its module has a parameter of that name. */
static gboolean
knows_parameter(const char *name)
{
    g_autofree char *path = g_strconcat("/sys/module/overlay/parameters/", name, NULL);
    return access(path, F_OK) == 0;
}

/* In a user namespace overlayfs cannot keep its notes in trusted xattrs. The initial one maps all
 * 32 bit ids onto themselves (user_namespaces(7)). */
static gboolean
in_user_namespace(void)
{
    g_autofree char *map = NULL;
    guint64 inside, outside, count;
    if (!g_file_get_contents("/proc/self/uid_map", &map, NULL, NULL))
        return FALSE; /* a kernel without user namespaces */
    char *at = map;
    inside = g_ascii_strtoull(at, &at, 10);
    outside = g_ascii_strtoull(at, &at, 10);
    count = g_ascii_strtoull(at, &at, 10);
    return inside != 0 || outside != 0 || count != G_MAXUINT32;
}

char **
varve_overlay_common_options(void)
{
    g_autoptr(GStrvBuilder) options = g_strv_builder_new();
    /* Parameters show once the module is loaded, which asking for the file system does. */
    int context = fsopen("overlay", FSOPEN_CLOEXEC);
    varve_fd_clear(&context);
    /* index=on, which a kernel may have as its default, refuses layers that were moved or copied;
     * ours may be. */
    if (knows_parameter("index"))
        g_strv_builder_add(options, "index=off");
    /* Without redirects a directory of a lower layer cannot be renamed (EXDEV), and not every
     * program falls back to copying it. Notes in user xattrs are not trusted with them. */
    if (in_user_namespace())
        g_strv_builder_add(options, "userxattr");
    else if (knows_parameter("redirect_dir"))
        g_strv_builder_add(options, "redirect_dir=on");
    return g_strv_builder_end(options);
}

/* --- mounts ----------------------------------------------------------------------------------- */

static char *
layer_path(const char *path, const char *folder, guint64 id)
{
    return g_strdup_printf("%s/%s/%s", path, folder, varve_folder_path(id).text);
}

static VarveMount *
bind_mount(const char *path, guint64 id, gboolean writable)
{
    g_autofree char *source = layer_path(path, "fs", id);
    const char *const options[] = {writable ? "rw" : "ro", "rbind", NULL};
    return varve_mount_new("bind", source, options);
}

/* The nearest parent comes first: overlayfs stacks from right to left. */
static char *
lowerdir_option(const char *path, const VarveDriverSnapshot *snapshot)
{
    GString *option = g_string_new("lowerdir=");
    for (gsize i = 0; i < snapshot->n_parents; i++)
        g_string_append_printf(option, "%s%s/fs/%s", i > 0 ? ":" : "", path,
                               varve_folder_path(snapshot->parents[i]).text);
    return g_string_free(option, FALSE);
}

static VarveMount *
overlay_mount(char **common_options, const char *path, const VarveDriverSnapshot *snapshot)
{
    g_autoptr(GPtrArray) options = g_ptr_array_new_with_free_func(g_free);
    if (snapshot->kind == VARVE_KIND_ACTIVE) {
        g_autofree char *work = layer_path(path, "work", snapshot->id);
        g_autofree char *upper = layer_path(path, "fs", snapshot->id);
        g_ptr_array_add(options, g_strconcat("workdir=", work, NULL));
        g_ptr_array_add(options, g_strconcat("upperdir=", upper, NULL));
        /* Otherwise overlayfs syncs each file that it copies up. */
        if (snapshot->relaxed)
            g_ptr_array_add(options, g_strdup("volatile"));
    }
    g_ptr_array_add(options, lowerdir_option(path, snapshot));
    for (char **option = common_options; *option != NULL; option++)
        g_ptr_array_add(options, g_strdup(*option));
    g_ptr_array_add(options, NULL);
    return varve_mount_new("overlay", "overlay", (const char *const *)options->pdata);
}

VarveMount *
varve_overlay_mount(char **common_options, const char *path, const VarveDriverSnapshot *snapshot)
{
    gboolean active = snapshot->kind == VARVE_KIND_ACTIVE;
    if (snapshot->n_parents == 0)
        return bind_mount(path, snapshot->id, active);
    if (!active && snapshot->n_parents == 1)
        return bind_mount(path, snapshot->parents[0], FALSE); /* overlayfs wants two layers */
    return overlay_mount(common_options, path, snapshot);
}

gboolean
varve_overlay_check_path(const char *path, GError **error)
{
    const char *bad = strpbrk(path, ":,\\");
    if (bad == NULL)
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "the path '%s' has a '%c' in it, which separates overlayfs's options",
                           path, *bad);
}
