/* SPDX-License-Identifier: Apache-2.0 */
#include "store/inflight.h"
#include "base/boot-id.h"
#include "base/fd.h"
#include "store/shared-file.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * The file is an array of places, one per process, and each place an array of slots, one per
 * operation. A slot holds the pool and the id in one word, so that it is written and read whole.
 *
 * A process owns its place as long as it holds a write lock on the byte of that number (an open
 * file description lock: it ends with the process, however that dies). Whoever gets the lock of a
 * place that is marked used has found a dead process. Reaping holds that lock, so each slot is
 * handled by one process only.
 *
 * Locks are asked for through a descriptor of its own: locks of one description never conflict.
 */

#define MAGIC     G_GUINT64_CONSTANT(0x31746c6676726156) /* "Varvflt1" */
#define N_PLACES  256
#define N_SLOTS   256
#define ID_BITS   48
#define HEAD_BYTE ((off_t)1 << 32) /* the lock on the head, away from those of the places */
#define KEEP_BYTE (HEAD_BYTE + 1)  /* the housekeeping lock */

typedef struct {
    guint64 magic;
    char boot_id[VARVE_BOOT_ID_SIZE];
    guint64 last_id;
    guint32 search;
    guint8 used[N_PLACES]; /* here, not in the places, so that few pages are touched */
} Head;

typedef struct {
    guint64 slots[N_SLOTS];
} Place;

typedef struct {
    _Alignas(4096) Head head;
    Place places[N_PLACES];
} File;

struct VarveInflight {
    VarveSharedFile shared;
    int fd;      /* holds the lock of our place */
    int probefd; /* asks for others' */
    GMutex probe_lock;
    GMutex keep_lock; /* housekeeping, among our own threads */
    File *file;
    guint place;
};

static gboolean
lock_byte(int fd, short type, off_t byte, gboolean wait)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    int rc;
    do
        rc = fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock);
    while (rc < 0 && errno == EINTR);
    return rc == 0;
}

/* Runs under the lock on the head. A new boot, or a new file, begins with no process at work. What
 * tells that this was done comes last: whoever does it may be killed. */
static void
start_epoch(File *file, guint64 min_id)
{
    char boot_id[sizeof(file->head.boot_id)];
    varve_boot_id_read(boot_id, sizeof(boot_id));
    if (file->head.magic != MAGIC || strcmp(file->head.boot_id, boot_id) != 0) {
        for (guint i = 0; i < N_PLACES; i++) {
            if (file->head.used[i])
                memset(&file->places[i], 0, sizeof(Place));
        }
        memset(file->head.used, 0, sizeof(file->head.used));
        file->head.search = 1;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        memcpy(file->head.boot_id, boot_id, sizeof(boot_id));
        file->head.magic = MAGIC;
    }
    if (file->head.last_id < min_id)
        __atomic_store_n(&file->head.last_id, min_id, __ATOMIC_SEQ_CST);
}

/* Takes place i if it is free or, with used, if a dead process left it. What that one was working
 * on is found by a search then. */
static gboolean
try_place(VarveInflight *inflight, guint i, guint8 used)
{
    Head *head = &inflight->file->head;
    guint64 *slots = inflight->file->places[i].slots;
    if (__atomic_load_n(&head->used[i], __ATOMIC_ACQUIRE) != used ||
        !lock_byte(inflight->fd, F_WRLCK, i, FALSE))
        return FALSE;
    for (guint s = 0; s < N_SLOTS; s++) {
        if (__atomic_exchange_n(&slots[s], 0, __ATOMIC_SEQ_CST) != 0)
            varve_inflight_request_search(inflight);
    }
    __atomic_store_n(&head->used[i], 1, __ATOMIC_RELEASE);
    inflight->place = i;
    return TRUE;
}

/* Places that dead processes left are better reaped, so they are the last choice; but processes
 * that only look never reap. */
static gboolean
take_place(VarveInflight *inflight, GError **error)
{
    for (guint8 used = 0; used <= 1; used++) {
        for (guint i = 0; i < N_PLACES; i++) {
            if (try_place(inflight, i, used))
                return TRUE;
        }
    }
    return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                           "%d processes use this root already: try again when one has ended",
                           N_PLACES);
}

static gboolean
open_file(VarveInflight *inflight, int dirfd, const char *name, guint64 min_id, GError **error)
{
    if (!varve_shared_file_open(&inflight->shared, dirfd, name, sizeof(File), error))
        return FALSE;
    inflight->fd = openat(dirfd, name, O_RDWR | O_CLOEXEC);
    inflight->probefd = openat(dirfd, name, O_RDWR | O_CLOEXEC);
    if (inflight->fd < 0 || inflight->probefd < 0)
        return varve_error_set_errno(error, errno, "opening it");
    if (!lock_byte(inflight->fd, F_WRLCK, HEAD_BYTE, TRUE))
        return varve_error_set_errno(error, errno, "locking it");
    void *map = mmap(NULL, sizeof(File), PROT_READ | PROT_WRITE, MAP_SHARED, inflight->fd, 0);
    if (map == MAP_FAILED)
        return varve_error_set_errno(error, errno, "mapping it");
    inflight->file = map;
    start_epoch(inflight->file, min_id);
    gboolean ok = take_place(inflight, error);
    lock_byte(inflight->fd, F_UNLCK, HEAD_BYTE, TRUE);
    return ok;
}

VarveInflight *
varve_inflight_open(int dirfd, const char *name, guint64 min_id, GError **error)
{
    g_autoptr(VarveInflight) inflight = g_new0(VarveInflight, 1);
    inflight->fd = inflight->probefd = -1;
    inflight->shared = (VarveSharedFile)VARVE_SHARED_FILE_INIT;
    inflight->place = N_PLACES;
    g_mutex_init(&inflight->probe_lock);
    g_mutex_init(&inflight->keep_lock);
    if (!open_file(inflight, dirfd, name, min_id, error)) {
        g_prefix_error(error, "using the file '%s' that processes share: ", name);
        return NULL;
    }
    return g_steal_pointer(&inflight);
}

