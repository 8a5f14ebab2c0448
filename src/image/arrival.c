/* SPDX-License-Identifier: Apache-2.0 */
#include "image/arrival.h"
#include <unistd.h>

#define LOOK (G_USEC_PER_SEC / 20) /* between two looks whether the reader was cancelled */

struct VarveArrival {
    VarveProgressPair progress;
    GMutex lock;
    GCond changed;
    /* Below: under the lock. */
    int fd; /* of the file that grows; -1: it is not begun, or nobody needs it any more */
    guint readers;
    guint attempt; /* counts how often it was begun anew */
    guint64 written;
    gboolean verified, ended, lost;
};

struct VarveArrivals {
    GHashTable *by_digest; /* of VarveArrival*; does not change once somebody fetches */
};

static void
arrival_free(gpointer data)
{
    VarveArrival *arrival = data;
    g_assert(arrival->readers == 0);
    varve_fd_clear(&arrival->fd);
    g_cond_clear(&arrival->changed);
    g_mutex_clear(&arrival->lock);
    g_free(arrival);
}

VarveArrivals *
varve_arrivals_new(void)
{
    VarveArrivals *arrivals = g_new0(VarveArrivals, 1);
    arrivals->by_digest = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, arrival_free);
    return arrivals;
}

void
varve_arrivals_free(VarveArrivals *arrivals)
{
    if (arrivals == NULL)
        return;
    g_hash_table_unref(arrivals->by_digest);
    g_free(arrivals);
}

void
varve_arrivals_add(VarveArrivals *arrivals, const char *digest)
{
    if (g_hash_table_contains(arrivals->by_digest, digest))
        return;
    VarveArrival *arrival = g_new0(VarveArrival, 1);
    g_mutex_init(&arrival->lock);
    g_cond_init(&arrival->changed);
    arrival->fd = -1;
    g_hash_table_insert(arrivals->by_digest, g_strdup(digest), arrival);
}

VarveArrival *
varve_arrivals_find(VarveArrivals *arrivals, const char *digest)
{
    return arrivals != NULL ? g_hash_table_lookup(arrivals->by_digest, digest) : NULL;
}

VarveProgressPair *
varve_arrival_progress(VarveArrival *arrival)
{
    return arrival != NULL ? &arrival->progress : NULL;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A file for each layer would be more than a process may have open. */
static void
drop_unneeded(VarveArrival *arrival)
{
    if (arrival->ended && arrival->readers == 0)
        varve_fd_clear(&arrival->fd);
}

void
varve_arrival_begin(VarveArrival *arrival, int fd, guint64 written)
{
    if (arrival == NULL) {
        varve_fd_clear(&fd);
        return;
    }
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&arrival->lock);
    arrival->fd = fd;
    arrival->written = written;
    g_cond_broadcast(&arrival->changed);
}

void
varve_arrival_advance(VarveArrival *arrival, guint64 written)
{
    if (arrival == NULL)
        return;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&arrival->lock);
    if (arrival->written == written)
        return;
    arrival->written = written;
    g_cond_broadcast(&arrival->changed);
}

void
varve_arrival_restart(VarveArrival *arrival)
{
    if (arrival == NULL)
        return;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&arrival->lock);
    arrival->attempt++;
    arrival->written = 0;
    g_cond_broadcast(&arrival->changed);
}

void
varve_arrival_verify(VarveArrival *arrival)
{
    if (arrival == NULL)
        return;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&arrival->lock);
    arrival->verified = TRUE;
    g_cond_broadcast(&arrival->changed);
}

void
varve_arrival_end(VarveArrival *arrival, gboolean lost)
{
    if (arrival == NULL)
        return;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&arrival->lock);
    if (arrival->ended)
        return;
    arrival->ended = TRUE;
    arrival->lost = lost;
    drop_unneeded(arrival);
    g_cond_broadcast(&arrival->changed);
}

