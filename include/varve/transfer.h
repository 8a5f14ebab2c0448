/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TRANSFER_H
#define VARVE_TRANSFER_H

/*
 * Sending committed snapshots from one pool to another, on any host and any driver.
 *
 * A snapshot is known everywhere by its universal id, a UUID that it gets when it is first sent and
 * that travels with it; the label "varve/uuid" holds it. A receiver tells which ones it has; a
 * sender sends the difference to the newest of them that the snapshot stands on, or all of it:
 *
 *     receiver                                   sender
 *     varve_pool_haves(), varve_pool_stream_format()  ──>
 *                                          <──   varve_snapshot_send()
 *     varve_snapshot_receive()
 *
 * The stream (docs/stream-format.md) holds either what the driver itself makes, for a receiver that
 * has the same one, or portable changes, which every driver takes. Owner, mode, times, extended
 * attributes (ACLs and file capabilities are some), hard links, devices, fifos, sockets and holes
 * are kept; access times are those that the snapshot has when it is sent.
 *
 * A stream that is damaged anywhere is refused with the reason, and changes nothing: it is received
 * under an id that nobody sees, checked whole, and published last. What it says is what its sender
 * says: whoever takes streams from people that they do not trust has to know that they can claim
 * any universal id.
 *
 * A transfer that breaks off can go on if its receiver kept what came: it tells a token, the sender
 * makes the same stream again, which takes reading but no sending, and sends what comes after:
 *
 *     varve_pool_resume_token()  ──>  varve_snapshot_send(), options.resume
 *     varve_snapshot_receive()   <──
 */

#include <varve/engine.h>
#include <varve/stream.h>

G_BEGIN_DECLS

typedef enum {
    VARVE_TRANSFER_AUTO,     /* the driver's own where the receiver takes it, else portable */
    VARVE_TRANSFER_PORTABLE, /* what every driver takes */
    VARVE_TRANSFER_NATIVE,   /* the driver's own; VARVE_ERROR_NOT_IMPLEMENTED where it has none */
} VarveTransferFormat;

typedef enum {
    VARVE_TRANSFER_ZSTD_AUTO, /* compress what gets smaller by it */
    VARVE_TRANSFER_PLAIN,
} VarveTransferCompression;

/* How far a transfer is; all of them but the last are bytes of the payload, not compressed. */
typedef struct {
    guint64 done;
    guint64 expected; /* about so many there will be; 0: not known */
    guint64 resumed;  /* of done: those that need not travel, or did not */
    guint64 bytes;    /* of the stream */
} VarveTransferProgress;

/* Called some times a second at most, from the thread that reads or writes the stream. */
typedef void (*VarveTransferProgressFunc)(const VarveTransferProgress *progress, gpointer data);

typedef struct {
    const char *const *haves;   /* universal ids that the receiver has; NULL: none */
    const char *const *formats; /* native ones that the receiver takes; NULL: none */
    VarveTransferFormat format;
    VarveTransferCompression compression;
    const char *resume; /* the receiver's token, which also says what the four above do; NULL: from
                           the start */
    VarveTransferProgressFunc progress; /* may be NULL */
    gpointer progress_data;
} VarveSendOptions;

typedef struct {
    GHashTable *labels;   /* in addition to those that travel, or instead; may be NULL */
    const char *name;     /* NULL: the one that it has where it comes from */
    gboolean keep;        /* what came is kept when the stream breaks off, so that it can go on */
    const char *provider; /* of varve_volumes_receive() only: the pool of a volume that is made */
    VarveTransferProgressFunc progress; /* may be NULL */
    gpointer progress_data;
} VarveReceiveOptions;

/* What was sent or received. */
typedef struct {
    char *name;
    char *uuid;
    char *base;      /* the universal id of what it is the difference to; NULL: it came in full */
    char *format;    /* "portable-1", or a driver's own */
    char *digest;    /* of the stream, but for its last frame */
    guint64 bytes;   /* of the stream */
    guint64 payload; /* bytes of what it holds, not compressed */
    guint64 entries; /* of portable ones: files and directories that were told of */
    guint64 resumed; /* bytes of the stream that had come already, and did not travel again */
    char *token;     /* when it could not be received: for the sender to go on with, if it can */
} VarveTransfer;

VARVE_PUBLIC void varve_transfer_clear(VarveTransfer *transfer);

