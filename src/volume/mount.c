/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mount.h"
#include "snapshot/place.h"
#include "volume/internal.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Mounting and unmounting one volume. What the table of mounts says is looked at each time: another
 * process, or the administrator, may have done something. */

#define PATIENCE (3 * G_USEC_PER_SEC)
#define INTERVAL (G_USEC_PER_SEC / 20)
#define MAX_DEEP 16 /* mounts on top of each other */

/* The mount at a place; NULL without an error: there is none. */
static VarveMountEntry *
look_at(const char *place, GError **error)
{
    gboolean mounted;
    if (!varve_mount_is_point(place, &mounted, error) || !mounted)
        return NULL;
    g_autoptr(GPtrArray) table = varve_mount_table_read("self", error);
    const VarveMountEntry *entry = table != NULL ? varve_mount_table_find(table, place) : NULL;
    return entry != NULL ? varve_mount_entry_copy(entry) : NULL;
}

/* The same, but for an overlay with no more than its place and whether it is read-only: reading the
 * table takes as long as all that is mounted, and a host that starts looks at each volume. */
static VarveMountEntry *
look_briefly(const VarveMount *mount, const char *place, GError **error)
{
    gboolean mounted;
    struct statvfs st;
    if (g_str_equal(mount->type, "overlay"))
        return look_at(place, error);
    if (!varve_mount_is_point(place, &mounted, error) || !mounted)
        return NULL;
    if (statvfs(place, &st) < 0) {
        varve_error_set_errno(error, errno, "looking at %s", place);
        return NULL;
    }
    VarveMountEntry *entry = g_new0(VarveMountEntry, 1);
    entry->point = g_strdup(place);
    entry->read_only = (st.f_flag & ST_RDONLY) != 0;
    return entry;
}

static VarveMount *
how_mounted(VarveVolumes *volumes, const VarveVolumeInfo *info, GError **error)
{
    VarveMount *mount = NULL;
    VarvePool *pool = varve_engine_get_pool(volumes->engine, info->provider, error);
    if (pool == NULL)
        return NULL;
    if (info->snapshot)
        return varve_snapshot_tree_mount(pool, info->key, error);
    return varve_snapshot_mounts(pool, info->key, &mount, error) ? mount : NULL;
}

/* --- what is mounted there already ------------------------------------------------------------ */

/* The directory that stands for an overlay: the one it writes to, else its topmost layer. */
static char *
first_layer(const VarveMount *mount)
{
    char *lower = NULL;
    for (char **option = mount->options; *option != NULL; option++) {
        const char *upper = varve_mount_option_value(*option, "upperdir");
        const char *layers = varve_mount_option_value(*option, "lowerdir");
        if (upper != NULL) {
            g_free(lower);
            return g_strdup(upper);
        }
        if (layers != NULL)
            lower = g_strndup(layers, strcspn(layers, ":"));
    }
    return lower;
}

/* The kernel tells of layers as it was told of them: in one option, or each in its own, and perhaps
 * by the end of their paths. */
static gboolean
is_overlay_of(const VarveMountEntry *entry, const VarveMount *mount)
{
    g_autofree char *expected = first_layer(mount);
    g_autofree char *upper = varve_mount_entry_option(entry, "upperdir");
    g_autofree char *lower = varve_mount_entry_option(entry, "lowerdir");
    g_autofree char *added = varve_mount_entry_option(entry, "lowerdir+");
    const char *found = upper != NULL ? upper : lower != NULL ? lower : added;
    if (expected == NULL || found == NULL)
        return FALSE;
    g_autofree char *first = g_strndup(found, strcspn(found, ":"));
    g_autofree char *end = g_strconcat("/", first, NULL);
    return g_str_equal(expected, first) || (*first != '/' && g_str_has_suffix(expected, end));
}

/* Others are the same when they show the same directory. */
static gboolean
is_mount_of(const VarveMountEntry *entry, const VarveMount *mount, gboolean *same, GError **error)
{
    struct stat here, there;
    *same = FALSE;
    if (g_str_equal(mount->type, "overlay")) {
        *same = is_overlay_of(entry, mount);
        return TRUE;
    }
    varve_autofd fd = varve_mount_open(mount, "/", error);
    if (fd < 0)
        return FALSE;
    if (fstat(fd, &there) < 0 || lstat(entry->point, &here) < 0)
        return varve_error_set_errno(error, errno, "looking at %s", entry->point);
    *same = here.st_dev == there.st_dev && here.st_ino == there.st_ino;
    return TRUE;
}

gboolean
varve_volume_set_read_only(const VarveVolumeInfo *info, gboolean read_only, GError **error)
{
    struct mount_attr attributes = {0};
    *(read_only ? &attributes.attr_set : &attributes.attr_clr) = MOUNT_ATTR_RDONLY;
    if (mount_setattr(AT_FDCWD, info->path, AT_SYMLINK_NOFOLLOW, &attributes, sizeof attributes) ==
        0)
        return TRUE;
    if (errno == EBUSY)
        return varve_error_set(error, VARVE_ERROR_BUSY,
                               "it cannot be frozen: a file in it is open for writing (fuser -vm "
                               "%s lists who uses it)",
                               info->path);
    return varve_error_set_errno(error, errno, "making %s %s", info->path,
                                 read_only ? "read-only" : "writable");
}

