/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/workers.h"
#include <pthread.h>
#include <signal.h>
#include <time.h>

/* Enough for any handler, and less than a huge page: the kernel would make one of a larger stack.
 */
#define STACK_SIZE   (512u << 10)
#define IDLE_SECONDS 5

typedef struct Worker Worker;
struct Worker {
    VarveWorkers *workers;
    pthread_t thread;
    pthread_cond_t called;
    gboolean coming; /* told to look at the queue; it has not yet */
    GList link;      /* in idle */
};

/*
 * Waking a thread costs more than many a call, so they wake each other: who queues work wakes one,
 * and a thread that takes work and leaves some behind wakes the next before it begins. If work is
 * done quicker than threads wake, few of them do it all.
 *
 * Invariants, under the lock:
 *  - while work is queued, one worker is coming, or as many as may be are busy;
 *  - at most one is coming, which waking tells; it is not in idle;
 *  - ended is the last thread that ended, and has joined (or will join) the one before it: so
 *    whoever joins it has joined all of them.
 */
struct VarveWorkers {
    VarveWorkersFunc func;
    guint max;
    pthread_attr_t attributes;
    pthread_condattr_t monotonic;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* count went down */
    guint count;
    gboolean waking, closing;
    GQueue idle;  /* newest first */
    GQueue queue; /* oldest first */
    Worker *ended;
};

VarveWorkers *
varve_workers_new(VarveWorkersFunc func, guint max)
{
    VarveWorkers *workers = g_new0(VarveWorkers, 1);
    workers->func = func;
    workers->max = max;
    pthread_attr_init(&workers->attributes);
    pthread_attr_setstacksize(&workers->attributes, STACK_SIZE);
    pthread_condattr_init(&workers->monotonic);
    pthread_condattr_setclock(&workers->monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->changed, NULL);
    return workers;
}

static void
join(Worker *worker)
{
    if (worker == NULL)
        return;
    pthread_join(worker->thread, NULL);
    pthread_cond_destroy(&worker->called);
    g_free(worker);
}

void
varve_workers_free(VarveWorkers *workers)
{
    if (workers == NULL)
        return;
    pthread_mutex_lock(&workers->lock);
    g_assert(workers->queue.length == 0);
    workers->closing = TRUE;
    for (GList *l = workers->idle.head; l != NULL; l = l->next)
        pthread_cond_signal(&((Worker *)l->data)->called);
    while (workers->count > 0)
        pthread_cond_wait(&workers->changed, &workers->lock);
    pthread_mutex_unlock(&workers->lock);

    join(workers->ended);
    pthread_cond_destroy(&workers->changed);
    pthread_mutex_destroy(&workers->lock);
    pthread_condattr_destroy(&workers->monotonic);
    pthread_attr_destroy(&workers->attributes);
    g_free(workers);
}

static void *run(void *data);

/* Signals are left to the program's own threads. */
static gboolean
start_worker(VarveWorkers *workers)
{
    Worker *worker = g_new0(Worker, 1);
    worker->workers = workers;
    worker->link.data = worker;
    worker->coming = TRUE;
    pthread_cond_init(&worker->called, &workers->monotonic);

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&worker->thread, &workers->attributes, run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) {
        pthread_cond_destroy(&worker->called);
        g_free(worker);
        return FALSE;
    }
    workers->count++;
    return TRUE;
}

/* Under the lock: sees to it that somebody comes for what is queued, if anybody can. */
static void
call_worker(VarveWorkers *workers)
{
    if (workers->waking || workers->queue.length == 0)
        return;
    GList *idle = g_queue_pop_head_link(&workers->idle);
    if (idle != NULL) {
        Worker *worker = idle->data;
        worker->coming = workers->waking = TRUE;
        pthread_cond_signal(&worker->called);
    } else if (workers->count < workers->max) {
        workers->waking = start_worker(workers);
    }
}

/* Under the lock: waits to be called. FALSE: that took long, or the pool closes. */
static gboolean
wait_idle(Worker *self)
{
    VarveWorkers *workers = self->workers;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    g_queue_push_head_link(&workers->idle, &self->link);
    int result = 0;
    while (!self->coming && !workers->closing && result == 0)
        result = pthread_cond_timedwait(&self->called, &workers->lock, &until);
    if (!self->coming)
        g_queue_unlink(&workers->idle, &self->link);
    return self->coming;
}

/* Under the lock: does work until there is none. */
static void
do_work(Worker *self)
{
    VarveWorkers *workers = self->workers;
    self->coming = workers->waking = FALSE;
    GList *link;
    while ((link = g_queue_pop_head_link(&workers->queue)) != NULL) {
        gpointer item = link->data;
        ((VarveWork *)link)->queued = FALSE;
        call_worker(workers);
        pthread_mutex_unlock(&workers->lock);
        workers->func(item);
        pthread_mutex_lock(&workers->lock);
    }
}

static void *
run(void *data)
{
    Worker *self = data;
    VarveWorkers *workers = self->workers;
    pthread_mutex_lock(&workers->lock);
    do
        do_work(self);
    while (wait_idle(self));

    Worker *before = workers->ended;
    workers->ended = self;
    workers->count--;
    pthread_cond_signal(&workers->changed);
    pthread_mutex_unlock(&workers->lock);
    join(before);
    return NULL;
}

gboolean
varve_workers_push(VarveWorkers *workers, VarveWork *work, gpointer item)
{
    pthread_mutex_lock(&workers->lock);
    work->link.data = item;
    work->queued = TRUE;
    g_queue_push_tail_link(&workers->queue, &work->link);
    call_worker(workers);
    gboolean taken = workers->count > 0;
    if (!taken) {
        g_queue_unlink(&workers->queue, &work->link);
        work->queued = FALSE;
    }
    pthread_mutex_unlock(&workers->lock);
    return taken;
}

gboolean
varve_workers_withdraw(VarveWorkers *workers, VarveWork *work)
{
    pthread_mutex_lock(&workers->lock);
    gboolean queued = work->queued;
    if (queued)
        g_queue_unlink(&workers->queue, &work->link);
    work->queued = FALSE;
    pthread_mutex_unlock(&workers->lock);
    return queued;
}
