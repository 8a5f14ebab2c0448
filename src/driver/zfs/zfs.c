/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/zfs/zfs.h"
#include "base/error.h"
#include "base/module.h"
#include "driver/zfs/image.h"
#include "driver/zfs/note.h"
#include "driver/zfs/settings.h"
#include <libzfs_core.h>

static const char *
setting(GHashTable *settings, const char *name)
{
    return varve_driver_setting(&varve_driver_zfs, settings, name);
}

/* --- probing ---------------------------------------------------------------------------------- */

static gboolean
check_settings(GHashTable *settings, GError **error)
{
    const char *dataset = setting(settings, "dataset"), *file = setting(settings, "file");
    const char *zpool = setting(settings, "zpool"), *size = setting(settings, "size");
    if (dataset != NULL && file != NULL)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the settings 'dataset' and 'file' exclude each other");
    if (file == NULL && (zpool != NULL || size != NULL))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the setting '%s' is about the zpool in 'file': give that too",
                               zpool != NULL ? "zpool" : "size");
    return dataset == NULL || varve_zfs_check_base(dataset, error);
}

static gboolean
no_place(GError **error)
{
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "it is not said where in ZFS: the setting dataset=POOL/NAME keeps the "
                           "pool in a zpool that there is, file=PATH in one of its own, in a "
                           "sparse file");
}

static gboolean
check_place(const char *dataset, GError **error)
{
    g_autofree char *parent = g_path_get_dirname(dataset);
    if (!varve_zfs_check_pool(dataset, error))
        return FALSE;
    return lzc_exists(dataset) || lzc_exists(parent) ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "there is no dataset %s that could hold %s", parent, dataset);
}

static gboolean
zfs_probe(const char *path, GHashTable *settings, GError **error)
{
    if (!check_settings(settings, error) || !varve_zfs_initialize(error))
        return FALSE;
    const char *dataset = setting(settings, "dataset"), *file = setting(settings, "file");
    gboolean ok = file != NULL      ? varve_zfs_image_probe(file, error)
                  : dataset != NULL ? check_place(dataset, error)
                                    : no_place(error);
    varve_zfs_finalize();
    return ok;
}

/* --- opening ---------------------------------------------------------------------------------- */

static void
zfs_close(gpointer self)
{
    VarveZfs *zfs = self;
    varve_zfs_image_close(zfs->image);
    varve_batch_free(zfs->groups);
    if (zfs->initialized)
        varve_zfs_finalize();
    g_free(zfs->base);
    g_free(zfs->uuid);
    g_free(zfs);
}

static gboolean
open_image(VarveZfs *zfs, gboolean fresh, GError **error)
{
    GHashTable *settings = zfs->host->settings;
    const char *file = setting(settings, "file"), *size = setting(settings, "size");
    g_autofree char *name = g_strdup(setting(settings, "zpool"));
    if (name == NULL)
        name = g_strconcat("varve-", zfs->host->name, NULL);
    zfs->image = fresh ? varve_zfs_image_make(zfs->host, file, size, name, zfs->uuid, error)
                       : varve_zfs_image_import(zfs->host, file, name, zfs->uuid, error);
    if (zfs->image == NULL)
        return FALSE;
    zfs->base = g_strdup(varve_zfs_image_get_name(zfs->image));
    return TRUE;
}

static gboolean
open_place(VarveZfs *zfs, gboolean fresh, GError **error)
{
    GHashTable *settings = zfs->host->settings;
    if (!check_settings(settings, error))
        return FALSE;
    zfs->uuid = fresh ? g_uuid_string_random() : varve_zfs_note_read(zfs->host, "uuid", error);
    if (zfs->uuid == NULL)
        return FALSE;
    if (setting(settings, "file") != NULL)
        return open_image(zfs, fresh, error);
    zfs->base = g_strdup(setting(settings, "dataset"));
    return zfs->base != NULL || no_place(error);
}

static gboolean
open_base(VarveZfs *zfs, gboolean fresh, GError **error)
{
    zfs->initialized = varve_zfs_initialize(error);
    if (!zfs->initialized || !open_place(zfs, fresh, error))
        return FALSE;
    return fresh ? varve_zfs_make_base(zfs, error) : varve_zfs_check_existing(zfs, error);
}

static gpointer
zfs_open(const VarveDriverHost *host, gboolean fresh, GError **error)
{
    VarveZfs *zfs = g_new0(VarveZfs, 1);
    zfs->host = host;
    zfs->groups = varve_zfs_groups_new(zfs);
    if (open_base(zfs, fresh, error))
        return zfs;
    GError *undo_error = NULL;
    if (fresh && zfs->image != NULL && !varve_zfs_image_destroy(zfs->image, &undo_error))
        varve_error_log_undo("destroying the zpool of a pool that could not be made", undo_error);
    zfs_close(zfs);
    return NULL;
}

static gboolean
zfs_destroy(gpointer self, GError **error)
{
    VarveZfs *zfs = self;
    if (zfs->image == NULL)
        return varve_zfs_destroy_base(zfs, error);
    return varve_zfs_check_vacant(zfs, error) && varve_zfs_image_destroy(zfs->image, error);
}

const VarveDriver varve_driver_zfs = {
    .name = "zfs",
    .summary = VARVE_ZFS_SUMMARY,
    .flags = VARVE_DRIVER_CAPTURE_ATOMIC | VARVE_DRIVER_WHOLE,
    .settings = varve_zfs_settings,
    .probe = zfs_probe,
    .open = zfs_open,
    .close = zfs_close,
    .destroy = zfs_destroy,
    .space = varve_zfs_space,
    .create = varve_zfs_create,
    .commit = varve_zfs_commit,
    .reopen = varve_zfs_reopen,
    .sync = varve_zfs_sync,
    .mounts = varve_zfs_mounts,
    .usage = varve_zfs_usage,
    .changes = varve_zfs_changes,
    .capture = varve_zfs_capture_active,
    .limit = varve_zfs_limit,
    .stream_format = "zfs-send",
    .send = varve_zfs_send,
    .receive = varve_zfs_receive,
    .remove = varve_zfs_remove,
    .remove_many = varve_zfs_remove_many,
    .list = varve_zfs_list,
};

VARVE_SHARED const VarveModule varve_module = {VARVE_VERSION, &varve_driver_zfs};