void
varve_arrivals_end(VarveArrivals *arrivals)
{
    GHashTableIter iter;
    gpointer arrival;
    g_hash_table_iter_init(&iter, arrivals->by_digest);
    while (g_hash_table_iter_next(&iter, NULL, &arrival))
        varve_arrival_end(arrival, TRUE);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* With the lock. A signal's handler, which cancels, can wake nobody. */
static gboolean
wait(VarveArrival *arrival, const gint *cancelled, GError **error)
{
    (void)g_cond_wait_until(&arrival->changed, &arrival->lock, g_get_monotonic_time() + LOOK);
    return varve_check_cancelled(cancelled, error);
}

/* Why a fetch failed is for who fetches to tell; what did not fail and is not there need not be. */
static gboolean
set_missing(const VarveArrival *arrival, GError **error)
{
    return arrival->lost
               ? varve_error_set(error, VARVE_ERROR_CANCELLED, "it was not fetched to its end")
               : varve_error_set(error, VARVE_ERROR_NOT_FOUND, "the registry has not got it");
}

gboolean
varve_arrival_open(VarveArrival *arrival, const gint *cancelled, VarveArrivalReader *reader,
                   gboolean *there, GError **error)
{
    *there = FALSE;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&arrival->lock);
    while (arrival->fd < 0 && !arrival->ended) {
        if (!wait(arrival, cancelled, error))
            return FALSE;
    }
    if (arrival->lost)
        return set_missing(arrival, error);
    *there = arrival->fd < 0;
    if (*there)
        return TRUE;
    arrival->readers++;
    *reader = (VarveArrivalReader){arrival, cancelled, 0, arrival->attempt};
    return TRUE;
}

void
varve_arrival_close(VarveArrivalReader *reader)
{
    VarveArrival *arrival = reader->arrival;
    if (arrival == NULL)
        return;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&arrival->lock);
    arrival->readers--;
    drop_unneeded(arrival);
    reader->arrival = NULL;
}

/* How many bytes can be read, 0 at the end; -1 with the error set. The order of the questions
 * counts: what was read before the file was begun anew must not pass for the blob. */
static gint64
wait_for_bytes(VarveArrivalReader *reader, GError **error)
{
    VarveArrival *arrival = reader->arrival;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&arrival->lock);
    for (;;) {
        if (arrival->attempt != reader->attempt) {
            varve_error_set(error, VARVE_ERROR_CORRUPT, "its beginning was wrong");
            return -1;
        }
        if (arrival->written > reader->offset)
            return (gint64)(arrival->written - reader->offset);
        if (arrival->verified)
            return 0;
        if (arrival->ended) {
            set_missing(arrival, error);
            return -1;
        }
        if (!wait(arrival, reader->cancelled, error))
            return -1;
    }
}

static gssize
read_arrived(gpointer data, void *buffer, gsize size, GError **error)
{
    VarveArrivalReader *reader = data;
    gint64 there = wait_for_bytes(reader, error);
    if (there <= 0)
        return (gssize)there;
    size = MIN(size, (gsize)there);
    ssize_t n;
    do
        n = pread(reader->arrival->fd, buffer, size, (off_t)reader->offset);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        reader->offset += (guint64)n;
        return n;
    }
    if (n == 0) /* the writer has just begun anew */
        varve_error_set(error, VARVE_ERROR_CORRUPT, "its file was cut short");
    else
        varve_error_set_errno(error, errno, "reading what was fetched of it");
    return -1;
}

VarveSource
varve_arrival_source(VarveArrivalReader *reader)
{
    return (VarveSource){read_arrived, reader};
}

gboolean
varve_arrival_decide(VarveArrivalReader *reader, gboolean *again, GError **error)
{
    VarveArrival *arrival = reader->arrival;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&arrival->lock);
    while (!arrival->verified && !arrival->ended && arrival->attempt == reader->attempt) {
        if (!wait(arrival, reader->cancelled, error))
            return FALSE;
    }
    *again = arrival->attempt != reader->attempt && !arrival->lost;
    return *again || arrival->verified || set_missing(arrival, error);
}
