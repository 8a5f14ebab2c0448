/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/mount.h"
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

/*
 * mount(2): for kernels without the new mount API, for overlayfs before it takes layers one at a
 * time, and for option values that are too long for fsconfig(2).
 */

/* --- making options fit a page ---------------------------------------------------------------- */

/* mount(2) copies at most one page of options and cuts off the rest without a word. */
static gboolean
fits_page(const char *data)
{
    return strlen(data) < (gsize)sysconf(_SC_PAGESIZE);
}

static char *
join(const GPtrArray *options)
{
    GString *data = g_string_new(NULL);
    for (guint i = 0; i < options->len; i++)
        g_string_append_printf(data, "%s%s", i > 0 ? "," : "", (char *)options->pdata[i]);
    return g_string_free(data, FALSE);
}

/* The directories that an option of overlayfs names, or NULL. *key is set to the option's key. */
static GPtrArray *
option_directories(const char *option, const char **key)
{
    static const char *const keys[] = {"lowerdir", "upperdir", "workdir"};
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        const char *value = varve_mount_option_value(option, keys[i]);
        if (value != NULL) {
            *key = keys[i];
            return varve_mount_split_layers(value);
        }
    }
    return NULL;
}

/* The length of the longest "/a/b/" that both begin with; limit is what is known of a already. */
static gsize
common_prefix(const char *a, const char *b, gsize limit)
{
    gsize length = 0;
    for (gsize i = 0; i < limit && a[i] == b[i] && a[i] != '\0'; i++) {
        if (a[i] == '/')
            length = i + 1;
    }
    return length;
}

/* The directory that all directories among the options lie in, with its last slash. Not a relative
 * one, and not one with escapes: those would have to be undone for chdir, and a layer of ours has
 * none. */
static char *
shared_directory(const GPtrArray *options)
{
    g_autofree char *shared = NULL;
    for (guint i = 0; i < options->len; i++) {
        const char *key;
        g_autoptr(GPtrArray) directories = option_directories(options->pdata[i], &key);
        for (guint j = 0; directories != NULL && j < directories->len; j++) {
            const char *directory = directories->pdata[j];
            if (shared == NULL)
                shared = g_strdup(directory);
            shared[common_prefix(shared, directory, strlen(shared))] = '\0';
        }
    }
    gboolean useful = shared != NULL && *shared == '/' && strchr(shared, '\\') == NULL;
    return useful ? g_steal_pointer(&shared) : NULL;
}

/* The options with their directories relative to the one they share. */
static GPtrArray *
relative_options(const GPtrArray *options, const char *shared)
{
    GPtrArray *result = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < options->len; i++) {
        const char *key;
        g_autoptr(GPtrArray) directories = option_directories(options->pdata[i], &key);
        if (directories == NULL) {
            g_ptr_array_add(result, g_strdup(options->pdata[i]));
            continue;
        }
        GString *option = g_string_new(NULL);
        for (guint j = 0; j < directories->len; j++) {
            const char *relative = (char *)directories->pdata[j] + strlen(shared);
            g_string_append_printf(option, "%s%s", j == 0 ? key : "", j == 0 ? "=" : ":");
            g_string_append(option, *relative != '\0' ? relative : ".");
        }
        g_ptr_array_add(result, g_string_free(option, FALSE));
    }
    return result;
}

/* --- mounting --------------------------------------------------------------------------------- */

typedef struct {
    const VarveMount *mount;
    unsigned long flags;
    const char *target, *data;
    const char *directory; /* to work in */
    int errnum;            /* the result */
} Call;

static void
call_mount(Call *call)
{
    const VarveMount *mount_ = call->mount;
    int result = mount(mount_->source, call->target, mount_->type, call->flags, call->data);
    call->errnum = result < 0 ? errno : 0;
}

/* The working directory is one for all threads of a process, so changing it would pull it away
 * under the others. A thread can have one of its own, and can never give it back: hence this one
 * lives for a single call. */
static gpointer
call_in_directory(gpointer data)
{
    Call *call = data;
    if (unshare(CLONE_FS) < 0 || chdir(call->directory) < 0)
        call->errnum = errno;
    else
        call_mount(call);
    return NULL;
}

static gboolean
mount_compacted(Call *call, const GPtrArray *options, GError **error)
{
    g_autofree char *shared = shared_directory(options);
    g_autoptr(GPtrArray) relative = shared != NULL ? relative_options(options, shared) : NULL;
    g_autofree char *data = join(relative != NULL ? relative : options);
    if (!fits_page(data))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the options take %zu bytes, and this kernel takes no more than %ld",
                               strlen(data), sysconf(_SC_PAGESIZE) - 1);
    call->data = data;
    call->directory = shared;
    g_autoptr(GError) why = NULL;
    GThread *thread = g_thread_try_new("varve-mount", call_in_directory, call, &why);
    if (thread == NULL)
        return varve_error_set(error, VARVE_ERROR_UNAVAILABLE, "starting a thread: %s",
                               why->message);
    g_thread_join(thread);
    /* cppcheck-suppress memleak ; joining frees it */
    return call->errnum == 0 || varve_error_set_errno(error, call->errnum, "mount(2)");
}

