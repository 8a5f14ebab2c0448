/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_COMPRESSION_H
#define VARVE_LAYER_COMPRESSION_H

/* How the bytes of a layer are compressed. */

#include "base/stream.h"

typedef enum {
    VARVE_COMPRESSION_NONE,
    VARVE_COMPRESSION_GZIP, /* RFC 1952 */
    VARVE_COMPRESSION_ZSTD, /* RFC 8878 */
} VarveCompression;

/* By the first bytes; what is neither is not compressed. A few bytes are enough, no more are looked
 * at. */
VarveCompression varve_compression_detect(const guint8 *bytes, gsize size);

/*
 * Decompresses what a source gives, whatever it is. Several gzip members or zstd frames one after
 * the other are one stream; skippable frames are skipped. What ends too early, or goes on with
 * something else, is an error (VARVE_ERROR_CORRUPT), as is a wrong checksum.
 */
typedef struct VarveDecompressor VarveDecompressor;

VarveDecompressor *varve_decompressor_new(VarveSource source);
void varve_decompressor_free(VarveDecompressor *decompressor);

/* Fills the buffer, unless the end comes: the number of bytes, or -1 with the error set. */
gssize varve_decompressor_read(VarveDecompressor *decompressor, void *buffer, gsize size,
                               GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveDecompressor, varve_decompressor_free)

/*
 * Compresses, and gives the result to a sink, which is called in the thread that writes. The result
 * depends on nothing but the bytes: neither on how they are cut, nor on the number of threads that
 * help (0: one for each processor).
 */
typedef struct VarveCompressor VarveCompressor;

VarveCompressor *varve_compressor_new(VarveCompression compression, guint threads, VarveSink sink);
void varve_compressor_free(VarveCompressor *compressor);

gboolean varve_compressor_write(VarveCompressor *compressor, const void *bytes, gsize size,
                                GError **error);

/* Once, at the end. */
gboolean varve_compressor_finish(VarveCompressor *compressor, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveCompressor, varve_compressor_free)

#endif
