/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SNAPSHOT_FILL_H
#define VARVE_SNAPSHOT_FILL_H

/*
 * Committed snapshots that come from elsewhere: made under a fresh id, filled, and published whole.
 * Until then no record names them, so nobody sees them, and what a crash leaves of one is cleared
 * away as any half-made snapshot is.
 */

#include <varve/snapshot.h>
#include <varve/stream.h>

/* An active snapshot that is made upon what came, in one transaction with that. */
typedef struct {
    const char *key;    /* an active one of that key is removed in the same transaction */
    GHashTable *labels; /* unless one is: then it has that one's, and its time of creation */
    /* Called when all has come, whole, before anything is published. Nobody may use what is to be
     * replaced from then on. It may give the filling another name. */
    gboolean (*begin)(gpointer data, GError **error);
    gpointer data;
} VarveFillUpon;

typedef struct {
    const char *name;
    const char *parent;        /* NULL or "": none */
    GHashTable *labels;        /* may be NULL */
    const VarveFillUpon *upon; /* NULL: nothing */
} VarveFilling;

/* root: the snapshot's, which has what its parent shows, and which nobody else sees. No descriptor
 * of anything in it may be open when it returns. */
typedef gboolean (*VarveFillFunc)(int root, gpointer data, GError **error);

/* Errors as of varve_snapshot_commit(), and func's. */
gboolean varve_snapshot_fill(VarvePool *pool, const VarveFilling *filling, VarveFillFunc func,
                             gpointer data, GError **error);

/* --- streams of the driver's own -------------------------------------------------------------- */

/* The name of their format, or NULL. */
const char *varve_snapshot_stream_format(VarvePool *pool);

/* Has the driver fill it from a stream, which is read to its end. */
gboolean varve_snapshot_fill_native(VarvePool *pool, const VarveFilling *filling,
                                    const VarveSource *source, GError **error);

/* Has the driver write one, of the difference to base (a name; NULL: in full). */
gboolean varve_snapshot_send_native(VarvePool *pool, const char *name, const char *base,
                                    const VarveSink *sink, GError **error);

#endif
