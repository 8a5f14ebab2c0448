/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_WORKERS_H
#define VARVE_RPC_WORKERS_H

/*
 * Threads for work that may block: as many as there is work for, up to a limit; beyond it, work
 * queues. The thread that became idle last is used first, so that its caches are warm and the
 * others can end: an idle thread does so after some seconds.
 */

#include <glib.h>

typedef struct VarveWorkers VarveWorkers;

/* A place in the queue, embedded in what it stands for. */
typedef struct {
    GList link; /* data: the item */
    gboolean queued;
} VarveWork;

typedef void (*VarveWorkersFunc)(gpointer item);

VarveWorkers *varve_workers_new(VarveWorkersFunc func, guint max);

/* Waits for what runs; nothing may be queued. */
void varve_workers_free(VarveWorkers *workers);

/* Has func(item) called on some thread. FALSE: there is none, and none could be started. */
gboolean varve_workers_push(VarveWorkers *workers, VarveWork *work, gpointer item);

/* Takes work back that no thread has begun. FALSE: too late. */
gboolean varve_workers_withdraw(VarveWorkers *workers, VarveWork *work);

#endif
