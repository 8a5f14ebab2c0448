/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mount.h"
#include "base/fd.h"
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

/* fsconfig(2) takes strings of up to 256 bytes, with the terminating NUL. */
#define FSCONFIG_MAX 255

static gint always_legacy;

void
varve_mount_use_legacy(gboolean legacy)
{
    g_atomic_int_set(&always_legacy, legacy);
}

VarveMount *
varve_mount_new(const char *type, const char *source, const char *const *options)
{
    static const char *const none[] = {NULL};
    VarveMount *mount = g_new0(VarveMount, 1);
    mount->type = g_strdup(type);
    mount->source = g_strdup(source);
    mount->options = g_strdupv((char **)(options != NULL ? options : none));
    return mount;
}

void
varve_mount_free(VarveMount *mount)
{
    if (mount == NULL)
        return;
    g_free(mount->type);
    g_free(mount->source);
    g_strfreev(mount->options);
    g_free(mount);
}

/* --- a file system context (fsopen) ----------------------------------------------------------- */

/* What the kernel had to say on the context: lines of a letter (e, w or i), a blank and the text,
 * one per read. NULL when it said nothing. */
static char *
read_context_log(int context)
{
    GString *text = NULL;
    char line[512];
    for (ssize_t n; (n = read(context, line, sizeof line - 1)) > 0;) {
        line[n] = '\0';
        if (*line != 'e' || n < 3)
            continue;
        if (text == NULL)
            text = g_string_new(NULL);
        g_string_append_printf(text, "%s%s", text->len > 0 ? "; " : "", g_strstrip(line + 2));
    }
    return text != NULL ? g_string_free(text, FALSE) : NULL;
}

static gboolean
context_error(int context, int errnum, const char *doing, GError **error)
{
    g_autofree char *text = read_context_log(context);
    if (text == NULL)
        return varve_error_set_errno(error, errnum, "%s", doing);
    return varve_error_set_errno(error, errnum, "%s: %s", doing, text);
}

static gboolean
set_string(int context, const char *key, const char *value, GError **error)
{
    if (fsconfig(context, FSCONFIG_SET_STRING, key, value, 0) == 0)
        return TRUE;
    int errnum = errno;
    g_autofree char *doing = g_strdup_printf("setting %s to '%s'", key, value);
    return context_error(context, errnum, doing, error);
}

static gboolean
set_flag(int context, const char *name, GError **error)
{
    if (fsconfig(context, FSCONFIG_SET_FLAG, name, NULL, 0) == 0)
        return TRUE;
    int errnum = errno;
    g_autofree char *doing = g_strdup_printf("setting %s", name);
    return context_error(context, errnum, doing, error);
}

/* Hands overlayfs its layers one at a time, so that their number has no limit but overlayfs's own.
 */
