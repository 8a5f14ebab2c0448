/* SPDX-License-Identifier: Apache-2.0 */
#include "send-source.h"
#include "driver/btrfs/crc32c.h"
#include <string.h>

#define STREAM_HEADER  17
#define COMMAND_HEADER 10

gssize
send_source_read(gpointer data, guint8 *buffer, gsize n, GError **error)
{
    SendSource *source = data;
    n = MIN(MIN(n, source->piece), source->length - source->at);
    memcpy(buffer, source->bytes + source->at, n);
    source->at += n;
    return (gssize)n;
}

void
send_source_set_checksums(SendSource *source)
{
    gsize length = 0;
    for (gsize at = STREAM_HEADER; at + COMMAND_HEADER <= source->length; at += length) {
        guint8 *command = source->bytes + at;
        guint32 payload;
        memcpy(&payload, command, sizeof payload);
        length = COMMAND_HEADER + (gsize)GUINT32_FROM_LE(payload);
        if (length > source->length - at)
            return;
        memset(command + 6, 0, 4);
        guint32 crc = GUINT32_TO_LE(varve_crc32c(0, command, length));
        memcpy(command + 6, &crc, sizeof crc);
    }
}
