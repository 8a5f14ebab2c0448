/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/internal.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER     "volumes"
#define MAX_ID     128
#define LIST_CHUNK 512 /* records in one transaction */

/* --- the folder ------------------------------------------------------------------------------- */

/* The root as the kernel names it, which is how mounts are told of. */
VarveVolumes *
varve_volumes_open(VarveEngine *engine, GError **error)
{
    g_autofree char *way = g_strdup_printf("/proc/self/fd/%d", engine->rootfd);
    g_autofree char *root = g_file_read_link(way, NULL);
    if (root == NULL) {
        varve_error_set(error, VARVE_ERROR_UNAVAILABLE, "finding where %s is: /proc is not mounted",
                        engine->root);
        return NULL;
    }
    VarveVolumes *volumes = g_new0(VarveVolumes, 1);
    *volumes = (VarveVolumes){engine, g_build_filename(root, FOLDER, NULL)};
    return volumes;
}

void
varve_volumes_close(VarveVolumes *volumes)
{
    if (volumes == NULL)
        return;
    g_free(volumes->path);
    g_free(volumes);
}

int
varve_volumes_open_folder(VarveVolumes *volumes, GError **error)
{
    return varve_fd_make_dir(volumes->engine->rootfd, FOLDER, 0711, error);
}

gboolean
varve_volume_id_check(const char *id, GError **error)
{
    gsize length = strspn(id, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_.-");
    if (length > 0 && length <= MAX_ID && id[length] == '\0' && g_ascii_isalnum(*id))
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "the id of a volume is a letter or digit, then those and any of _.-, "
                           "at most %d together",
                           MAX_ID);
}

/* --- one -------------------------------------------------------------------------------------- */

void
varve_volume_info_free(VarveVolumeInfo *info)
{
    if (info == NULL)
        return;
    g_free(info->id);
    g_free(info->type);
    g_free(info->provider);
    g_free(info->driver);
    g_free(info->key);
    g_clear_pointer(&info->meta, g_hash_table_unref);
    g_strfreev(info->holders);
    g_free(info->path);
    g_free(info->of);
    g_free(info->uuid);
    g_free(info->parent);
    g_free(info);
}

/* *info is NULL for a snapshot that is no volume's. */
static gboolean
read_record(VarveStoreTxn *txn, VarveVolumes *volumes, const VarvePoolRecord *pool,
            const VarveSnapshotRecord *record, VarveVolumeInfo **info, GError **error)
{
    g_autoptr(VarveVolumeInfo) found = g_new0(VarveVolumeInfo, 1);
    const char *id = record->name + strlen(VARVE_VOLUME_PREFIX);
    found->snapshot = record->kind == VARVE_KIND_COMMITTED;
    *info = NULL;
    if (record->kind == VARVE_KIND_VIEW || !varve_volume_id_check(id, NULL) ||
        !varve_volume_labels_read(record, found))
        return TRUE;
    found->id = g_strdup(id);
    found->key = g_strdup(record->name);
    found->provider = g_strdup(pool->name);
    found->driver = g_strdup(pool->driver);
    found->created = record->created;
    found->path = g_build_filename(volumes->path, id, NULL);
    if (!varve_record_name(txn, record->parent, &found->parent, error))
        return FALSE;
    *info = g_steal_pointer(&found);
    return TRUE;
}

typedef struct {
    VarveVolumes *volumes;
    const char *key;
    VarveVolumeInfo *info;
} Find;

static gboolean
find_in_pool(VarveStoreTxn *txn, Find *find, const VarvePoolRecord *pool, GError **error)
{
    guint64 id;
    g_autoptr(VarveSnapshotRecord) record = NULL;
    if (!varve_record_find(txn, pool->number, find->key, &id, error))
        return FALSE;
    return id == 0 ||
           (varve_record_get(txn, id, &record, error) &&
            (record == NULL || read_record(txn, find->volumes, pool, record, &find->info, error)));
}

static gboolean
find_in_pools(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Find *find = data;
    g_autoptr(GPtrArray) pools =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_pool_record_free);
    g_clear_pointer(&find->info, varve_volume_info_free); /* the transaction may run twice */
    if (!varve_record_list_pools(txn, pools, error))
        return FALSE;
    for (guint i = 0; i < pools->len && find->info == NULL; i++)
        if (!find_in_pool(txn, find, pools->pdata[i], error))
            return FALSE;
    return TRUE;
}

gboolean
varve_volume_find(VarveVolumes *volumes, const char *id, VarveVolumeInfo **info, GError **error)
{
    g_autofree char *key = g_strconcat(VARVE_VOLUME_PREFIX, id, NULL);
    Find find = {.volumes = volumes, .key = key};
    if (!varve_volume_id_check(id, error))
        return FALSE;
    gboolean ok = varve_store_read(volumes->engine->store, find_in_pools, &find, error);
    *info = find.info;
    return ok;
}

VarveVolumeInfo *
varve_volume_get(VarveVolumes *volumes, const char *id, GError **error)
{
    VarveVolumeInfo *info = NULL;
    if (varve_volume_find(volumes, id, &info, error) && info == NULL)
        varve_error_set(error, VARVE_ERROR_NOT_FOUND, "there is no volume '%s'", id);
    return info;
}