void
varve_inflight_close(VarveInflight *inflight)
{
    if (inflight == NULL)
        return;
    if (inflight->file != NULL) {
        if (inflight->place < N_PLACES)
            __atomic_store_n(&inflight->file->head.used[inflight->place], 0, __ATOMIC_RELEASE);
        munmap(inflight->file, sizeof(File));
    }
    varve_fd_clear(&inflight->fd);
    varve_fd_clear(&inflight->probefd);
    varve_shared_file_close(&inflight->shared);
    g_mutex_clear(&inflight->probe_lock);
    g_mutex_clear(&inflight->keep_lock);
    g_free(inflight);
}

guint64
varve_inflight_new_id(VarveInflight *inflight)
{
    return __atomic_add_fetch(&inflight->file->head.last_id, 1, __ATOMIC_SEQ_CST);
}

static guint64
pack(guint32 pool, guint64 id)
{
    return ((guint64)pool << ID_BITS) | id;
}

/* How many slots of living or unreaped processes hold the word. */
static guint
count_holders(VarveInflight *inflight, guint64 word)
{
    guint holders = 0;
    for (guint p = 0; p < N_PLACES; p++) {
        if (!__atomic_load_n(&inflight->file->head.used[p], __ATOMIC_ACQUIRE))
            continue;
        guint64 *slots = inflight->file->places[p].slots;
        for (guint i = 0; i < N_SLOTS; i++)
            holders += __atomic_load_n(&slots[i], __ATOMIC_SEQ_CST) == word;
    }
    return holders;
}

/* Each first says what it works on and then looks at the others, so of two with the same id at
 * least one sees the other. */
gboolean
varve_inflight_begin(VarveInflight *inflight, guint32 pool, guint64 id, guint *slot)
{
    guint64 *slots = inflight->file->places[inflight->place].slots;
    guint64 word = pack(pool, id);
    g_assert(id < (G_GUINT64_CONSTANT(1) << ID_BITS) && pool < (1 << 16));

    guint first = (guint)(id % N_SLOTS), i = first;
    for (guint64 empty = 0; !__atomic_compare_exchange_n(&slots[i], &empty, word, FALSE,
                                                         __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
         empty = 0) {
        i = (i + 1) % N_SLOTS;
        if (i == first)
            g_usleep(100);
    }
    *slot = i;
    if (count_holders(inflight, word) == 1)
        return TRUE;
    varve_inflight_end(inflight, i);
    return FALSE;
}

void
varve_inflight_end(VarveInflight *inflight, guint slot)
{
    __atomic_store_n(&inflight->file->places[inflight->place].slots[slot], 0, __ATOMIC_SEQ_CST);
}

/* Whether the process of that place has died, in which case its place is locked by us now. Under
 * probe_lock. */
static gboolean
lock_dead(VarveInflight *inflight, guint place)
{
    return place != inflight->place &&
           __atomic_load_n(&inflight->file->head.used[place], __ATOMIC_ACQUIRE) &&
           lock_byte(inflight->probefd, F_WRLCK, place, FALSE);
}

gboolean
varve_inflight_holds(VarveInflight *inflight, guint32 pool, guint64 id)
{
    return count_holders(inflight, pack(pool, id)) > 0;
}

void
varve_inflight_reap(VarveInflight *inflight, VarveInflightFunc func, gpointer data)
{
    g_mutex_lock(&inflight->probe_lock);
    for (guint p = 0; p < N_PLACES; p++) {
        if (!lock_dead(inflight, p))
            continue;
        Place *place = &inflight->file->places[p];
        for (guint i = 0; i < N_SLOTS; i++) {
            guint64 slot = __atomic_load_n(&place->slots[i], __ATOMIC_SEQ_CST);
            if (slot == 0)
                continue;
            func((guint32)(slot >> ID_BITS), slot & ((G_GUINT64_CONSTANT(1) << ID_BITS) - 1), data);
            __atomic_store_n(&place->slots[i], 0, __ATOMIC_SEQ_CST);
        }
        __atomic_store_n(&inflight->file->head.used[p], 0, __ATOMIC_RELEASE);
        lock_byte(inflight->probefd, F_UNLCK, p, FALSE);
    }
    g_mutex_unlock(&inflight->probe_lock);
}

gboolean
varve_inflight_search_due(VarveInflight *inflight)
{
    return __atomic_load_n(&inflight->file->head.search, __ATOMIC_SEQ_CST) != 0;
}

void
varve_inflight_request_search(VarveInflight *inflight)
{
    __atomic_store_n(&inflight->file->head.search, 1, __ATOMIC_SEQ_CST);
}

void
varve_inflight_search_done(VarveInflight *inflight)
{
    __atomic_store_n(&inflight->file->head.search, 0, __ATOMIC_SEQ_CST);
}

gboolean
varve_inflight_lock(VarveInflight *inflight, gboolean wait)
{
    if (wait)
        g_mutex_lock(&inflight->keep_lock);
    else if (!g_mutex_trylock(&inflight->keep_lock))
        return FALSE;
    if (lock_byte(inflight->fd, F_WRLCK, KEEP_BYTE, wait))
        return TRUE;
    g_mutex_unlock(&inflight->keep_lock);
    return FALSE;
}

void
varve_inflight_unlock(VarveInflight *inflight)
{
    lock_byte(inflight->fd, F_UNLCK, KEEP_BYTE, FALSE);
    g_mutex_unlock(&inflight->keep_lock);
}
