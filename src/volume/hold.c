/* SPDX-License-Identifier: Apache-2.0 */
#include "base/boot-id.h"
#include "volume/internal.h"
#include <string.h>

/*
 * Who uses a volume by what somebody else runs: containers of other engines. Between the moment in
 * which an engine has been told the path and that in which its container has it mounted, the kernel
 * knows nothing of that; so it is noted, in a label for each holder, whose value is the boot: what
 * held it does not live longer. Being a label, it is as durable as the volume, whoever is killed.
 */

#define MAX_HOLDER  128
#define MAX_HOLDERS 1000

static gboolean
check_holder(const char *holder, GError **error)
{
    gsize length = strspn(holder, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_.:-");
    if (length > 0 && length <= MAX_HOLDER && holder[length] == '\0')
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "the id of who holds it is letters, digits and any of _.:-, at most %d "
                           "together",
                           MAX_HOLDER);
}

static int
compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char **
varve_volume_holders_read(GHashTable *labels)
{
    GHashTableIter iter;
    gpointer key, value;
    char boot[VARVE_BOOT_ID_SIZE] = "";
    GPtrArray *holders = g_ptr_array_new();
    g_hash_table_iter_init(&iter, labels);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        if (!g_str_has_prefix(key, VARVE_VOLUME_LABEL_HELD))
            continue;
        if (*boot == '\0')
            varve_boot_id_read(boot, sizeof boot);
        if (g_str_equal(value, boot))
            g_ptr_array_add(holders, g_strdup((char *)key + strlen(VARVE_VOLUME_LABEL_HELD)));
    }
    g_ptr_array_sort(holders, compare_strings);
    g_ptr_array_add(holders, NULL);
    return (char **)g_ptr_array_free(holders, FALSE);
}

gboolean
varve_volume_check_holders(const VarveVolumeInfo *info, GError **error)
{
    if (*info->holders == NULL)
        return TRUE;
    g_autofree char *all = g_strjoinv(", ", info->holders);
    return varve_error_set(error, VARVE_ERROR_BUSY,
                           "it is in use by a container engine, for %s: end what uses it; if that "
                           "is gone, 'varve volume release %s' says so",
                           all, info->id);
}

/* Notes of former boots go when there is something to write anyway. */
static gboolean
add_stale(VarveVolumes *volumes, const VarveVolumeInfo *info, GPtrArray *removed, GError **error)
{
    GHashTableIter iter;
    gpointer key;
    g_autoptr(VarveSnapshotInfo) snapshot = NULL;
    VarvePool *pool = varve_engine_get_pool(volumes->engine, info->provider, error);
    if (pool == NULL || !varve_snapshot_stat(pool, info->key, &snapshot, error))
        return FALSE;
    g_hash_table_iter_init(&iter, snapshot->labels);
    while (g_hash_table_iter_next(&iter, &key, NULL))
        if (g_str_has_prefix(key, VARVE_VOLUME_LABEL_HELD) &&
            !g_strv_contains((const char *const *)info->holders,
                             (char *)key + strlen(VARVE_VOLUME_LABEL_HELD)))
            g_ptr_array_add(removed, g_strdup(key));
    return TRUE;
}

static gboolean
note_holder(VarveVolumes *volumes, const VarveVolumeInfo *info, const char *holder, GError **error)
{
    char boot[VARVE_BOOT_ID_SIZE];
    g_autoptr(GHashTable) labels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GPtrArray) stale = g_ptr_array_new_with_free_func(g_free);
    if (g_strv_contains((const char *const *)info->holders, holder))
        return TRUE;
    if (g_strv_length(info->holders) >= MAX_HOLDERS)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "it has %d holders already, which is the most", MAX_HOLDERS);
    varve_boot_id_read(boot, sizeof boot);
    g_hash_table_insert(labels, g_strconcat(VARVE_VOLUME_LABEL_HELD, holder, NULL), g_strdup(boot));
    return add_stale(volumes, info, stale, error) &&
           varve_volume_set_labels(volumes, info, labels, stale, error);
}

VarveVolumeInfo *
varve_volumes_hold(VarveVolumes *volumes, const char *id, const char *holder, GError **error)
{
    VarveVolumeInfo *held = NULL;
    g_autoptr(VarveVolumeInfo) info = NULL;
    varve_autofd lock = varve_volume_id_check(id, error) && check_holder(holder, error)
                            ? varve_volume_lock(volumes, id, NULL, error)
                            : -1;
    if (lock >= 0 && (info = varve_volume_get(volumes, id, error)) != NULL &&
        varve_volume_attach(volumes, info, error) && note_holder(volumes, info, holder, error))
        held = varve_volumes_inspect(volumes, id, error);
    if (held == NULL)
        g_prefix_error(error, "mounting volume '%s': ", id);
    return held;
}

/* --- the end ---------------------------------------------------------------------------------- */

/* What is not to be mounted is so for its holders only. */
static void
detach_unwanted(VarveVolumes *volumes, const char *id)
{
    gboolean mounted;
    GError *failure = NULL;
    g_autoptr(VarveVolumeInfo) info = varve_volume_get(volumes, id, NULL);
    if (info == NULL || !info->unattended || *info->holders != NULL ||
        !varve_mount_is_point(info->path, &mounted, NULL) || !mounted ||
        varve_mount_detach(info->path, &failure))
        return;
    varve_log(VARVE_LOG_WARNING, "volume stays mounted", "volume", id, "error", failure->message,
              NULL);
    g_error_free(failure);
}

static gboolean
release_locked(VarveVolumes *volumes, const char *id, const char *holder, GError **error)
{
    g_autoptr(GHashTable) none = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) gone = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(VarveVolumeInfo) info = varve_volume_get(volumes, id, error);
    if (info == NULL)
        return FALSE;
    for (char **one = info->holders; *one != NULL; one++)
        if (holder == NULL || g_str_equal(*one, holder))
            g_ptr_array_add(gone, g_strconcat(VARVE_VOLUME_LABEL_HELD, *one, NULL));
    if (!varve_volume_set_labels(volumes, info, none, gone, error))
        return FALSE;
    detach_unwanted(volumes, id);
    return TRUE;
}

gboolean
varve_volumes_release(VarveVolumes *volumes, const char *id, const char *holder, GError **error)
{
    varve_autofd lock =
        varve_volume_id_check(id, error) && (holder == NULL || check_holder(holder, error))
            ? varve_volume_lock(volumes, id, NULL, error)
            : -1;
    if (lock >= 0 && release_locked(volumes, id, holder, error))
        return TRUE;
    g_prefix_error(error, "releasing volume '%s': ", id);
    return FALSE;
}
