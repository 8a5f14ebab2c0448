/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"
#include "base/mount.h"
#include "base/tree.h"
#include "snapshot/fill.h"
#include "volume/internal.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Images of file systems, copied into a snapshot that nobody sees before it is whole. */

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

typedef struct {
    VarveVolumes *volumes;
    int image;
    gsize kind;
} Import;

static gboolean
copy_tree(int root, gpointer data, GError **error)
{
    const Import *import = data;
    VarveEngine *engine = import->volumes->engine;
    VarveTreeWatch watch = {&engine->cancelled, engine->progress, engine->progress_data};
    varve_autofd tree = open_tree_of(import->volumes, import->image, import->kind, error);
    return tree >= 0 && varve_tree_fill(tree, root, &watch, error);
}

static gboolean
import_into(Import *import, VarvePool *pool, const VarveVolumeInfo *plan, GError **error)
{
    g_autoptr(GHashTable) labels = varve_volume_labels_new(plan, error);
    const VarveFilling filling = {.name = plan->key, .labels = labels};
    return labels != NULL && varve_snapshot_fill(pool, &filling, copy_tree, import, error);
}

static VarveVolumeInfo *
import_locked(Import *import, const VarveVolumeInfo *plan, const char *provider, GError **error)
{
    VarveVolumes *volumes = import->volumes;
    VarvePool *pool = varve_engine_get_pool(volumes->engine, provider, error);
    if (pool == NULL || !varve_volume_check_free(volumes, plan->id, error) ||
        !import_into(import, pool, plan, error))
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
        Import import = {volumes, image, kind};
        made = import_locked(&import, plan, typed.provider, error);
    }
    if (made == NULL)
        g_prefix_error(error, "importing %s: ", file);
    return made;
}
