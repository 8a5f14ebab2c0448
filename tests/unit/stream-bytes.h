/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_STREAM_BYTES_H
#define VARVE_TESTS_STREAM_BYTES_H

/* Streams in memory. */

#include <varve/stream.h>

typedef struct {
    const GByteArray *bytes;
    gsize at, piece; /* the most that is read at a time */
} StreamReading;

/* The read of a VarveSource; data is a StreamReading. */
gssize stream_read(gpointer data, void *buffer, gsize size, GError **error);

/* The write of a VarveSink; data is a GByteArray. */
gboolean stream_append(gpointer data, const void *bytes, gsize size, GError **error);

#endif
