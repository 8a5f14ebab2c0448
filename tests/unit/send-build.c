/* SPDX-License-Identifier: Apache-2.0 */
#include "send-build.h"
#include "driver/btrfs/crc32c.h"
#include "driver/btrfs/send-stream.h"
#include <string.h>

void
send_put(GByteArray *to, guint64 value, guint bytes)
{
    for (guint i = 0; i < bytes; i++) {
        guint8 byte = (guint8)(value >> 8 * i);
        g_byte_array_append(to, &byte, 1);
    }
}

GByteArray *
send_stream_new(guint32 version)
{
    GByteArray *stream = g_byte_array_new();
    g_byte_array_append(stream, (const guint8 *)"btrfs-stream", 13);
    send_put(stream, version, 4);
    return stream;
}

void
send_put_attribute(GByteArray *payload, guint number, gconstpointer value, gsize length)
{
    send_put(payload, number, 2);
    send_put(payload, length, 2);
    g_byte_array_append(payload, value, (guint)length);
}

void
send_put_text(GByteArray *payload, guint number, const char *text)
{
    send_put_attribute(payload, number, text, strlen(text));
}

void
send_put_number(GByteArray *payload, guint number, guint64 value, guint bytes)
{
    send_put(payload, number, 2);
    send_put(payload, bytes, 2);
    send_put(payload, value, bytes);
}

void
send_put_time(GByteArray *payload, guint number, guint64 seconds, guint32 nanoseconds)
{
    send_put(payload, number, 2);
    send_put(payload, 12, 2);
    send_put(payload, seconds, 8);
    send_put(payload, nanoseconds, 4);
}

/* Frees the payload. */
void
send_put_command(GByteArray *stream, guint kind, GByteArray *payload)
{
    guint start = stream->len;
    send_put(stream, payload->len, 4);
    send_put(stream, kind, 2);
    send_put(stream, 0, 4);
    g_byte_array_append(stream, payload->data, payload->len);
    guint32 crc = GUINT32_TO_LE(varve_crc32c(0, stream->data + start, stream->len - start));
    memcpy(stream->data + start + 6, &crc, sizeof crc);
    g_byte_array_unref(payload);
}

/* A command with up to two strings, PATH and another one. */
void
send_put_paths(GByteArray *stream, guint kind, const char *path, guint number, const char *other)
{
    GByteArray *payload = g_byte_array_new();
    if (path != NULL)
        send_put_text(payload, VARVE_SEND_A_PATH, path);
    if (other != NULL)
        send_put_text(payload, number, other);
    send_put_command(stream, kind, payload);
}

void
send_put_end(GByteArray *stream)
{
    send_put_command(stream, VARVE_SEND_END, g_byte_array_new());
}
