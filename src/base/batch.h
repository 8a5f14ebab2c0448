/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_BATCH_H
#define VARVE_BASE_BATCH_H

/*
 * Work that is cheaper done for many at once: one transaction for many writers, one syncfs for many
 * commits.
 *
 * A thread that submits an item while no batch runs becomes the leader: it takes everything that is
 * queued and runs it as one batch. Threads that submit meanwhile wait; when the batch ends, the
 * first of them leads the next one. So an item never waits for more than the batch that is running
 * and its own, and with a single thread there is no delay and no other thread at all.
 */

#include "base/error.h"

typedef struct VarveBatch VarveBatch;

/* Runs the n items that were queued, in the order of their arrival. Reports into the items. */
typedef void (*VarveBatchFunc)(gpointer *items, gsize n, gpointer data);

VARVE_SHARED VarveBatch *varve_batch_new(VarveBatchFunc func, gpointer data);
VARVE_SHARED void varve_batch_free(VarveBatch *batch);

/* Returns when a batch that began after this call, and held item, has ended. */
VARVE_SHARED void varve_batch_submit(VarveBatch *batch, gpointer item);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveBatch, varve_batch_free)

#endif
