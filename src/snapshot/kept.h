/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SNAPSHOT_KEPT_H
#define VARVE_SNAPSHOT_KEPT_H

/*
 * Transfers into pools, each by the universal id of what it brings: one at a time, and what came of
 * it in a file, if it is to be kept. What is in such a file is the business of who receives; here
 * it is bytes.
 *
 *     ROOT/transfers/             0700
 *       NUMBER.UUID               0600: a pool's number, a universal id. Locked while it is
 *                                 received, empty unless something is kept
 *
 * Nothing is synced: whoever reads it checks it.
 */

#include <varve/snapshot.h>
#include <varve/stream.h>

#define VARVE_KEPT_DAYS 7 /* after which what nobody went on with is forgotten */

typedef struct VarveKept VarveKept;

/* Takes the transfer. make FALSE: NULL without an error when there is no file. VARVE_ERROR_BUSY:
 * somebody else has it. */
VarveKept *varve_kept_open(VarvePool *pool, const char *uuid, gboolean make, GError **error);

/* Lets go of it. A file with nothing in it is removed. */
void varve_kept_close(VarveKept *kept);

guint64 varve_kept_size(const VarveKept *kept);

/* Its first bytes. Fails with VARVE_ERROR_CORRUPT where it ends before. */
VarveSource varve_kept_read(VarveKept *kept, guint64 bytes);

/* Keeps all that the sink gets, behind that much of what is there; what else is there goes when the
 * first comes. The sink does not fail: where no room is left, nothing is kept, and nothing any
 * more. */
VarveSink varve_kept_write(VarveKept *kept, guint64 bytes);

/* Empties it. */
void varve_kept_forget(VarveKept *kept);

/* --- all ------------------------------------------------------------------------------------- */

/* Calls func for each that something is kept of, by universal id. busy: it is being received; when
 * it last grew, in nanoseconds since the epoch. fd reads it from its beginning. */
typedef gboolean (*VarveKeptFunc)(const char *uuid, int fd, gboolean busy, gint64 touched,
                                  gpointer data, GError **error);
gboolean varve_kept_walk(VarvePool *pool, VarveKeptFunc func, gpointer data, GError **error);

/* Removes those that are too old, of all pools, and what processes that were killed left empty. */
void varve_kept_expire(VarveEngine *engine);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveKept, varve_kept_close)

#endif