VarveVolumeInfo *
varve_volumes_inspect(VarveVolumes *volumes, const char *id, GError **error)
{
    g_autoptr(VarveVolumeInfo) info = varve_volume_get(volumes, id, error);
    if (info == NULL || !varve_mount_is_point(info->path, &info->mounted, error))
        return NULL;
    return g_steal_pointer(&info);
}

/* --- all -------------------------------------------------------------------------------------- */

typedef struct {
    VarveVolumes *volumes;
    const VarvePoolRecord *pool;
    const VarveVolumeFilter *filter;
    VarveStoreTxn *txn;
    VarveRecordCursor cursor;
    gboolean more;
    GPtrArray *chunk; /* of one transaction, which may run twice */
} List;

static gboolean
matches(const VarveVolumeFilter *filter, const VarveVolumeInfo *info)
{
    GHashTableIter iter;
    gpointer key, value;
    if ((filter->which == VARVE_VOLUMES_LIVE && info->snapshot) ||
        (filter->which == VARVE_VOLUMES_SNAPSHOTS && !info->snapshot) ||
        (filter->type != NULL && !g_str_equal(filter->type, info->type)) ||
        (filter->of != NULL && g_strcmp0(filter->of, info->of) != 0))
        return FALSE;
    if (filter->meta == NULL)
        return TRUE;
    g_hash_table_iter_init(&iter, filter->meta);
    while (g_hash_table_iter_next(&iter, &key, &value))
        if (g_strcmp0(g_hash_table_lookup(info->meta, key), value) != 0)
            return FALSE;
    return TRUE;
}

static gboolean
collect(guint64 id, const VarveSnapshotRecord *record, gpointer data, GError **error)
{
    List *list = data;
    VarveVolumeInfo *info;
    if (!g_str_has_prefix(record->name, VARVE_VOLUME_PREFIX)) {
        list->more = FALSE; /* behind the last */
        return FALSE;
    }
    if (!read_record(list->txn, list->volumes, list->pool, record, &info, error))
        return FALSE;
    if (info != NULL && matches(list->filter, info))
        g_ptr_array_add(list->chunk, info);
    else
        varve_volume_info_free(info);
    return TRUE;
}

static gboolean
read_chunk(VarveStoreTxn *txn, gpointer data, GError **error)
{
    List *list = data;
    gboolean more = FALSE;
    VarveRecordCursor cursor = list->cursor;
    g_ptr_array_set_size(list->chunk, 0);
    list->txn = txn;
    list->more = TRUE;
    if (!varve_record_walk(txn, list->pool->number, &cursor, LIST_CHUNK, &more, collect, list,
                           error))
        return FALSE;
    list->more &= more;
    list->cursor = cursor;
    return TRUE;
}

static gboolean
list_pool(VarveVolumes *volumes, const VarvePoolRecord *pool, const VarveVolumeFilter *filter,
          GPtrArray *infos, GError **error)
{
    g_autoptr(GPtrArray) chunk = g_ptr_array_new();
    List list = {.volumes = volumes, .pool = pool, .filter = filter, .chunk = chunk, .more = TRUE};
    g_ptr_array_set_free_func(chunk, (GDestroyNotify)varve_volume_info_free);
    varve_record_cursor_seek(&list.cursor, pool->number, VARVE_VOLUME_PREFIX);
    while (list.more) {
        if (!varve_check_cancelled(&volumes->engine->cancelled, error) ||
            !varve_store_read(volumes->engine->store, read_chunk, &list, error))
            return FALSE;
        while (chunk->len > 0)
            g_ptr_array_add(infos, g_ptr_array_steal_index(chunk, 0));
    }
    return TRUE;
}

static gboolean
tell_mounted(GPtrArray *infos, GError **error)
{
    for (guint i = 0; i < infos->len; i++) {
        VarveVolumeInfo *info = infos->pdata[i];
        if (!varve_mount_is_point(info->path, &info->mounted, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
list_pools(VarveVolumes *volumes, const VarveVolumeFilter *filter, GPtrArray *infos, GError **error)
{
    g_autoptr(VarvePoolRecord) only =
        filter->provider != NULL
            ? varve_engine_pool_record(volumes->engine, filter->provider, error)
            : NULL;
    if (filter->provider != NULL)
        return only != NULL && list_pool(volumes, only, filter, infos, error);
    g_autoptr(GPtrArray) pools = varve_engine_pool_records(volumes->engine, error);
    for (guint i = 0; pools != NULL && i < pools->len; i++)
        if (!list_pool(volumes, pools->pdata[i], filter, infos, error))
            return FALSE;
    return pools != NULL;
}

GPtrArray *
varve_volumes_list(VarveVolumes *volumes, const VarveVolumeFilter *filter, GError **error)
{
    static const VarveVolumeFilter all = {0};
    g_autoptr(GPtrArray) infos =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_volume_info_free);
    if (list_pools(volumes, filter != NULL ? filter : &all, infos, error) &&
        tell_mounted(infos, error))
        return g_steal_pointer(&infos);
    g_prefix_error(error, "listing volumes: ");
    return NULL;
}