/* The universal ids of the pool's committed snapshots, the newest first: ended by NULL, to be freed
 * with g_strfreev(). key: those only on which that snapshot stands, and itself; NULL: all. */
VARVE_PUBLIC char **varve_pool_haves(VarvePool *pool, const char *key, GError **error);

/* The universal id of a committed snapshot, which gets one if it has none. */
VARVE_PUBLIC char *varve_snapshot_uuid(VarvePool *pool, const char *name, GError **error);

/* The format of the streams that the pool's driver makes and takes itself; NULL: none. */
VARVE_PUBLIC const char *varve_pool_stream_format(VarvePool *pool);

/* Sends a committed snapshot. The sink is called in another thread. options and *transfer may be
 * NULL. When it fails, what was written is no whole stream, and refused by every receiver.
 * Errors: VARVE_ERROR_NOT_FOUND (name), VARVE_ERROR_FAILED_PRECONDITION (it is not committed; what
 * resume tells of is not what would be sent: nothing was written, begin anew),
 * VARVE_ERROR_INVALID_ARGUMENT (one of haves is no UUID, resume is no token), and the sink's. */
VARVE_PUBLIC gboolean varve_snapshot_send(VarvePool *pool, const char *name,
                                          const VarveSendOptions *options, VarveSink sink,
                                          VarveTransfer *transfer, GError **error);

/* Makes a committed snapshot of a stream, which must end where the source does. The source is read
 * in the calling thread. options and transfer may be NULL. A stream that goes on where another one
 * broke off says so itself. When it fails, uuid and token of *transfer are set as far as they are
 * known.
 * Errors: VARVE_ERROR_CORRUPT (it is no whole stream, or was changed on the way),
 * VARVE_ERROR_ALREADY_EXISTS (the name is taken, or the pool has a snapshot of that universal id),
 * VARVE_ERROR_FAILED_PRECONDITION (the pool has not what it is the difference to, or what it goes
 * on with), VARVE_ERROR_BUSY (that snapshot is being received already),
 * VARVE_ERROR_NOT_IMPLEMENTED (a newer version, or another driver's own stream), and the source's.
 */
VARVE_PUBLIC gboolean varve_snapshot_receive(VarvePool *pool, VarveSource source,
                                             const VarveReceiveOptions *options,
                                             VarveTransfer *transfer, GError **error);

/* --- what is kept -------------------------------------------------------------------------- */

/* What a sender needs to go on with the snapshot of that universal id: a word of at most some
 * hundred bytes, which means nothing to anybody else. NULL without an error: nothing of it is kept.
 * VARVE_ERROR_BUSY: it is being received. */
VARVE_PUBLIC char *varve_pool_resume_token(VarvePool *pool, const char *uuid, GError **error);

typedef struct {
    char *uuid;
    char *name; /* of the snapshot where it comes from */
    char *base; /* what it is the difference to; NULL: it was to come in full */
    char *format;
    guint64 bytes;    /* of the stream that are kept */
    guint64 expected; /* about so much payload there would be; 0: not known */
    gint64 touched;   /* nanoseconds since the epoch: when the last came */
    gboolean busy;    /* it is being received */
} VarveKeptTransfer;

/* What is kept of transfers into the pool, by universal id: GPtrArray of VarveKeptTransfer*, which
 * frees its elements. What nothing came of for seven days goes with varve_engine_cleanup(). */
VARVE_PUBLIC GPtrArray *varve_pool_kept_transfers(VarvePool *pool, GError **error);
VARVE_PUBLIC void varve_kept_transfer_free(VarveKeptTransfer *kept);

/* Errors: VARVE_ERROR_NOT_FOUND, VARVE_ERROR_BUSY (it is being received). */
VARVE_PUBLIC gboolean varve_pool_forget_transfer(VarvePool *pool, const char *uuid, GError **error);

/* --- descriptors --------------------------------------------------------------------------- */

/* Descriptors as sinks and sources; fd must outlive them. Waiting for one ends when the engine,
 * which may be NULL, is cancelled. */
typedef struct {
    int fd;
    VarveEngine *engine;
} VarveTransferFile;

VARVE_PUBLIC VarveSink varve_transfer_sink(VarveTransferFile *file);
VARVE_PUBLIC VarveSource varve_transfer_source(VarveTransferFile *file);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveTransfer, varve_transfer_clear)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveKeptTransfer, varve_kept_transfer_free)

G_END_DECLS

#endif
