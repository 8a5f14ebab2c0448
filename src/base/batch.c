/* SPDX-License-Identifier: Apache-2.0 */
#include "base/batch.h"
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Invariants, under the lock:
 *  - while leading is TRUE exactly one thread is between taking a queue and marking it done, or has
 *    been told to (its waiter's state is LEAD);
 *  - whoever is queued is asleep, or about to sleep, until its state leaves WAITING.
 *
 * Each waiter sleeps on its own state, without the lock: were they to take the lock when they wake,
 * all of a batch would wake only to wait for each other.
 */

enum { WAITING, LEAD, DONE };

typedef struct Waiter Waiter;
struct Waiter {
    gpointer item;
    gint state; /* a futex */
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

/* futex(2) */
static void
sleep_while(gint *word, gint value)
{
    while (g_atomic_int_get(word) == value)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void
set_and_wake(gint *word, gint value)
{
    g_atomic_int_set(word, value);
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Takes all that is queued, the caller's own item among it, and runs it. Called with the lock held,
 * which it gives back. */
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
    Waiter *successor = batch->head;
    if (successor == NULL)
        batch->leading = FALSE;
    g_mutex_unlock(&batch->lock);

    if (successor != NULL)
        set_and_wake(&successor->state, LEAD);
    for (Waiter *w = taken, *next; w != NULL; w = next) {
        next = w->next; /* w lives on its thread's stack: it may be gone once that is DONE, and a
                           wake-up that comes after is as harmless as any without a cause */
        set_and_wake(&w->state, DONE);
    }
}

void
varve_batch_submit(VarveBatch *batch, gpointer item)
{
    Waiter self = {.item = item, .state = WAITING};

    g_mutex_lock(&batch->lock);
    *batch->tail = &self; /* cppcheck-suppress autoVariables ; off the list before this returns */
    batch->tail = &self.next; /* cppcheck-suppress autoVariables */
    if (!batch->leading) {
        batch->leading = TRUE;
        lead(batch);
        return;
    }
    g_mutex_unlock(&batch->lock);

    sleep_while(&self.state, WAITING);
    if (g_atomic_int_get(&self.state) == LEAD) {
        g_mutex_lock(&batch->lock);
        lead(batch);
    }
}
