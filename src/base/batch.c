/* SPDX-License-Identifier: Apache-2.0 */
#include "base/batch.h"

/*
 * Invariants, under the lock:
 *  - while leading is TRUE exactly one thread is between taking a queue and marking it done, or has
 *    been told to (its waiter's state is LEAD);
 *  - whoever is queued is asleep, or about to sleep, until its state leaves WAITING.
 */

typedef enum { WAITING, LEAD, DONE } State;

typedef struct Waiter Waiter;
struct Waiter {
    gpointer item;
    State state;
    GCond cond;
    Waiter *next;
};

struct VarveBatch {
    VarveBatchFunc func;
    gpointer data;
    GMutex lock;
    gboolean leading;
    Waiter *head, **tail;
    GPtrArray *items; /* the leader's scratch space */
};

VarveBatch *
varve_batch_new(VarveBatchFunc func, gpointer data)
{
    VarveBatch *batch = g_new0(VarveBatch, 1);
    batch->func = func;
    batch->data = data;
    batch->tail = &batch->head;
    batch->items = g_ptr_array_new();
    g_mutex_init(&batch->lock);
    return batch;
}

void
varve_batch_free(VarveBatch *batch)
{
    if (batch == NULL)
        return;
    g_assert(!batch->leading && batch->head == NULL);
    g_ptr_array_unref(batch->items);
    g_mutex_clear(&batch->lock);
    g_free(batch);
}

/* Takes all that is queued, the caller's own item among it, and runs it. Called and returns with
 * the lock held; drops it meanwhile. */
static void
lead(VarveBatch *batch)
{
    Waiter *taken = batch->head;
    batch->head = NULL;
    batch->tail = &batch->head;
    g_mutex_unlock(&batch->lock);

    g_ptr_array_set_size(batch->items, 0);
    for (Waiter *w = taken; w != NULL; w = w->next)
        g_ptr_array_add(batch->items, w->item);
    batch->func(batch->items->pdata, batch->items->len, batch->data);

    g_mutex_lock(&batch->lock);
    for (Waiter *w = taken, *next; w != NULL; w = next) {
        next = w->next; /* w lives on its thread's stack: gone once that sees DONE */
        w->state = DONE;
        g_cond_signal(&w->cond);
    }
    if (batch->head != NULL) {
        batch->head->state = LEAD;
        g_cond_signal(&batch->head->cond);
    } else {
        batch->leading = FALSE;
    }
}

void
varve_batch_submit(VarveBatch *batch, gpointer item)
{
    Waiter self = {.item = item, .state = WAITING};
    g_cond_init(&self.cond);

    g_mutex_lock(&batch->lock);
    /* cppcheck-suppress autoVariables ; self is off the list again before this returns */
    *batch->tail = &self;
    batch->tail = &self.next;
    if (!batch->leading) {
        batch->leading = TRUE;
        self.state = LEAD;
    }
    while (self.state == WAITING)
        g_cond_wait(&self.cond, &batch->lock);
    if (self.state == LEAD)
        lead(batch);
    g_mutex_unlock(&batch->lock);

    g_cond_clear(&self.cond);
}
