/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "driver/piped.h"
#include "driver/zfs/zfs.h"
#include <libzfs_core.h>

/*
 * Streams of zfs-send(8): the snapshot <base>/storage/<id>@extracted, whole, or from that of
 * another id. They carry no properties: what is received has those of the base. A stream is read
 * by the kernel alone; how well it takes one that was made to harm is the kernel's matter.
 *
 * A difference is received as a clone of the parent, which ZFS allows only if that came as a stream
 * itself, or is the very one that was sent: snapshots are known by numbers (guid) that streams
 * carry. A whole one is a clone of nothing, so it is marked as ours by a property
 * (VARVE_ZFS_RECEIVED_PROPERTY), which comes with the dataset in one step.
 *
 * Who is killed while receiving leaves nothing: the kernel destroys what is not whole.
 */

static VarveTreeWatch
watch_of(const VarveZfs *zfs)
{
    const VarveDriverHost *host = zfs->host;
    return (VarveTreeWatch){host->cancelled, host->progress, host->progress_data};
}

/* --- sending ---------------------------------------------------------------------------------- */

typedef struct {
    VarveZfsName snapshot, from;
    gboolean whole;
} Sending;

static int
send_snapshot(int fd, gpointer data)
{
    const Sending *sending = data;
    return lzc_send(sending->snapshot.text, sending->whole ? NULL : sending->from.text, fd,
                    LZC_SEND_FLAG_LARGE_BLOCK | LZC_SEND_FLAG_EMBED_DATA | LZC_SEND_FLAG_COMPRESS);
}

gboolean
varve_zfs_send(gpointer self, const VarveDriverSnapshot *snapshot, guint64 base, guint64 scratch,
               const VarveSink *sink, GError **error)
{
    const VarveZfs *zfs = self;
    const VarveTreeWatch watch = watch_of(zfs);
    Sending sending = {varve_zfs_extracted(zfs, snapshot->id), varve_zfs_extracted(zfs, base),
                       base == 0};
    int failed = 0;
    if (!varve_zfs_check_pool(zfs->base, error) ||
        !varve_piped_send("zfs-send", send_snapshot, &sending, sink, &watch, &failed, error))
        return FALSE;
    return failed == 0 || varve_zfs_set_error(error, failed, "sending", sending.snapshot.text);
}

/* --- receiving -------------------------------------------------------------------------------- */

typedef struct {
    VarveZfsName snapshot, origin;
    gboolean whole;
    const char *uuid;
} Receiving;

static int
receive_snapshot(int fd, gpointer data)
{
    const Receiving *receiving = data;
    g_autoptr(nvlist_t) mark = fnvlist_alloc(), errors = NULL;
    uint64_t bytes = 0, flags = 0, handle = 0;
    fnvlist_add_string(mark, VARVE_ZFS_RECEIVED_PROPERTY, receiving->uuid);
    return lzc_receive_with_cmdprops(receiving->snapshot.text, NULL, mark, NULL, 0,
                                     receiving->whole ? NULL : receiving->origin.text, B_FALSE,
                                     B_FALSE, B_FALSE, fd, NULL, -1, &bytes, &flags, &handle,
                                     &errors);
}

/* What the kernel means when it refuses a stream. */
static const struct {
    int errnum;
    VarveErrorCode code;
    const char *text;
} refusals[] = {
    {ECKSUM, VARVE_ERROR_CORRUPT, "the stream is damaged"},
    {ZFS_ERR_STREAM_TRUNCATED, VARVE_ERROR_CORRUPT, "the stream ends too early"},
    {EIO, VARVE_ERROR_CORRUPT, "the stream is damaged, or ends too early"},
    {EINVAL, VARVE_ERROR_CORRUPT,
     "it is no stream of ZFS, is damaged, or does not fit the snapshot that it is received on"},
    {ENOENT, VARVE_ERROR_CORRUPT, "the stream tells the difference to a snapshot that is not here"},
    {ENODEV, VARVE_ERROR_FAILED_PRECONDITION,
     "the stream tells the difference to another snapshot than the one here, which did not come as "
     "a stream of ZFS: have it sent whole, or not as a stream of ZFS"},
    {ENOTSUP, VARVE_ERROR_NOT_IMPLEMENTED,
     "the stream needs features that this zpool, or this version of ZFS, does not have"},
};

static gboolean
set_refusal(GError **error, int errnum, const char *dataset)
{
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        if (refusals[i].errnum == errnum)
            return varve_error_set(error, refusals[i].code, "receiving %s: %s", dataset,
                                   refusals[i].text);
    }
    return varve_zfs_set_error(error, errnum, "receiving", dataset);
}

/* A stream may be of a volume as well, which is no snapshot to us. */
static const char type_program[] = //
    "local args = ...\n"
    "return {type = zfs.get_prop(args['dataset'], 'type')}\n";

static gboolean
check_type(const VarveZfs *zfs, guint64 id, GError **error)
{
    VarveZfsName committed = varve_zfs_committed(zfs, id);
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    fnvlist_add_string(args, "dataset", committed.text);
    g_autoptr(nvlist_t) found =
        varve_zfs_run(zfs->base, VARVE_ZFS_LOOK, type_program, args, "looking at", error);
    if (found == NULL)
        return FALSE;
    return g_strcmp0(varve_zfs_string(found, "type"), "filesystem") == 0 ||
           varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "receiving %s: the stream is of a volume and not of a file system",
                           committed.text);
}

static gboolean
receive(const VarveZfs *zfs, const VarveDriverSnapshot *snapshot, const VarveSource *source,
        GError **error)
{
    const VarveTreeWatch watch = watch_of(zfs);
    Receiving receiving = {.snapshot = varve_zfs_extracted(zfs, snapshot->id),
                           .whole = snapshot->n_parents == 0,
                           .uuid = zfs->uuid};
    int failed = 0;
    if (!receiving.whole)
        receiving.origin = varve_zfs_extracted(zfs, snapshot->parents[0]);
    if (!receiving.whole && !lzc_exists(receiving.origin.text))
        return varve_zfs_set_error(error, ENOENT, "receiving on", receiving.origin.text);
    if (!varve_piped_receive("zfs-receive", receive_snapshot, &receiving, source, &watch, &failed,
                             error))
        return FALSE;
    if (failed != 0)
        return set_refusal(error, failed, receiving.snapshot.text);
    return check_type(zfs, snapshot->id, error);
}

gboolean
varve_zfs_receive(gpointer self, const VarveDriverSnapshot *snapshot, const VarveSource *source,
                  GError **error)
{
    VarveZfs *zfs = self;
    VarveZfsName active = varve_zfs_active(zfs, snapshot->id);
    VarveZfsName committed = varve_zfs_committed(zfs, snapshot->id);
    if (!varve_zfs_check_pool(zfs->base, error))
        return FALSE;
    if (lzc_exists(active.text) || lzc_exists(committed.text))
        return varve_zfs_set_error(error, EEXIST, "receiving", committed.text);
    if (receive(zfs, snapshot, source, error))
        return TRUE;
    GError *undo_error = NULL;
    if (!varve_zfs_remove(zfs, snapshot->id, &undo_error))
        varve_error_log_undo("destroying a snapshot that could not be received", undo_error);
    return FALSE;
}
