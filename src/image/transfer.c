/* SPDX-License-Identifier: Apache-2.0 */
#include "image/transfer.h"

#define DEFAULT_JOBS 3
#define MAX_JOBS     64
#define LOOK         (G_USEC_PER_SEC / 20) /* between two looks whether the engine was cancelled */

struct VarveTransfer {
    VarveImages *images;
    GPtrArray *items; /* of VarveTransferItem* */
    VarveTransferFunc func;
    gpointer data;

    GMutex lock;
    GCond changed;
    gint stop; /* set once, looked at without the lock */
    /* Below: under the lock. */
    guint next; /* of the items, which nobody has taken */
    guint busy; /* threads that have not ended */
    GError *error;
};

static void
item_free(gpointer data)
{
    VarveTransferItem *item = data;
    varve_descriptor_free(item->descriptor);
    g_free(item);
}

VarveTransfer *
varve_transfer_new(VarveImages *images)
{
    VarveTransfer *transfer = g_new0(VarveTransfer, 1);
    transfer->images = images;
    transfer->items = g_ptr_array_new_with_free_func(item_free);
    g_mutex_init(&transfer->lock);
    g_cond_init(&transfer->changed);
    return transfer;
}

void
varve_transfer_free(VarveTransfer *transfer)
{
    if (transfer == NULL)
        return;
    g_ptr_array_unref(transfer->items);
    g_clear_error(&transfer->error);
    g_mutex_clear(&transfer->lock);
    g_cond_clear(&transfer->changed);
    g_free(transfer);
}

void
varve_transfer_add(VarveTransfer *transfer, const VarveDescriptor *descriptor)
{
    VarveTransferItem *item = g_new0(VarveTransferItem, 1);
    item->descriptor = varve_descriptor_copy(descriptor);
    varve_progress_init(&item->progress, transfer->images, item->descriptor);
    varve_progress_tell(&item->progress, VARVE_IMAGE_WAITING, 0);
    g_ptr_array_add(transfer->items, item);
}

void
varve_moved_count(VarveImageMoved *moved, VarveImageStage outcome, guint64 bytes)
{
    moved->items++;
    moved->moved += outcome == VARVE_IMAGE_DONE;
    moved->present += outcome == VARVE_IMAGE_PRESENT;
    moved->mounted += outcome == VARVE_IMAGE_MOUNTED;
    moved->skipped += outcome == VARVE_IMAGE_SKIPPED;
    moved->bytes += bytes;
}

/* --- threads ---------------------------------------------------------------------------------- */

static VarveTransferItem *
take(VarveTransfer *transfer)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&transfer->lock);
    if (g_atomic_int_get(&transfer->stop) || transfer->next == transfer->items->len)
        return NULL;
    return g_ptr_array_index(transfer->items, transfer->next++);
}

/* The others end because of it: what they say then is of no interest. */
static void
note_failure(VarveTransfer *transfer, VarveTransferItem *item, GError *error)
{
    g_mutex_lock(&transfer->lock);
    gboolean first = transfer->error == NULL;
    if (first)
        transfer->error = error;
    g_atomic_int_set(&transfer->stop, 1);
    g_mutex_unlock(&transfer->lock);
    if (first && !g_error_matches(error, VARVE_ERROR, VARVE_ERROR_CANCELLED))
        varve_progress_tell(&item->progress, VARVE_IMAGE_FAILED, 0);
    if (!first)
        g_error_free(error);
}

static gpointer
work(gpointer data)
{
    VarveTransfer *transfer = data;
    for (VarveTransferItem *item; (item = take(transfer)) != NULL;) {
        GError *error = NULL;
        if (!transfer->func(item, &transfer->stop, transfer->data, &error))
            note_failure(transfer, item, error);
    }
    g_mutex_lock(&transfer->lock);
    transfer->busy--;
    g_cond_signal(&transfer->changed);
    g_mutex_unlock(&transfer->lock);
    return NULL;
}

/* The threads know of a flag of their own, which the engine's is handed on to: it may be set by a
 * signal's handler, which can wake nobody. */
static void
wait_for_threads(VarveTransfer *transfer)
{
    const gint *cancelled = transfer->images->watch.cancelled;
    g_mutex_lock(&transfer->lock);
    while (transfer->busy > 0) {
        (void)g_cond_wait_until(&transfer->changed, &transfer->lock, g_get_monotonic_time() + LOOK);
        if (!varve_check_cancelled(cancelled, NULL))
            g_atomic_int_set(&transfer->stop, 1);
    }
    g_mutex_unlock(&transfer->lock);
}

static void
run_threads(VarveTransfer *transfer, guint jobs)
{
    guint n = MIN(jobs, transfer->items->len);
    GThread *threads[MAX_JOBS];
    transfer->busy = n;
    for (guint i = 0; i < n; i++)
        threads[i] = g_thread_new("transfer", work, transfer);
    wait_for_threads(transfer);
    for (guint i = 0; i < n; i++)
        g_thread_join(threads[i]);
}

void
varve_transfer_stop(VarveTransfer *transfer)
{
    g_atomic_int_set(&transfer->stop, 1);
}

gboolean
varve_transfer_run(VarveTransfer *transfer, guint jobs, VarveTransferFunc func, gpointer data,
                   VarveImageMoved *moved, GError **error)
{
    transfer->func = func;
    transfer->data = data;
    run_threads(transfer, jobs == 0 ? DEFAULT_JOBS : MIN(jobs, MAX_JOBS));
    for (guint i = 0; i < transfer->next; i++) {
        const VarveTransferItem *item = g_ptr_array_index(transfer->items, i);
        varve_moved_count(moved, item->progress.stage, item->moved);
    }
    if (transfer->error == NULL)
        return varve_check_cancelled(transfer->images->watch.cancelled, error);
    g_propagate_error(error, g_steal_pointer(&transfer->error));
    return FALSE;
}
