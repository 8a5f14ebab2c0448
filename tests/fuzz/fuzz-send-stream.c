/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads the input as a btrfs send stream, and follows its names. The first byte picks how: its
 * lowest bit has the checksums set right, so that what is behind them is reached; the others say
 * how large the pieces are in which it is read.
 */

#include "driver/btrfs/namespace.h"
#include "send-source.h"
#include <string.h>

#define CHECKED 200 /* names, since each takes time by its depth */

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

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
    SendSource source = {bytes + 1, size - 1, 0, piece};
    if (data[0] & 1)
        send_source_set_checksums(&source);
    g_autoptr(VarveSendStream) stream = varve_send_stream_new(send_source_read, &source);
    g_autoptr(VarveEntries) names = varve_entries_new();
    follow(stream, names);
    const GPtrArray *all = varve_entries_all(names);
    for (guint i = 0; i < MIN(all->len, CHECKED); i++)
        check_name(names, all->pdata[i]);
    return 0;
}
