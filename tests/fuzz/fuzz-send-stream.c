/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads the input as a btrfs send stream, and follows its names. The first byte picks how: its
 * lowest bit has the checksums set right, so that what is behind them is reached; the others say
 * how large the pieces are in which it is read.
 */

#include "driver/btrfs/crc32c.h"
#include "driver/btrfs/namespace.h"
#include <string.h>

#define STREAM_HEADER  17
#define COMMAND_HEADER 10
#define CHECKED        200 /* names, since each takes time by its depth */

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

typedef struct {
    guint8 *bytes;
    gsize length, at, piece;
} Source;

static gssize
read_source(gpointer data, guint8 *buffer, gsize n, GError **error)
{
    Source *source = data;
    n = MIN(MIN(n, source->piece), source->length - source->at);
    memcpy(buffer, source->bytes + source->at, n);
    source->at += n;
    return (gssize)n;
}

static void
set_checksums(Source *source)
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

/* A name is found where it says that it is, and was. */
static void
check_name(VarveEntries *names, VarveEntry *name)
{
    if (name->name != NULL) {
        g_autofree char *path = varve_entry_path(name);
        g_assert(name->parent == NULL ||
                 varve_entries_find(names, name->parent, name->name) == name);
        g_assert(strlen(path) >= strlen(name->name));
    } else {
        g_assert(name->children == 0);
    }
    if (name->old_name != NULL) {
        g_autofree char *path = varve_entry_old_path(name);
        g_assert(name->old_parent == NULL ||
                 varve_entries_find_old(names, name->old_parent, name->old_name) == name);
        g_assert(strlen(path) >= strlen(name->old_name));
    }
}

static void
follow(VarveSendStream *stream, VarveEntries *names)
{
    g_autoptr(GError) error = NULL;
    VarveSendCommand command;
    do {
        if (!varve_send_stream_next(stream, &command, &error) ||
            !varve_namespace_apply(names, &command, &error)) {
            g_assert(error != NULL);
            return;
        }
        g_assert(varve_send_kind_name(command.kind) != NULL);
    } while (command.kind != VARVE_SEND_END);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    if (size == 0)
        return 0;
    g_autofree guint8 *bytes = g_memdup2(data, size);
    gsize piece = (data[0] >> 1) == 0 ? G_MAXSIZE : data[0] >> 1;
    Source source = {bytes + 1, size - 1, 0, piece};
    if (data[0] & 1)
        set_checksums(&source);
    g_autoptr(VarveSendStream) stream = varve_send_stream_new(read_source, &source);
    g_autoptr(VarveEntries) names = varve_entries_new();
    follow(stream, names);
    const GPtrArray *all = varve_entries_all(names);
    for (guint i = 0; i < MIN(all->len, CHECKED); i++)
        check_name(names, all->pdata[i]);
    return 0;
}