/* Uses what is mounted at its place if that is it, and else takes it away. *done: it was it. */
static gboolean
use_again(const VarveVolumeInfo *info, const VarveMount *mount, gboolean *done, GError **error)
{
    *done = FALSE;
    for (int i = 0; i < MAX_DEEP && !*done; i++) {
        g_autoptr(GError) failure = NULL;
        g_autoptr(VarveMountEntry) entry = look_briefly(mount, info->path, &failure);
        if (failure != NULL) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return FALSE;
        }
        if (entry == NULL)
            return TRUE;
        if (!is_mount_of(entry, mount, done, error))
            return FALSE;
        /* One that died while the volume was frozen left it so. */
        if (*done)
            return info->snapshot || !entry->read_only ||
                   varve_volume_set_read_only(info, FALSE, error);
        if (!varve_mount_detach(info->path, error)) {
            g_prefix_error(error, "something else is mounted there: ");
            return FALSE;
        }
    }
    return TRUE;
}

/* --- mounting --------------------------------------------------------------------------------- */

/* Not opened: what is mounted there already is not ours to change. */
static gboolean
make_place(VarveVolumes *volumes, const char *id, GError **error)
{
    varve_autofd folder = varve_volumes_open_folder(volumes, error);
    return folder >= 0 &&
           (mkdirat(folder, id, 0700) == 0 || errno == EEXIST ||
            varve_error_set_errno(error, errno, "making directory %s/%s", volumes->path, id));
}

void
varve_volume_remove_place(VarveVolumes *volumes, const char *id)
{
    varve_autofd folder = varve_volumes_open_folder(volumes, NULL);
    if (folder >= 0)
        (void)unlinkat(folder, id, AT_REMOVEDIR); /* what stays is removed by mount_all */
}

/* A limit is set each time: whoever made the volume may have died before. */
static gboolean
set_limit(VarveVolumes *volumes, const VarveVolumeInfo *info, GError **error)
{
    if (info->snapshot || info->size == 0)
        return TRUE;
    VarvePool *pool = varve_engine_get_pool(volumes->engine, info->provider, error);
    return pool != NULL && varve_snapshot_limit(pool, info->key, info->size, error);
}

gboolean
varve_volume_attach(VarveVolumes *volumes, const VarveVolumeInfo *info, GError **error)
{
    gboolean done;
    g_autoptr(VarveMount) mount = how_mounted(volumes, info, error);
    return mount != NULL && make_place(volumes, info->id, error) &&
           use_again(info, mount, &done, error) &&
           (done ||
            (set_limit(volumes, info, error) && varve_mount_attach(mount, info->path, error)));
}

VarveVolumeInfo *
varve_volume_present(VarveVolumes *volumes, const char *id, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(VarveVolumeInfo) made = varve_volume_get(volumes, id, error);
    if (made == NULL)
        return NULL;
    if (!made->unattended && !varve_volume_attach(volumes, made, &failure))
        varve_log(VARVE_LOG_WARNING, "snapshot was made, but cannot be mounted", "volume", id,
                  "error", failure->message, NULL);
    return varve_volumes_inspect(volumes, id, error);
}

static gboolean
attach_at(const VarveVolumeInfo *info, const char *directory, GError **error)
{
    const char *const options[] = {"rbind", info->snapshot ? "ro" : "rw", NULL};
    g_autoptr(VarveMount) mount = varve_mount_new("bind", info->path, options);
    return varve_mount_attach(mount, directory, error);
}

gboolean
varve_volumes_mount(VarveVolumes *volumes, const char *id, const char *directory, GError **error)
{
    gboolean ok = FALSE;
    g_autoptr(VarveVolumeInfo) info = NULL;
    varve_autofd lock =
        varve_volume_id_check(id, error) ? varve_volume_lock(volumes, id, NULL, error) : -1;
    if (lock >= 0 && (info = varve_volume_get(volumes, id, error)) != NULL)
        ok = varve_volume_attach(volumes, info, error) &&
             (directory == NULL || attach_at(info, directory, error));
    if (!ok)
        g_prefix_error(error, "mounting volume '%s': ", id);
    return ok;
}

/* --- unmounting ------------------------------------------------------------------------------- */

/* What the kernel would tell of a volume, or enough to find it, though it is not mounted; NULL: not
 * known. Two mounts of overlayfs on one directory are two file systems, but that shows. */
static VarveMountEntry *
as_if_mounted(VarveVolumes *volumes, const VarveVolumeInfo *info)
{
    g_autoptr(VarveMount) mount = how_mounted(volumes, info, NULL);
    if (mount == NULL || !g_str_equal(mount->type, "overlay"))
        return NULL;
    VarveMountEntry *entry = g_new0(VarveMountEntry, 1);
    entry->device = g_strdup("");
    entry->root = g_strdup("");
    entry->point = g_strdup("");
    entry->options = g_strjoinv(",", mount->options);
    return entry;
}

