/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"
#include "snapshot/identity.h"
#include "volume/internal.h"
#include <string.h>

/*
 * What a volume is stands in labels of its snapshot's record, so that one transaction makes both,
 * and they travel with a snapshot that is sent. A label without a value is not kept, so that those
 * of meta, which may be empty, begin with an equals sign.
 */

#define LABEL_TYPE   "varve.volume" /* of every volume */
#define LABEL_OF     "varve.volume.of"
#define LABEL_SIZE   "varve.volume.size"
#define LABEL_MOUNT  "varve.volume.mount"  /* "no" */
#define LABEL_ATOMIC "varve.volume.atomic" /* "no" */
#define LABEL_META   "varve.volume.meta."

#define MAX_LABEL 4096 /* key and value, of any label */
#define MAX_TYPE  64

static void
set_label(GHashTable *labels, const char *key, const char *value)
{
    if (value != NULL)
        g_hash_table_replace(labels, g_strdup(key), g_strdup(value));
}

gboolean
varve_volume_type_check(const char *type, GError **error)
{
    gsize length = strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789._-");
    if (length > 0 && length <= MAX_TYPE && type[length] == '\0')
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "a volume's type is 1 to %d lower-case letters, digits and any of _.-",
                           MAX_TYPE);
}

char *
varve_volume_meta_label(const char *key)
{
    return g_strconcat(LABEL_META, key, NULL);
}

gboolean
varve_volume_labels_add_meta(GHashTable *labels, GHashTable *meta, GError **error)
{
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, meta);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        g_autofree char *label = varve_volume_meta_label(key);
        g_autofree char *text = g_strconcat("=", value, NULL);
        gsize most = MAX_LABEL - strlen(LABEL_META) - 1;
        g_autofree char *shown = varve_key_display(key);
        if (*(const char *)key == '\0')
            return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "meta: a key is empty");
        if (strlen(key) + strlen(value) > most)
            return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                                   "meta '%s': key and value are %zu bytes long, at most %zu are "
                                   "allowed",
                                   shown, strlen(key) + strlen(value), most);
        set_label(labels, label, text);
    }
    return TRUE;
}

GHashTable *
varve_volume_labels_new(const VarveVolumeInfo *info, GError **error)
{
    g_autoptr(GHashTable) labels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    if (!varve_volume_type_check(info->type, error) ||
        !varve_volume_labels_add_meta(labels, info->meta, error))
        return NULL;
    g_autofree char *size =
        info->size > 0 ? g_strdup_printf("%" G_GUINT64_FORMAT, info->size) : NULL;
    g_autofree char *uuid = info->snapshot ? varve_uuid_new() : NULL;
    set_label(labels, LABEL_TYPE, info->type);
    set_label(labels, LABEL_OF, info->of);
    set_label(labels, LABEL_SIZE, size);
    set_label(labels, VARVE_LABEL_UUID, uuid);
    set_label(labels, LABEL_MOUNT, info->unattended ? "no" : NULL);
    set_label(labels, LABEL_ATOMIC, info->snapshot && !info->atomic ? "no" : NULL);
    return g_steal_pointer(&labels);
}

static char *
copy_label(GHashTable *labels, const char *key)
{
    return g_strdup(g_hash_table_lookup(labels, key));
}

gboolean
varve_volume_labels_read(const VarveSnapshotRecord *record, VarveVolumeInfo *info)
{
    g_autoptr(GHashTable) labels = varve_labels_unpack(record->labels, record->n_labels);
    info->type = copy_label(labels, LABEL_TYPE);
    if (info->type == NULL)
        return FALSE;
    info->uuid = info->snapshot ? copy_label(labels, VARVE_LABEL_UUID) : NULL;
    const char *size = g_hash_table_lookup(labels, LABEL_SIZE);
    info->size = size != NULL ? g_ascii_strtoull(size, NULL, 10) : 0;
    info->of = info->snapshot ? copy_label(labels, LABEL_OF) : NULL;
    info->unattended = g_strcmp0(g_hash_table_lookup(labels, LABEL_MOUNT), "no") == 0;
    info->atomic =
        info->snapshot && g_strcmp0(g_hash_table_lookup(labels, LABEL_ATOMIC), "no") != 0;
    info->holders = varve_volume_holders_read(labels);
    info->meta = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, labels);
    while (g_hash_table_iter_next(&iter, &key, &value))
        if (g_str_has_prefix(key, LABEL_META) && *(const char *)value == '=')
            set_label(info->meta, (const char *)key + strlen(LABEL_META), (const char *)value + 1);
    return TRUE;
}

/* --- those that come with a stream ------------------------------------------------------------ */

gboolean
varve_volume_labels_adopt(GHashTable *labels, const char *of, GError **error)
{
    const char *type = g_hash_table_lookup(labels, LABEL_TYPE);
    if (type != NULL && !varve_volume_type_check(type, NULL))
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the stream says that the volume is of a type that none can have");
    if (type == NULL)
        set_label(labels, LABEL_TYPE, VARVE_VOLUME_DEFAULT_TYPE);
    set_label(labels, LABEL_OF, of);
    g_hash_table_remove(labels, LABEL_MOUNT);
    g_hash_table_remove(labels, LABEL_SIZE);
    return TRUE;
}

void
varve_volume_labels_unattend(GHashTable *labels)
{
    set_label(labels, LABEL_MOUNT, "no");
}

GHashTable *
varve_volume_labels_for_live(GHashTable *labels)
{
    GHashTableIter iter;
    gpointer key, value;
    GHashTable *live = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_hash_table_iter_init(&iter, labels);
    while (g_hash_table_iter_next(&iter, &key, &value))
        if (g_str_equal(key, LABEL_TYPE) || g_str_has_prefix(key, LABEL_META))
            set_label(live, key, value);
    return live;
}
