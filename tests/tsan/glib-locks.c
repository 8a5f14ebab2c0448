/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GLib's locks, made of pthread's, for builds with ThreadSanitizer only.
 *
 * GLib makes its own of futexes, which ThreadSanitizer does not see: it would report every access
 * that they guard. Linked into the library under test, these take their place.
 */
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdlib.h>

/* The object behind a lock, made when it is first used: a static GMutex is never initialised. */
#define BEHIND(type, place, init)                                                                  \
    static type *place##_behind(gpointer *slot)                                                    \
    {                                                                                              \
        type *object = __atomic_load_n((type **)slot, __ATOMIC_ACQUIRE), *none = NULL;             \
        if (object != NULL)                                                                        \
            return object;                                                                         \
        object = calloc(1, sizeof(type));                                                          \
        init(object, NULL);                                                                        \
        if (__atomic_compare_exchange_n((type **)slot, &none, object, FALSE, __ATOMIC_ACQ_REL,     \
                                        __ATOMIC_ACQUIRE))                                         \
            return object;                                                                         \
        free(object);                                                                              \
        return none;                                                                               \
    }

static void
init_cond(pthread_cond_t *cond, void *unused)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* as g_cond_wait_until counts */
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

BEHIND(pthread_mutex_t, mutex, pthread_mutex_init)
BEHIND(pthread_cond_t, cond, init_cond)
BEHIND(pthread_rwlock_t, rwlock, pthread_rwlock_init)

void
g_mutex_init(GMutex *mutex)
{
    mutex->p = NULL;
}

void
g_mutex_clear(GMutex *mutex)
{
    pthread_mutex_destroy(mutex_behind(&mutex->p));
    free(mutex->p);
    mutex->p = NULL;
}

void
g_mutex_lock(GMutex *mutex)
{
    pthread_mutex_lock(mutex_behind(&mutex->p));
}

gboolean
g_mutex_trylock(GMutex *mutex)
{
    return pthread_mutex_trylock(mutex_behind(&mutex->p)) == 0;
}

void
g_mutex_unlock(GMutex *mutex)
{
    pthread_mutex_unlock(mutex_behind(&mutex->p));
}

void
g_cond_init(GCond *cond)
{
    cond->p = NULL;
}

void
g_cond_clear(GCond *cond)
{
    pthread_cond_destroy(cond_behind(&cond->p));
    free(cond->p);
    cond->p = NULL;
}

void
g_cond_wait(GCond *cond, GMutex *mutex)
{
    pthread_cond_wait(cond_behind(&cond->p), mutex_behind(&mutex->p));
}

gboolean
g_cond_wait_until(GCond *cond, GMutex *mutex, gint64 end_time)
{
    struct timespec until = {end_time / G_USEC_PER_SEC, end_time % G_USEC_PER_SEC * 1000};
    return pthread_cond_timedwait(cond_behind(&cond->p), mutex_behind(&mutex->p), &until) !=
           ETIMEDOUT;
}

void
g_cond_signal(GCond *cond)
{
    pthread_cond_signal(cond_behind(&cond->p));
}

void
g_cond_broadcast(GCond *cond)
{
    pthread_cond_broadcast(cond_behind(&cond->p));
}

void
g_rw_lock_init(GRWLock *lock)
{
    lock->p = NULL;
}

void
g_rw_lock_clear(GRWLock *lock)
{
    pthread_rwlock_destroy(rwlock_behind(&lock->p));
    free(lock->p);
    lock->p = NULL;
}

void
g_rw_lock_writer_lock(GRWLock *lock)
{
    pthread_rwlock_wrlock(rwlock_behind(&lock->p));
}

void
g_rw_lock_writer_unlock(GRWLock *lock)
{
    pthread_rwlock_unlock(rwlock_behind(&lock->p));
}

void
g_rw_lock_reader_lock(GRWLock *lock)
{
    pthread_rwlock_rdlock(rwlock_behind(&lock->p));
}

void
g_rw_lock_reader_unlock(GRWLock *lock)
{
    pthread_rwlock_unlock(rwlock_behind(&lock->p));
}
