/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_ARRIVAL_H
#define VARVE_IMAGE_ARRIVAL_H

/*
 * Blobs on their way, which are read while they come: a pull fetches a layer, and who unpacks it
 * follows behind.
 *
 *     registry ──fetch──> ingest/KEY ──read──> unpack
 *                   └──────tells──────┘
 *
 * The writer says how far the file in ingest/ is written, that it begins anew, and how it ended. A
 * reader reads that file, waits where it has caught up, and comes to the end only when the blob is
 * known to be what its digest says. So what was made of it can be committed then; and until then
 * nothing that it made a reader do counts, not even an error: varve_arrival_decide() tells what
 * became of the bytes that it had. The disk is all there is between the two, so neither a slow
 * reader nor a slow network costs memory, and the writer waits for nobody.
 *
 * Blobs that another process fetches come whole: the fetch waits for it, and then they are there.
 */

#include "image/internal.h"

typedef struct VarveArrivals VarveArrivals;
typedef struct VarveArrival VarveArrival;

VarveArrivals *varve_arrivals_new(void);
void varve_arrivals_free(VarveArrivals *arrivals);

/* Notes a blob that is to be fetched, before anybody fetches or reads; once for each digest. */
void varve_arrivals_add(VarveArrivals *arrivals, const char *digest);

/* NULL: it was not noted, or arrivals is NULL. */
VarveArrival *varve_arrivals_find(VarveArrivals *arrivals, const char *digest);

/* The two halves of its progress, told as one. */
VarveProgressPair *varve_arrival_progress(VarveArrival *arrival);

/* --- for the writer, whose arrival may be NULL: nobody is interested ------------------------- */

/* The blob's file, which fd is open for reading on, has so many bytes already. Takes fd. */
void varve_arrival_begin(VarveArrival *arrival, int fd, guint64 written);
void varve_arrival_advance(VarveArrival *arrival, guint64 written);
void varve_arrival_restart(VarveArrival *arrival);

/* All of it is written and is the blob. */
void varve_arrival_verify(VarveArrival *arrival);

/* The writer is done with it. lost: it will not be in the content store; otherwise it is, or the
 * registry need not have it. */
void varve_arrival_end(VarveArrival *arrival, gboolean lost);

/* Nobody fetches any more: what has not ended is lost. */
void varve_arrivals_end(VarveArrivals *arrivals);

/* --- for readers ---------------------------------------------------------------------------- */

typedef struct {
    VarveArrival *arrival;
    const gint *cancelled;
    guint64 offset;
    guint attempt; /* which of the writer's */
} VarveArrivalReader;

/* Waits until there is something to read. *there: the writer has ended well before, so that the
 * blob is in the content store, if it is anywhere; then there is no reader. */
gboolean varve_arrival_open(VarveArrival *arrival, const gint *cancelled,
                            VarveArrivalReader *reader, gboolean *there, GError **error);
void varve_arrival_close(VarveArrivalReader *reader);

/* Fails, too, when the writer begins anew or gives up. The reader must stay where it is. */
VarveSource varve_arrival_source(VarveArrivalReader *reader);

/* After a failure: waits until it is known whether what was read was the blob. *again: it was not,
 * and another reader will find another beginning. */
gboolean varve_arrival_decide(VarveArrivalReader *reader, gboolean *again, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveArrivals, varve_arrivals_free)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveArrivalReader, varve_arrival_close)

#endif
