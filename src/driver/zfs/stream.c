/* SPDX-License-Identifier: Apache-2.0 */
#include "base/stream.h"
#include "base/error.h"
#include "driver/piped.h"
#include "driver/zfs/begin.h"
#include "driver/zfs/zfs.h"
#include <libzfs_core.h>
#include <string.h>

/*
 * Streams of zfs-send(8): the snapshot <base>/storage/<id>@extracted, whole, or from that of
 * another id. They carry no properties: what is received has those of the base. Of a stream only
 * what it begins with is looked at here; how well the kernel takes one that was made to harm is the
 * kernel's matter.
 *
 * A difference is received as a clone of the parent, which ZFS allows only if that came as a stream
 * itself, or is the very one that was sent: snapshots are known by numbers (guid) that streams
 * carry. A whole one is a clone of nothing, so it is marked as ours by a property
 * (VARVE_ZFS_RECEIVED_PROPERTY), which comes with the dataset in one step. The kernel would make a
 * clone of a whole one, too, which then has nothing in common with what it is a clone of.
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

/* --- what it begins with ---------------------------------------------------------------------- */

/* A source of which the beginning was read: that comes again. */
typedef struct {
    const VarveSource *source;
    guint8 begin[VARVE_ZFS_BEGIN_SIZE];
    gsize length, told;
} Begun;

static gssize
read_begun(gpointer data, void *buffer, gsize size, GError **error)
{
    Begun *begun = data;
    gsize n = MIN(size, begun->length - begun->told);
    if (n == 0)
        return begun->source->read(begun->source->data, buffer, size, error);
    memcpy(buffer, begun->begin + begun->told, n);
    begun->told += n;
    return (gssize)n;
}

static gboolean
read_begin(Begun *begun, GError **error)
{
    gssize n = varve_source_fill(*begun->source, begun->begin, sizeof begun->begin, error);
    begun->length = (gsize)MAX(n, 0);
    return n >= 0;
}

static const char guid_program[] = //
    "local args = ...\n"
    "if not zfs.exists(args['snapshot']) then return {} end\n"
    "return {guid = zfs.get_prop(args['snapshot'], 'guid')}\n";

/* 0: there is no such snapshot. */
static gboolean
read_guid(const VarveZfs *zfs, const VarveZfsName *snapshot, guint64 *guid, GError **error)
{
    g_autoptr(nvlist_t) args = fnvlist_alloc();
    fnvlist_add_string(args, "snapshot", snapshot->text);
    g_autoptr(nvlist_t) found =
        varve_zfs_run(zfs->base, VARVE_ZFS_LOOK, guid_program, args, "looking at", error);
    *guid = found != NULL ? (guint64)varve_zfs_number(found, "guid", 0) : 0;
    return found != NULL;
}

static gboolean
check_base(const VarveZfs *zfs, const Receiving *receiving, guint64 from, GError **error)
{
    guint64 guid;
    if (receiving->whole)
        return from == 0 || varve_error_set(error, VARVE_ERROR_CORRUPT,
                                            "the stream tells the difference to a snapshot that is "
                                            "not here");
    if (from == 0)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the stream tells of all that is in a snapshot, and not of the "
                               "difference to the one that it is to be received on");
    if (!read_guid(zfs, &receiving->origin, &guid, error))
        return FALSE;
    return guid == from ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "the stream tells the difference to another snapshot than %s, which did "
                           "not come as a stream of ZFS: have it sent whole, or not as a stream of "
                           "ZFS",
                           receiving->origin.text);
}

static gboolean
check_begin(const VarveZfs *zfs, const Receiving *receiving, Begun *begun, GError **error)
{
    VarveZfsBegin begin;
    if (!read_begin(begun, error))
        return FALSE;
    if (varve_zfs_begin_parse(begun->begin, begun->length, &begin, error) &&
        check_base(zfs, receiving, begin.from, error))
        return TRUE;
    g_prefix_error(error, "receiving %s: ", receiving->snapshot.text);
    return FALSE;
}

static gboolean
receive(const VarveZfs *zfs, const VarveDriverSnapshot *snapshot, const VarveSource *source,
        GError **error)
{
    const VarveTreeWatch watch = watch_of(zfs);
    Receiving receiving = {.snapshot = varve_zfs_extracted(zfs, snapshot->id),
                           .whole = snapshot->n_parents == 0,
                           .uuid = zfs->uuid};
    Begun begun = {.source = source};
    const VarveSource checked = {read_begun, &begun};
    int failed = 0;
    if (!receiving.whole)
        receiving.origin = varve_zfs_extracted(zfs, snapshot->parents[0]);
    if (!receiving.whole && !lzc_exists(receiving.origin.text))
        return varve_zfs_set_error(error, ENOENT, "receiving on", receiving.origin.text);
    if (!check_begin(zfs, &receiving, &begun, error) ||
        !varve_piped_receive("zfs-receive", receive_snapshot, &receiving, &checked, &watch, &failed,
                             error))
        return FALSE;
    return failed == 0 || set_refusal(error, failed, receiving.snapshot.text);
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
