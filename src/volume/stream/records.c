/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/records.h"

typedef struct __attribute__((packed)) {
    guint32 type;
    guint32 size; /* of what follows */
    guint64 offset;
} RecordHead;

void
varve_stream_entry_free(VarveStreamEntry *entry)
{
    if (entry != NULL)
        varve__stream__entry__free_unpacked(entry, NULL);
}

/* --- writing ---------------------------------------------------------------------------------- */

static gboolean
put(const VarveSink *sink, VarveRecordType type, guint64 offset, const void *bytes, gsize size,
    GError **error)
{
    const RecordHead head = {GUINT32_TO_LE(type), GUINT32_TO_LE((guint32)size),
                             GUINT64_TO_LE(offset)};
    return sink->write(sink->data, &head, sizeof head, error) &&
           (size == 0 || sink->write(sink->data, bytes, size, error));
}

gboolean
varve_record_write_entry(const VarveSink *sink, const VarveStreamEntry *entry, GError **error)
{
    gsize size = varve__stream__entry__get_packed_size(entry);
    if (size > VARVE_RECORD_MAX)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "'%.200s' has more extended attributes than a stream can hold",
                               entry->path);
    g_autofree guint8 *bytes = g_malloc(size);
    varve__stream__entry__pack(entry, bytes);
    return put(sink, VARVE_RECORD_ENTRY, 0, bytes, size, error);
}

gboolean
varve_record_write_data(const VarveSink *sink, guint64 offset, const guint8 *bytes, gsize size,
                        GError **error)
{
    g_assert(size <= VARVE_RECORD_DATA_MAX);
    return put(sink, VARVE_RECORD_DATA, offset, bytes, size, error);
}

gboolean
varve_record_write_hole(const VarveSink *sink, guint64 offset, guint64 size, GError **error)
{
    const guint64 length = GUINT64_TO_LE(size);
    return put(sink, VARVE_RECORD_HOLE, offset, &length, sizeof length, error);
}

gboolean
varve_record_write_end(const VarveSink *sink, GError **error)
{
    return put(sink, VARVE_RECORD_END, 0, NULL, 0, error);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct VarveRecordReader {
    VarveSource source;
    guint8 *bytes;
    gsize room;
};

VarveRecordReader *
varve_record_reader_new(VarveSource source)
{
    VarveRecordReader *reader = g_new0(VarveRecordReader, 1);
    reader->source = source;
    reader->room = VARVE_RECORD_DATA_MAX;
    reader->bytes = g_malloc(reader->room);
    return reader;
}

void
varve_record_reader_free(VarveRecordReader *reader)
{
    if (reader == NULL)
        return;
    g_free(reader->bytes);
    g_free(reader);
}

static gboolean
take(VarveRecordReader *reader, void *buffer, gsize size, GError **error)
{
    gssize got = varve_source_fill(reader->source, buffer, size, error);
    return got >= 0 && ((gsize)got == size ||
                        varve_error_set(error, VARVE_ERROR_CORRUPT,
                                        "the payload of the stream ends within a record"));
}

static gboolean
malformed(GError **error)
{
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the payload of the stream has a record that is malformed");
}

/* Memory is taken as bytes arrive. */
static gboolean
take_body(VarveRecordReader *reader, gsize size, GError **error)
{
    gsize got = MIN(size, reader->room);
    if (!take(reader, reader->bytes, got, error))
        return FALSE;
    while (got < size) {
        reader->room *= 2;
        reader->bytes = g_realloc(reader->bytes, reader->room);
        gsize n = MIN(size, reader->room) - got;
        if (!take(reader, reader->bytes + got, n, error))
            return FALSE;
        got += n;
    }
    return TRUE;
}

static gboolean
take_entry(VarveRecordReader *reader, gsize size, VarveRecord *record, GError **error)
{
    if (size > VARVE_RECORD_MAX)
        return malformed(error);
    if (!take_body(reader, size, error))
        return FALSE;
    record->entry = varve__stream__entry__unpack(NULL, size, reader->bytes);
    return record->entry != NULL || malformed(error);
}

static gboolean
take_hole(VarveRecordReader *reader, gsize size, VarveRecord *record, GError **error)
{
    guint64 length;
    if (size != sizeof length)
        return malformed(error);
    if (!take(reader, &length, sizeof length, error))
        return FALSE;
    record->size = GUINT64_FROM_LE(length);
    return record->size <= G_MAXINT64 - record->offset || malformed(error);
}

static gboolean
take_data(VarveRecordReader *reader, gsize size, VarveRecord *record, GError **error)
{
    record->size = size;
    record->bytes = reader->bytes;
    if (size > VARVE_RECORD_DATA_MAX || size > G_MAXINT64 - record->offset)
        return malformed(error);
    return take_body(reader, size, error);
}

static gboolean
take_end(VarveRecordReader *reader, gsize size, VarveRecord *record, GError **error)
{
    guint8 more;
    if (size != 0)
        return malformed(error);
    gssize n = reader->source.read(reader->source.data, &more, 1, error);
    return n == 0 || (n > 0 && varve_error_set(error, VARVE_ERROR_CORRUPT,
                                               "the stream goes on after its last record"));
}

gboolean
varve_record_reader_next(VarveRecordReader *reader, VarveRecord *record, GError **error)
{
    static gboolean (*const takers[])(VarveRecordReader *, gsize, VarveRecord *, GError **) = {
        [VARVE_RECORD_ENTRY] = take_entry,
        [VARVE_RECORD_DATA] = take_data,
        [VARVE_RECORD_HOLE] = take_hole,
        [VARVE_RECORD_END] = take_end,
    };
    RecordHead head;
    if (!take(reader, &head, sizeof head, error))
        return FALSE;
    guint32 type = GUINT32_FROM_LE(head.type);
    *record = (VarveRecord){.type = (VarveRecordType)type, .offset = GUINT64_FROM_LE(head.offset)};
    if (type >= G_N_ELEMENTS(takers) || takers[type] == NULL || record->offset > G_MAXINT64)
        return malformed(error);
    return takers[type](reader, GUINT32_FROM_LE(head.size), record, error);
}