static gboolean
mount_file_system(const VarveMount *mount, const VarveMountOptions *options, const char *target,
                  GError **error)
{
    g_autofree char *data = join(options->data);
    Call call = {.mount = mount, .flags = options->flags, .target = target, .data = data};
    if (!fits_page(data))
        return mount_compacted(&call, options->data, error);
    call_mount(&call);
    return call.errnum == 0 || varve_error_set_errno(error, call.errnum, "mount(2)");
}

/* The flags that a mount has; a bind remount replaces them all, so those not spoken of must be
 * told again. */
static unsigned long
current_flags(const char *target)
{
    static const struct {
        unsigned long st, ms;
    } map[] = {
        {ST_RDONLY, MS_RDONLY},     {ST_NOSUID, MS_NOSUID},         {ST_NODEV, MS_NODEV},
        {ST_NOEXEC, MS_NOEXEC},     {ST_NODIRATIME, MS_NODIRATIME}, {ST_NOATIME, MS_NOATIME},
        {ST_RELATIME, MS_RELATIME},
    };
    struct statvfs st;
    unsigned long flags = 0;
    if (statvfs(target, &st) < 0)
        return 0;
    for (gsize i = 0; i < G_N_ELEMENTS(map); i++)
        flags |= st.f_flag & map[i].st ? map[i].ms : 0;
    return flags;
}

/* Two steps, since mount(2) takes no flags for a new bind mount: it is seen writable for a moment,
 * and mounts beneath a recursive one stay as they are. The new API does better. */
static gboolean
mount_bind(const VarveMount *mount_, const VarveMountOptions *options, const char *target,
           GError **error)
{
    unsigned long recursive = options->recursive ? MS_REC : 0;
    if (mount(mount_->source, target, NULL, MS_BIND | recursive, NULL) < 0)
        return varve_error_set_errno(error, errno, "mount(2)");
    if (options->flags == 0)
        return TRUE;

    unsigned long atimes = MS_NOATIME | MS_RELATIME | MS_STRICTATIME;
    unsigned long flags = current_flags(target);
    if (options->flags & atimes)
        flags &= ~atimes;
    flags |= options->flags | MS_REMOUNT | MS_BIND;
    if (mount(NULL, target, NULL, flags, NULL) == 0)
        return TRUE;
    varve_error_set_errno(error, errno, "setting the flags of the mount");
    GError *undo_error = NULL;
    if (!varve_mount_detach(target, &undo_error))
        varve_error_log_undo("unmounting what could not be mounted in full", undo_error);
    return FALSE;
}

gboolean
varve_mount_legacy(const VarveMount *mount, const VarveMountOptions *options, int dirfd,
                   const char *target, GError **error)
{
    /* A bind mount is remounted, for which its path has to be walked again. The others may be made
     * from another working directory, where a relative path would lead elsewhere. */
    if (options->bind)
        return mount_bind(mount, options, target, error);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", dirfd);
    return mount_file_system(mount, options, path, error);
}

/* --- mounts that nobody sees ------------------------------------------------------------------ */

typedef struct {
    const VarveMount *mount;
    const VarveMountOptions *options;
    const char *place;
    int root; /* the result, or -1 with the error set */
    GError *error;
} Unseen;

static gboolean
mount_unseen(Unseen *unseen)
{
    const char *place = unseen->place;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return varve_error_set_errno(&unseen->error, errno, "making a mount namespace");
    varve_autofd dir = open(place, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return varve_error_set_errno(&unseen->error, errno, "opening %s", place);
    return varve_mount_legacy(unseen->mount, unseen->options, dir, place, &unseen->error);
}

/* The thread has a mount namespace of its own, which ends with it. The mount is in no other one, so
 * what keeps it alive from then on is its descriptor. */
static gpointer
open_in_namespace(gpointer data)
{
    Unseen *unseen = data;
    unseen->root =
        mount_unseen(unseen) ? varve_fd_open_dir(AT_FDCWD, unseen->place, &unseen->error) : -1;
    return NULL;
}

int
varve_mount_legacy_open(const VarveMount *mount, const VarveMountOptions *options,
                        const char *place, GError **error)
{
    Unseen unseen = {.mount = mount, .options = options, .place = place, .root = -1};
    g_autoptr(GError) why = NULL;
    GThread *thread = g_thread_try_new("varve-mount", open_in_namespace, &unseen, &why);
    if (thread == NULL) {
        varve_error_set(error, VARVE_ERROR_UNAVAILABLE, "starting a thread: %s", why->message);
        return -1;
    }
    g_thread_join(thread);
    if (unseen.error != NULL)
        g_propagate_error(error, unseen.error);
    /* cppcheck-suppress memleak ; joining frees it */
    return unseen.root;
}
