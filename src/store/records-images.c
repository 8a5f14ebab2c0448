/* SPDX-License-Identifier: Apache-2.0 */
#include "store/internal.h"
#include "store/records.h"
#include <string.h>

/* The names of images. */

void
varve_image_record_free(VarveImageRecord *record)
{
    if (record != NULL)
        varve__store__image__free_unpacked(record, NULL);
}

static gboolean
image_key(VarveKey *key, const char *name, GError **error)
{
    gsize length = strlen(name);
    if (length > VARVE_RECORD_MAX_IMAGE)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the image's name is %zu bytes long, at most %d are allowed", length,
                               VARVE_RECORD_MAX_IMAGE);
    varve_key_begin(key, KIND_IMAGE);
    varve_key_add_bytes(key, name, length);
    return TRUE;
}

static gboolean
unpack_image(const MDB_val *value, VarveImageRecord **record, GError **error)
{
    *record = varve__store__image__unpack(NULL, value->mv_size, value->mv_data);
    if (*record != NULL && (*record)->target != NULL)
        return TRUE;
    g_clear_pointer(record, varve_image_record_free);
    return varve_error_set(error, VARVE_ERROR_CORRUPT, "the record of an image cannot be read");
}

gboolean
varve_record_get_image(VarveStoreTxn *txn, const char *name, VarveImageRecord **record,
                       GError **error)
{
    VarveKey key;
    MDB_val value;
    *record = NULL;
    if (!image_key(&key, name, error) || !varve_store_get(txn, &key, &value, error))
        return FALSE;
    return value.mv_data == NULL || unpack_image(&value, record, error);
}

gboolean
varve_record_put_image(VarveStoreTxn *txn, const VarveImageRecord *record, GError **error)
{
    g_autofree guint8 *bytes = g_malloc(varve__store__image__get_packed_size(record));
    VarveKey key;
    return image_key(&key, record->name, error) &&
           varve_store_put(txn, &key, bytes, varve__store__image__pack(record, bytes), error);
}

gboolean
varve_record_del_image(VarveStoreTxn *txn, const char *name, GError **error)
{
    VarveKey key;
    return image_key(&key, name, error) && varve_store_del(txn, &key, error);
}

static gboolean
list_image(const MDB_val *key, const MDB_val *value, gpointer data, GError **error)
{
    VarveImageRecord *record;
    if (!unpack_image(value, &record, error))
        return FALSE;
    g_ptr_array_add(data, record);
    return TRUE;
}

gboolean
varve_record_list_images(VarveStoreTxn *txn, GPtrArray *images, GError **error)
{
    VarveKey all;
    varve_key_begin(&all, KIND_IMAGE);
    return varve_store_scan(txn, &all, &all, list_image, images, error);
}