static gboolean
set_layers(int context, const char *value, GError **error)
{
    g_autoptr(GPtrArray) layers = varve_mount_split_layers(value);
    for (guint i = 0; i < layers->len; i++) {
        g_autofree char *path = varve_mount_unescape(layers->pdata[i]);
        if (!set_string(context, "lowerdir+", path, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
set_option(int context, const VarveMount *mount, const char *option, GError **error)
{
    const char *layers = varve_mount_option_value(option, "lowerdir");
    if (layers != NULL && g_str_equal(mount->type, "overlay"))
        return set_layers(context, layers, error);

    const char *equals = strchr(option, '=');
    if (equals == NULL)
        return set_flag(context, option, error);
    g_autofree char *key = g_strndup(option, (gsize)(equals - option));
    return set_string(context, key, equals + 1, error);
}

static gboolean
configure(int context, const VarveMount *mount, const VarveMountOptions *options, GError **error)
{
    if (*mount->source != '\0' && !set_string(context, "source", mount->source, error))
        return FALSE;
    /* btrfs has one superblock for all subvolumes, each of which may be mounted read-only or not:
     * there, "ro" is a matter of the mount alone. Elsewhere it is of both, as with mount(2). */
    gboolean shared_super = g_str_equal(mount->type, "btrfs");
    for (guint i = 0; i < options->super->len; i++) {
        const char *name = options->super->pdata[i];
        gboolean access = g_str_equal(name, "ro") || g_str_equal(name, "rw");
        if (!(access && shared_super) && !set_flag(context, name, error))
            return FALSE;
    }
    for (guint i = 0; i < options->data->len; i++) {
        if (!set_option(context, mount, options->data->pdata[i], error))
            return FALSE;
    }
    return TRUE;
}

/* Returns a detached mount. *missing is set, and the error is not, when the kernel (or a seccomp
 * filter: then EPERM) does not let us have the API. */
static int
make_mount(const VarveMount *mount, const VarveMountOptions *options, gboolean *missing,
           GError **error)
{
    varve_autofd context = fsopen(mount->type, FSOPEN_CLOEXEC);
    if (context < 0 && (errno == ENOSYS || errno == EPERM)) {
        *missing = TRUE;
        return -1;
    }
    if (context < 0) {
        if (errno == ENODEV)
            varve_error_set(error, VARVE_ERROR_NOT_FOUND,
                            "the kernel has no file system of type '%s'", mount->type);
        else
            varve_error_set_errno(error, errno, "opening a context for %s", mount->type);
        return -1;
    }
    if (!configure(context, mount, options, error))
        return -1;
    if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
        context_error(context, errno, "opening the file system", error);
        return -1;
    }
    int fd = fsmount(context, FSMOUNT_CLOEXEC, (unsigned int)options->attributes);
    if (fd < 0)
        context_error(context, errno, "making the mount", error);
    return fd;
}

/* --- bind mounts ------------------------------------------------------------------------------ */

/* Returns a detached copy of the source's mount, and of those beneath it if recursive, with its
 * attributes set before anybody can see it. *missing as above. */
static int
clone_mount(const VarveMount *mount, const VarveMountOptions *options, gboolean *missing,
            GError **error)
{
    unsigned int recursive = options->recursive ? AT_RECURSIVE : 0;
    varve_autofd fd =
        open_tree(AT_FDCWD, mount->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);
    if (fd < 0) {
        *missing = errno == ENOSYS || errno == EPERM;
        if (!*missing)
            varve_error_set_errno(error, errno, "cloning %s", mount->source);
        return -1;
    }
    struct mount_attr attributes = {.attr_set = options->attributes};
    if (options->flags & (MS_NOATIME | MS_RELATIME | MS_STRICTATIME))
        attributes.attr_clr = MOUNT_ATTR__ATIME;
    if ((attributes.attr_set | attributes.attr_clr) != 0 &&
        mount_setattr(fd, "", AT_EMPTY_PATH | recursive, &attributes, sizeof attributes) < 0) {
        *missing = errno == ENOSYS;
        if (!*missing)
            varve_error_set_errno(error, errno, "setting the attributes of the mount of %s",
                                  mount->source);
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

/* --- choosing --------------------------------------------------------------------------------- */

/* Whether overlayfs takes its layers one at a time ("lowerdir+", Linux 6.7). One that knows only
 * mount(2)'s strings (before 6.5) takes any key for good until the mount is made, so it is asked
 * with a wrong one too. */
static gboolean
overlay_takes_layers(void)
{
    static gsize answer;
    if (g_once_init_enter(&answer)) {
        varve_autofd context = fsopen("overlay", FSOPEN_CLOEXEC);
        gboolean yes = context >= 0 &&
                       fsconfig(context, FSCONFIG_SET_FLAG, "varve-no-such-key", NULL, 0) < 0 &&
                       fsconfig(context, FSCONFIG_SET_STRING, "lowerdir+", "/", 0) == 0;
        g_once_init_leave(&answer, yes ? 2 : 1);
    }
    return answer == 2;
}

static gboolean
layers_fit(const char *value)
{
    g_autoptr(GPtrArray) layers = varve_mount_split_layers(value);
    for (guint i = 0; i < layers->len; i++) {
        /* An empty one marks data-only layers, which are not layers to add. */
        gsize length = strlen(layers->pdata[i]);
        if (length == 0 || length > FSCONFIG_MAX)
            return FALSE;
    }
    return overlay_takes_layers();
}

/* Whether the new API can be told all of this. */
static gboolean
fits_context(const VarveMount *mount, const VarveMountOptions *options)
{
    if (options->bind)
        return TRUE;
    for (guint i = 0; i < options->data->len; i++) {
        const char *option = options->data->pdata[i], *value = strchr(option, '=');
        const char *layers = varve_mount_option_value(option, "lowerdir");
        if (layers != NULL && g_str_equal(mount->type, "overlay")) {
            if (!layers_fit(layers))
                return FALSE;
        } else if (value != NULL && strlen(value + 1) > FSCONFIG_MAX) {
            return FALSE;
        }
    }
    return strlen(mount->source) <= FSCONFIG_MAX;
}

/* Returns a detached mount. *missing is set, and the error is not, when mount(2) has to do it. */
static int
detached_mount(const VarveMount *mount, const VarveMountOptions *options, gboolean *missing,
               GError **error)
{
    *missing = g_atomic_int_get(&always_legacy) || !fits_context(mount, options);
    if (*missing)
        return -1;
    return options->bind ? clone_mount(mount, options, missing, error)
                         : make_mount(mount, options, missing, error);
}

static gboolean
attach(const VarveMount *mount, const char *target, GError **error)
{
    varve_autofd dir = open(target, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return varve_error_set_errno(error, errno, "opening the mount point");

    g_auto(VarveMountOptions) options;
    varve_mount_options_parse(mount, &options);
    gboolean missing;
    varve_autofd fd = detached_mount(mount, &options, &missing, error);
    if (missing)
        return varve_mount_legacy(mount, &options, dir, target, error);
    if (fd < 0)
        return FALSE;
    if (move_mount(fd, "", dir, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        return varve_error_set_errno(error, errno, "attaching the mount");
    return TRUE;
}

gboolean
varve_mount_attach(const VarveMount *mount, const char *target, GError **error)
{
    if (attach(mount, target, error))
        return TRUE;
    g_prefix_error(error, "mounting %s '%s' on %s: ", mount->type, mount->source, target);
    return FALSE;
}

/* The new API's mount ends with its last descriptor, as one does that was unmounted lazily. */
static int
open_unseen(const VarveMount *mount, const char *place, GError **error)
{
    g_auto(VarveMountOptions) options;
    varve_mount_options_parse(mount, &options);
    gboolean missing;
    varve_autofd fd = detached_mount(mount, &options, &missing, error);
    if (missing)
        return varve_mount_legacy_open(mount, &options, place, error);
    return fd < 0 ? -1 : varve_fd_open_dir(fd, ".", error);
}

int
varve_mount_open(const VarveMount *mount, const char *place, GError **error)
{
    int root = open_unseen(mount, place, error);
    if (root < 0)
        g_prefix_error(error, "mounting %s '%s': ", mount->type, mount->source);
    return root;
}

gboolean
varve_mount_detach(const char *target, GError **error)
{
    if (umount2(target, UMOUNT_NOFOLLOW) == 0)
        return TRUE;
    switch (errno) {
    case EBUSY:
        return varve_error_set(error, VARVE_ERROR_BUSY,
                               "unmounting %s: it is in use; end the processes that work in it "
                               "(fuser -vm %s lists them) and unmount what is mounted beneath it",
                               target, target);
    case EINVAL:
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "unmounting %s: it is not a mount point", target);
    default:
        return varve_error_set_errno(error, errno, "unmounting %s", target);
    }
}
