/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/changes.h"
#include "driver/btrfs/difference.h"
#include "driver/btrfs/namespace.h"
#include "driver/btrfs/send.h"
#include "driver/btrfs/subvolume.h"
#include <varve/log.h>

/*
 * The kernel knows what differs between two subvolumes, since they share all blocks of their trees
 * that do not, and tells it as a send stream: the commands that would make one of the other. They
 * are not carried out but followed by name (namespace.h), and what they touched is compared
 * (difference.h).
 */

static gboolean
follow(VarveEntries *names, VarveSend *send, GError **error)
{
    g_autoptr(VarveSendStream) stream = varve_send_stream_new(varve_send_read, send);
    VarveSendCommand command;
    do {
        if (!varve_send_stream_next(stream, &command, error) ||
            !varve_namespace_apply(names, &command, error))
            return FALSE;
    } while (command.kind != VARVE_SEND_END);
    return TRUE;
}

/* What the kernel failed with explains why the stream is broken off. */
static gboolean
follow_send(VarveEntries *names, int before, int after, const gint *cancelled, GError **error)
{
    g_autoptr(GError) broken = NULL;
    guint64 id;
    if (!varve_subvolume_get_id(before, &id, error))
        return FALSE;
    VarveSend *send = varve_send_begin(&(VarveSendWhat){after, id, FALSE}, cancelled, error);
    if (send == NULL)
        return FALSE;
    gboolean ok = follow(names, send, &broken);
    int failed = varve_send_end(send);
    if (ok)
        return TRUE;
    if (failed != 0)
        return varve_error_set_errno(error, failed, "having the kernel send what changed");
    g_propagate_error(error, g_steal_pointer(&broken));
    return FALSE;
}

static gboolean
find_changes(int before, int after, const gint *cancelled, VarveChangeList *list, GError **error)
{
    g_autoptr(VarveEntries) names = varve_entries_new();
    return follow_send(names, before, after, cancelled, error) &&
           varve_btrfs_difference(names, before, after, cancelled, list, error);
}

/* Paths longer than 4096 bytes are beyond the kernel's send, and streams from before some of its
 * corrections cannot be followed. To compare all takes longer, but cannot fail so. */
static gboolean
can_be_walked(const GError *error)
{
    return g_error_matches(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT) ||
           g_error_matches(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
}

/* Reads what was touched since the two have parted. */
static gboolean
walk(int before, int after, VarveChangeSink *sink, GError **error)
{
    VarveCompare how = {.flags = VARVE_COMPARE_TOUCHED};
    guint64 transid;
    return varve_subvolume_last_change(before, &transid, &how.since, error) &&
           varve_changes_walk(before, after, &how, sink, error);
}

gboolean
varve_btrfs_changes(int before, int after, VarveChangeSink *sink, GError **error)
{
    g_autoptr(VarveChangeList) list = varve_change_list_new();
    g_autoptr(GError) failure = NULL;
    if (find_changes(before, after, sink->cancelled, list, &failure))
        return varve_change_list_tell(list, sink, error);
    if (!can_be_walked(failure)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return FALSE;
    }
    gboolean corrupt = g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_CORRUPT);
    varve_log(corrupt ? VARVE_LOG_WARNING : VARVE_LOG_INFO, "comparing two subvolumes file by file",
              "reason", failure->message, NULL);
    return walk(before, after, sink, error);
}
