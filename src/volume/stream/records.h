/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_RECORDS_H
#define VARVE_STREAM_RECORDS_H

/*
 * The portable payload: records, in the order of their paths.
 *
 *     entry   a protobuf message (proto/stream.proto): something at a path
 *     data    bytes of the file that was told of last, and where they begin
 *     hole    a range of that file that is to be one
 *     end
 */

#include "base/stream.h"
#include "stream.pb-c.h"

#define VARVE_PORTABLE_FORMAT "portable-1"

/* Bytes of an entry: xattrs of 64 KiB each have room. Memory for one is bounded by that. */
#define VARVE_RECORD_MAX      ((gsize)4 * 1024 * 1024)
#define VARVE_RECORD_DATA_MAX ((gsize)1024 * 1024)

typedef enum {
    VARVE_RECORD_ENTRY = 1,
    VARVE_RECORD_DATA = 2,
    VARVE_RECORD_HOLE = 3,
    VARVE_RECORD_END = 4,
} VarveRecordType;

typedef Varve__Stream__Entry VarveStreamEntry;

void varve_stream_entry_free(VarveStreamEntry *entry);

gboolean varve_record_write_entry(const VarveSink *sink, const VarveStreamEntry *entry,
                                  GError **error);
gboolean varve_record_write_data(const VarveSink *sink, guint64 offset, const guint8 *bytes,
                                 gsize size, GError **error);
gboolean varve_record_write_hole(const VarveSink *sink, guint64 offset, guint64 size,
                                 GError **error);
gboolean varve_record_write_end(const VarveSink *sink, GError **error);

typedef struct {
    VarveRecordType type;
    VarveStreamEntry *entry; /* of an entry: the caller's */
    guint64 offset, size;    /* of data and holes */
    const guint8 *bytes;     /* of data */
} VarveRecord;

typedef struct VarveRecordReader VarveRecordReader;

VarveRecordReader *varve_record_reader_new(VarveSource source);
void varve_record_reader_free(VarveRecordReader *reader);

/* The next record, whose bytes live until the next call. After the end the source is read to its
 * own, and nothing may be there. VARVE_ERROR_CORRUPT: it is none. */
gboolean varve_record_reader_next(VarveRecordReader *reader, VarveRecord *record, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveStreamEntry, varve_stream_entry_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveRecordReader, varve_record_reader_free)

#endif