char *
varve_volume_find_user(const VarveVolumeInfo *info)
{
    g_autoptr(VarveMountEntry) entry = look_at(info->path, NULL);
    return entry != NULL ? varve_mount_table_find_other(entry, info->path) : NULL;
}

/* The kernel tells whether a mount is busy when it is told that it expires, which does nothing
 * else: umount2(2), MNT_EXPIRE. Told a second time, with no use of it in between, it unmounts. */
gboolean
varve_volume_check_unused(VarveVolumes *volumes, const VarveVolumeInfo *info, GError **error)
{
    g_autofree char *user = varve_volume_find_user(info);
    if (user != NULL)
        return varve_error_set(error, VARVE_ERROR_BUSY, "it is in use: it is mounted %s", user);
    if (umount2(info->path, MNT_EXPIRE | UMOUNT_NOFOLLOW) == 0)
        return varve_volume_attach(volumes, info, error);
    return errno != EBUSY ||
           varve_error_set(error, VARVE_ERROR_BUSY, "it is in use (fuser -vm %s lists who uses it)",
                           info->path);
}

static gboolean
wait_a_little(VarveVolumes *volumes, gint64 deadline)
{
    if (g_get_monotonic_time() >= deadline || g_atomic_int_get(&volumes->engine->cancelled))
        return FALSE;
    g_usleep(INTERVAL);
    return TRUE;
}

/* Takes away all that is mounted at its place. *last is what was. */
static gboolean
detach_all(VarveVolumes *volumes, const VarveVolumeInfo *info, gint64 deadline,
           VarveMountEntry **last, GError **error)
{
    for (;;) {
        g_autoptr(GError) failure = NULL;
        VarveMountEntry *entry = look_at(info->path, &failure);
        if (entry != NULL) {
            g_clear_pointer(last, varve_mount_entry_free);
            *last = entry;
        }
        if (entry == NULL && failure == NULL)
            return TRUE;
        if (entry != NULL && varve_mount_detach(info->path, &failure))
            continue;
        if (!g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_BUSY) ||
            !wait_a_little(volumes, deadline)) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return FALSE;
        }
    }
}

static gboolean
wait_for_others(VarveVolumes *volumes, const VarveMountEntry *mount, gint64 deadline,
                GError **error)
{
    for (;;) {
        g_autofree char *user = varve_mount_table_find_other(mount, NULL);
        if (user == NULL)
            return TRUE;
        if (!wait_a_little(volumes, deadline))
            return varve_error_set(error, VARVE_ERROR_BUSY, "it is in use: it is mounted %s", user);
    }
}

gboolean
varve_volume_free_of_users(VarveVolumes *volumes, const VarveVolumeInfo *info, gboolean *was,
                           GError **error)
{
    gint64 deadline = g_get_monotonic_time() + PATIENCE;
    g_autoptr(VarveMountEntry) mount = NULL;
    *was = FALSE;
    if (!varve_volume_check_holders(info, error))
        return FALSE;
    gboolean ok = detach_all(volumes, info, deadline, &mount, error);
    *was = mount != NULL;
    if (mount == NULL)
        mount = as_if_mounted(volumes, info);
    if (ok && (mount == NULL || wait_for_others(volumes, mount, deadline, error)))
        return TRUE;
    GError *failure = NULL;
    if (*was && !varve_volume_attach(volumes, info, &failure))
        varve_error_log_undo("mounting a volume again", failure);
    return FALSE;
}

static gboolean
detach_from(VarveVolumes *volumes, const VarveVolumeInfo *info, const char *directory,
            GError **error)
{
    gboolean same = FALSE;
    g_autofree char *place = realpath(directory, NULL);
    g_autoptr(VarveMountEntry) entry = place != NULL ? look_at(place, NULL) : NULL;
    g_autoptr(VarveMount) mount = entry != NULL ? how_mounted(volumes, info, error) : NULL;
    if (mount != NULL && !is_mount_of(entry, mount, &same, error))
        return FALSE;
    if (!same)
        return entry != NULL && mount == NULL
                   ? FALSE
                   : varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                                     "it is not mounted on %s", directory);
    return varve_mount_detach(place, error);
}

gboolean
varve_volumes_unmount(VarveVolumes *volumes, const char *id, const char *directory, GError **error)
{
    gboolean ok = FALSE;
    g_autoptr(VarveVolumeInfo) info = NULL;
    varve_autofd lock =
        varve_volume_id_check(id, error) ? varve_volume_lock(volumes, id, NULL, error) : -1;
    if (lock >= 0 && (info = varve_volume_get(volumes, id, error)) != NULL)
        ok = (directory != NULL || varve_volume_check_holders(info, error)) &&
             detach_from(volumes, info, directory != NULL ? directory : info->path, error);
    if (!ok)
        g_prefix_error(error, "unmounting volume '%s': ", id);
    return ok;
}
