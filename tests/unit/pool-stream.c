/* SPDX-License-Identifier: Apache-2.0 */
#include "pool-stream.h"
#include <string.h>

gboolean
pool_append(gpointer data, const void *bytes, gsize size, GError **error)
{
    g_byte_array_append(data, bytes, (guint)size);
    return TRUE;
}

GByteArray *
pool_send(Pool *pool, guint64 id, guint64 base)
{
    g_autoptr(GError) error = NULL;
    GByteArray *stream = g_byte_array_new();
    const VarveSink sink = {pool_append, stream};
    g_assert_true(pool->driver->send(pool->self, snapshot(VARVE_KIND_COMMITTED, id, base), base,
                                     POOL_SCRATCH, &sink, &error));
    g_assert_no_error(error);
    return stream;
}

typedef struct {
    const guint8 *bytes;
    gsize left;
} Bytes;

static gssize
read_bytes(gpointer data, void *buffer, gsize size, GError **error)
{
    Bytes *bytes = data;
    gsize n = MIN(size, bytes->left);
    memcpy(buffer, bytes->bytes, n);
    bytes->bytes += n;
    bytes->left -= n;
    return (gssize)n;
}

gboolean
pool_receive(Pool *pool, guint64 id, guint64 base, const guint8 *stream, gsize length,
             GError **error)
{
    Bytes bytes = {stream, length};
    const VarveSource source = {read_bytes, &bytes};
    return pool->driver->receive(pool->self, snapshot(VARVE_KIND_COMMITTED, id, base), &source,
                                 error);
}

void
pool_assert_refused(Pool *pool, guint64 id, guint64 base, const guint8 *stream, gsize length)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(pool_receive(pool, id, base, stream, length, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
}
