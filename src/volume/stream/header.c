/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/header.h"
#include "snapshot/identity.h"
#include "snapshot/internal.h"
#include "stream.pb-c.h"
#include <string.h>

void
varve_stream_header_clear(VarveStreamHeader *header)
{
    g_clear_pointer(&header->format, g_free);
    g_clear_pointer(&header->store, g_free);
    g_clear_pointer(&header->uuid, g_free);
    g_clear_pointer(&header->name, g_free);
    g_clear_pointer(&header->base, g_free);
    g_clear_pointer(&header->labels, g_hash_table_unref);
}

gboolean
varve_stream_label_travels(const char *key)
{
    return !g_str_equal(key, VARVE_LABEL_UUID) && !g_str_has_prefix(key, "containerd.io/");
}

static int
order_of_keys(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* --- writing ---------------------------------------------------------------------------------- */

static gboolean
write_message(VarveFrameWriter *writer, const Varve__Stream__Header *message, GError **error)
{
    gsize size = varve__stream__header__get_packed_size(message);
    if (size > VARVE_FRAME_MAX)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "its labels have more bytes than a stream can hold");
    g_autofree guint8 *bytes = g_malloc(size);
    varve__stream__header__pack(message, bytes);
    return varve_frame_writer_add(writer, VARVE_FRAME_HEADER, bytes, size, error);
}

gboolean
varve_stream_header_write(VarveFrameWriter *writer, const VarveStreamHeader *header, GError **error)
{
    Varve__Stream__Header message = VARVE__STREAM__HEADER__INIT;
    guint n;
    g_autofree char **keys = (char **)g_hash_table_get_keys_as_array(header->labels, &n);
    g_autofree Varve__Stream__Pair *pairs = g_new(Varve__Stream__Pair, n);
    g_autofree Varve__Stream__Pair **pointers = g_new(Varve__Stream__Pair *, n);
    qsort(keys, n, sizeof keys[0], order_of_keys);
    for (guint i = 0; i < n; i++) {
        varve__stream__pair__init(&pairs[i]);
        pairs[i].key = keys[i];
        pairs[i].value = g_hash_table_lookup(header->labels, keys[i]);
        pointers[i] = &pairs[i];
    }
    message.format = header->format;
    message.store = header->store;
    message.uuid = header->uuid;
    message.since = header->base;
    message.name = header->name;
    message.created = header->created;
    message.labels = pointers;
    message.n_labels = n;
    message.plain = header->plain;
    message.expected = header->expected;
    return write_message(writer, &message, error);
}

/* --- reading ---------------------------------------------------------------------------------- */

static GHashTable *
read_labels(const Varve__Stream__Header *message)
{
    GHashTable *labels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (gsize i = 0; i < message->n_labels; i++) {
        const Varve__Stream__Pair *pair = message->labels[i];
        if (varve_stream_label_travels(pair->key))
            g_hash_table_replace(labels, g_strdup(pair->key), g_strdup(pair->value));
    }
    return labels;
}

static gboolean
check(const VarveStreamHeader *header, GError **error)
{
    if (varve_uuid_check(header->uuid, NULL) && header->format[0] != '\0' &&
        (header->base[0] == '\0' || varve_uuid_check(header->base, NULL)) &&
        varve_check_key("name", header->name, NULL) && varve_check_labels(header->labels, NULL))
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the stream's header says something that cannot be");
}

gboolean
varve_stream_header_read(VarveFrameReader *reader, VarveStreamHeader *header, GError **error)
{
    const guint8 *bytes;
    gsize size;
    if (!varve_frame_reader_next(reader, &bytes, &size, error))
        return FALSE;
    Varve__Stream__Header *message = varve__stream__header__unpack(NULL, size, bytes);
    if (message == NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "the stream's header is malformed");
    *header = (VarveStreamHeader){
        .format = g_strdup(message->format),
        .store = g_strdup(message->store),
        .uuid = g_strdup(message->uuid),
        .base = g_strdup(message->since),
        .name = g_strdup(message->name),
        .created = message->created,
        .labels = read_labels(message),
        .plain = message->plain,
        .expected = message->expected,
    };
    varve__stream__header__free_unpacked(message, NULL);
    return check(header, error);
}

void
varve_stream_header_tell(const VarveStreamHeader *header, VarveTransfer *transfer)
{
    transfer->name = g_strdup(header->name);
    transfer->uuid = g_strdup(header->uuid);
    transfer->base = header->base[0] != '\0' ? g_strdup(header->base) : NULL;
    transfer->format = g_strdup(header->format);
}
