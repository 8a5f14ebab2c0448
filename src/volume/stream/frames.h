/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_FRAMES_H
#define VARVE_STREAM_FRAMES_H

/*
 * The frames of a stream (docs/stream-format.md):
 *
 *     preamble   "\x89VARVE\r\n", which does not survive what harms binary files; version; checksum
 *     header     a protobuf message
 *     data       any number: the payload, cut into pieces
 *     trailer    a protobuf message, with the digest of all before
 *
 * Each frame's checksum begins with that of the one before, and its number with 0, so one that is
 * lost, repeated, moved or another stream's is found out where it is. Integers are little-endian.
 */

#include "base/stream.h"

#define VARVE_FRAME_MAX ((gsize)1024 * 1024) /* bytes of a payload, not compressed */

typedef enum {
    VARVE_FRAME_HEADER = 1,
    VARVE_FRAME_DATA = 2,
    VARVE_FRAME_TRAILER = 3,
} VarveFrameType;

/* --- writing ---------------------------------------------------------------------------------- */

typedef struct VarveFrameWriter VarveFrameWriter;

/* compress: what gets smaller by it. The same frames are the same bytes. */
VarveFrameWriter *varve_frame_writer_new(VarveSink sink, gboolean compress);
void varve_frame_writer_free(VarveFrameWriter *writer);

/* size: at most VARVE_FRAME_MAX. */
gboolean varve_frame_writer_add(VarveFrameWriter *writer, VarveFrameType type, const guint8 *bytes,
                                gsize size, GError **error);

/* Writes the trailer. *digest is the caller's. */
gboolean varve_frame_writer_finish(VarveFrameWriter *writer, char **digest, GError **error);

/* Bytes that were given to the sink, and those of the payload in them. */
guint64 varve_frame_writer_bytes(const VarveFrameWriter *writer);
guint64 varve_frame_writer_payload(const VarveFrameWriter *writer);

/* --- reading ---------------------------------------------------------------------------------- */

typedef struct VarveFrameReader VarveFrameReader;

VarveFrameReader *varve_frame_reader_new(VarveSource source);
void varve_frame_reader_free(VarveFrameReader *reader);

/* The next frame, whose checksum is right; it lives until the next call. The first one is the
 * header, data follow. At the trailer, which is right too and is the source's end, *bytes is NULL.
 * VARVE_ERROR_CORRUPT tells what is wrong where. */
gboolean varve_frame_reader_next(VarveFrameReader *reader, const guint8 **bytes, gsize *size,
                                 GError **error);

/* After the trailer. */
const char *varve_frame_reader_digest(const VarveFrameReader *reader);
guint64 varve_frame_reader_bytes(const VarveFrameReader *reader);
guint64 varve_frame_reader_payload(const VarveFrameReader *reader);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveFrameWriter, varve_frame_writer_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveFrameReader, varve_frame_reader_free)

#endif
