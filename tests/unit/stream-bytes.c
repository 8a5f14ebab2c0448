/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-bytes.h"
#include <string.h>

gboolean
stream_append(gpointer data, const void *bytes, gsize size, GError **error)
{
    g_byte_array_append(data, bytes, (guint)size);
    return TRUE;
}

gssize
stream_read(gpointer data, void *buffer, gsize size, GError **error)
{
    StreamReading *reading = data;
    gsize n = MIN(MIN(size, reading->piece), reading->bytes->len - reading->at);
    if (n > 0)
        memcpy(buffer, reading->bytes->data + reading->at, n);
    reading->at += n;
    return (gssize)n;
}
