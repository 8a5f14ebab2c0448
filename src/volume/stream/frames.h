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
 *
 * A stream that goes on where another one broke off begins with a preamble of its own, which tells
 * the place, and then has the frames that follow there (opening.h).
 */

#include "base/stream.h"

#define VARVE_FRAME_MAX ((gsize)1024 * 1024) /* bytes of a payload, not compressed */

typedef enum {
    VARVE_FRAME_HEADER = 1,
    VARVE_FRAME_DATA = 2,
    VARVE_FRAME_TRAILER = 3,
} VarveFrameType;

/* Between two frames. */
typedef struct {
    guint64 bytes; /* of the stream, before */
    guint32 crc;   /* of the frame before, which the next one's begins with */
} VarveFramePlace;

/* --- writing ---------------------------------------------------------------------------------- */

typedef struct VarveFrameWriter VarveFrameWriter;

/* compress: what gets smaller by it. The same frames are the same bytes. */
VarveFrameWriter *varve_frame_writer_new(VarveSink sink, gboolean compress);
void varve_frame_writer_free(VarveFrameWriter *writer);

/* Before the first frame: what comes before the place is given to no sink, instead of it what says
 * so. If no such place comes, adding fails with VARVE_ERROR_FAILED_PRECONDITION, and nothing was
 * given to the sink. */
void varve_frame_writer_resume(VarveFrameWriter *writer, const char *uuid,
                               const VarveFramePlace *place);

/* size: at most VARVE_FRAME_MAX. */
gboolean varve_frame_writer_add(VarveFrameWriter *writer, VarveFrameType type, const guint8 *bytes,
                                gsize size, GError **error);

/* Writes the trailer. *digest is the caller's. */
gboolean varve_frame_writer_finish(VarveFrameWriter *writer, char **digest, GError **error);

/* Bytes of the stream, and those of the payload in them. */
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

/* Whether it was this that failed, and not who made something of the payload. */
gboolean varve_frame_reader_failed(const VarveFrameReader *reader);

/* Checks no more than the checksums, of a stream that was checked before. */
void varve_frame_reader_skim(VarveFrameReader *reader);

/* After the header: the source has what is to be after this place only from there on, and what is
 * before is from elsewhere. VARVE_ERROR_FAILED_PRECONDITION, by the next call, when both do not fit
 * together. */
gboolean varve_frame_reader_expect(VarveFrameReader *reader, const VarveFramePlace *place,
                                   GError **error);

/* After the header: each frame that is right, but the trailer, is given to the sink too, which does
 * not fail; from the first one on, unless those were expected from elsewhere. */
void varve_frame_reader_keep(VarveFrameReader *reader, VarveSink sink);

/* After the last frame that is right. */
VarveFramePlace varve_frame_reader_place(const VarveFrameReader *reader);

/* After the trailer. */
const char *varve_frame_reader_digest(const VarveFrameReader *reader);
guint64 varve_frame_reader_bytes(const VarveFrameReader *reader);
guint64 varve_frame_reader_payload(const VarveFrameReader *reader);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveFrameWriter, varve_frame_writer_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveFrameReader, varve_frame_reader_free)

#endif
