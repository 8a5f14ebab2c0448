/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"
#include "base/mount.h"
#include "base/tree.h"
#include "snapshot/place.h"
#include "volume/internal.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Images of file systems, copied into a snapshot. Until it is whole it is an active one with a key
 * of another kind, so it is no volume; one whose id nobody has locked was left by a crash.
 */

#define IMPORT_PREFIX "volume-import/"

/* --- what kind of file it is ------------------------------------------------------------------ */

/* Where each has its magic number, and how it is mounted read-only: also, for ext4, without
 * replaying the journal, which would write. Linux: Documentation/filesystems/ext4/super.rst,
 * squashfs.rst; fs/erofs/erofs_fs.h. */
static const struct {
    const char *type;
    off_t offset;
    guint8 magic[4];
    gsize size;
    const char *option;
} kinds[] = {
    {"squashfs", 0, {'h', 's', 'q', 's'}, 4, NULL},
    {"erofs", 1024, {0xe2, 0xe1, 0xf5, 0xe0}, 4, NULL},
    {"ext4", 1080, {0x53, 0xef}, 2, "noload"},
};

static gboolean
find_kind(int fd, gsize *kind, GError **error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        guint8 found[4];
        if (pread(fd, found, kinds[i].size, kinds[i].offset) == (ssize_t)kinds[i].size &&
            memcmp(found, kinds[i].magic, kinds[i].size) == 0) {
            *kind = i;
            return TRUE;
        }
    }
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "it is no image of squashfs, erofs, ext2, ext3 or ext4");
}

static int
open_image(const char *file, gsize *kind, GError **error)
{
    struct stat st;
    varve_autofd fd = open(file, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        varve_error_set_errno(error, errno, "opening it");
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "it is no regular file");
        return -1;
    }
    if (!find_kind(fd, kind, error))
        return -1;
    int opened = fd;
    fd = -1;
    return opened;
}

/* The root of the image, mounted where nobody sees it. The loop device goes with the mount. */
static int
open_tree_of(VarveVolumes *volumes, int image, gsize kind, GError **error)
{
    g_autofree char *path = NULL;
    varve_autofd device = varve_loop_attach(image, &path, error);
    if (device < 0)
        return -1;
    const char *const options[] = {"ro", "nosuid", "nodev", "noexec", kinds[kind].option, NULL};
    g_autoptr(VarveMount) mount = varve_mount_new(kinds[kind].type, path, options);
    return varve_mount_open(mount, volumes->engine->root, error);
}

/* --- the copy --------------------------------------------------------------------------------- */

static gboolean
copy_tree(VarveVolumes *volumes, VarvePool *pool, const char *key, int image, gsize kind,
          GError **error)
{
    VarveEngine *engine = volumes->engine;
    VarveTreeWatch watch = {&engine->cancelled, engine->progress, engine->progress_data};
    g_auto(VarvePlace) place = VARVE_PLACE_INIT;
    varve_autofd tree = open_tree_of(volumes, image, kind, error);
    return tree >= 0 && varve_snapshot_open_place(pool, key, &place, error) &&
           varve_tree_fill(tree, place.root, &watch, error);
}

static void
discard(VarvePool *pool, const char *key)
{
    g_autoptr(GError) failure = NULL;
    if (!varve_snapshot_remove(pool, key, &failure) &&
        !g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
        varve_error_log_undo("removing an unfinished import", g_steal_pointer(&failure));
}

/* Under the lock of its id. */
static gboolean
import_into(VarveVolumes *volumes, VarvePool *pool, const VarveVolumeInfo *plan, int image,
            gsize kind, GError **error)
{
    g_autofree char *key = g_strconcat(IMPORT_PREFIX, plan->id, NULL);
    g_autoptr(GHashTable) labels = varve_volume_labels_new(plan, error);
    if (labels == NULL)
        return FALSE;
    discard(pool, key); /* a crash's */
    if (!varve_snapshot_prepare(pool, key, NULL, NULL, NULL, error))
        return FALSE;
    if (copy_tree(volumes, pool, key, image, kind, error) &&
        varve_snapshot_commit(pool, plan->key, key, NULL, labels, error))
        return TRUE;
    discard(pool, key);
    return FALSE;
}

static VarveVolumeInfo *
import_locked(VarveVolumes *volumes, const VarveVolumeInfo *plan, const char *provider, int image,
              gsize kind, GError **error)
{
    VarvePool *pool = varve_engine_get_pool(volumes->engine, provider, error);
    if (pool == NULL || !varve_volume_check_free(volumes, plan->id, error) ||
        !import_into(volumes, pool, plan, image, kind, error))
        return NULL;
    return varve_volume_present(volumes, plan->id, error);
}

VarveVolumeInfo *
varve_volumes_import(VarveVolumes *volumes, const char *file, const VarveVolumeOptions *options,
                     GError **error)
{
    gsize kind = 0;
    VarveVolumeInfo *made = NULL;
    g_autoptr(VarveVolumeInfo) plan = NULL;
    varve_autofd image = open_image(file, &kind, error), lock = -1;
    VarveVolumeOptions typed = options != NULL ? *options : (VarveVolumeOptions){0};
    typed.type = typed.type != NULL ? typed.type : kinds[kind].type;
    if (image >= 0 && (plan = varve_volume_plan(&typed, NULL, error)) != NULL)
        lock = varve_volume_lock(volumes, plan->id, NULL, error);
    if (lock >= 0) {
        plan->snapshot = TRUE;
        made = import_locked(volumes, plan, typed.provider, image, kind, error);
    }
    if (made == NULL)
        g_prefix_error(error, "importing %s: ", file);
    return made;
}

/* --- what crashes left ------------------------------------------------------------------------ */

static gboolean
note_key(const VarveSnapshotInfo *info, gpointer data, GError **error)
{
    g_ptr_array_add(data, g_strdup(info->name));
    return TRUE;
}

static void
clear_in_pool(VarveVolumes *volumes, const char *name)
{
    static const char *const filters[] = {"name~=^" IMPORT_PREFIX, NULL};
    g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func(g_free);
    VarvePool *pool = varve_engine_get_pool(volumes->engine, name, NULL);
    if (pool == NULL || !varve_snapshot_walk(pool, filters, note_key, keys, NULL))
        return;
    for (guint i = 0; i < keys->len; i++) {
        const char *key = keys->pdata[i];
        varve_autofd lock = varve_volume_try_lock(volumes, key + strlen(IMPORT_PREFIX));
        if (lock >= 0)
            discard(pool, key);
    }
}

void
varve_volumes_clear_imports(VarveVolumes *volumes)
{
    g_autoptr(GPtrArray) pools = varve_engine_pool_records(volumes->engine, NULL);
    for (guint i = 0; pools != NULL && i < pools->len; i++)
        clear_in_pool(volumes, ((VarvePoolRecord *)pools->pdata[i])->name);
}
