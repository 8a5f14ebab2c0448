/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_POOL_STREAM_H
#define VARVE_TESTS_POOL_STREAM_H

/* What a driver sends and receives, in memory. */

#include "driver-pool.h"

#define POOL_SCRATCH 60 /* an id that is not used */

/* The stream of a committed snapshot; base 0: whole. */
GByteArray *pool_send(Pool *pool, guint64 id, guint64 base);

/* Receives a stream as id; base 0: on nothing. */
gboolean pool_receive(Pool *pool, guint64 id, guint64 base, const guint8 *stream, gsize length,
                      GError **error);

/* That it is not received, as VARVE_ERROR_CORRUPT. */
void pool_assert_refused(Pool *pool, guint64 id, guint64 base, const guint8 *stream, gsize length);

/* The write of a VarveSink; data is a GByteArray. */
gboolean pool_append(gpointer data, const void *bytes, gsize size, GError **error);

#endif
