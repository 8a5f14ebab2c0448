/* SPDX-License-Identifier: Apache-2.0 */
#include "image/unpack.h"

/* Each is a pipeline of four threads, which takes some 11 MB; so do all those that fetch. */
#define MAX_AT_ONCE        4
#define MAX_WHILE_FETCHING 3

/* How often the wish to end it is looked at while waiting. */
#define LOOK (100 * G_TIME_SPAN_MILLISECOND)

typedef struct {
    VarveUnpackLayer *layers;
    guint n;
    const VarveUnpacking *unpacking; /* the caller's */
    gint stopped;                    /* for the threads */
    GMutex lock;
    GCond changed;
    guint next;     /* the first one that nobody has begun */
    gboolean *done; /* with its error, or NULL */
    GError **errors;
} Beside;

static gboolean
begin_next(Beside *beside, guint *i)
{
    g_mutex_lock(&beside->lock);
    *i = beside->next;
    gboolean any = beside->next < beside->n && !g_atomic_int_get(&beside->stopped);
    if (any)
        beside->next++;
    g_mutex_unlock(&beside->lock);
    return any;
}

static gpointer
work(gpointer data)
{
    Beside *beside = data;
    for (guint i; begin_next(beside, &i);) {
        GError *error = NULL;
        varve_unpack_layer_apply(&beside->layers[i], &error);
        g_mutex_lock(&beside->lock);
        beside->errors[i] = error;
        beside->done[i] = TRUE;
        g_cond_signal(&beside->changed);
        g_mutex_unlock(&beside->lock);
    }
    return NULL;
}

static gboolean
wait_for(Beside *beside, guint i, GError **error)
{
    gboolean going_on = TRUE;
    g_mutex_lock(&beside->lock);
    while (going_on && !beside->done[i]) {
        g_cond_wait_until(&beside->changed, &beside->lock, g_get_monotonic_time() + LOOK);
        going_on = varve_check_cancelled(beside->unpacking->watch.cancelled, error);
    }
    g_mutex_unlock(&beside->lock);
    if (!going_on || beside->errors[i] == NULL)
        return going_on;
    g_propagate_error(error, g_steal_pointer(&beside->errors[i]));
    return FALSE;
}

static gboolean
commit_all(Beside *beside, guint *failed, GError **error)
{
    for (*failed = 0; *failed < beside->n; ++*failed) {
        VarveUnpackLayer *layer = &beside->layers[*failed];
        gboolean applied = wait_for(beside, *failed, error);
        if (applied)
            layer->unpacking = beside->unpacking;
        if (!applied || !varve_unpack_layer_commit(layer, error))
            return FALSE;
    }
    return TRUE;
}

/* In the calling thread alone, if there is no other to be had. */
static guint
start(Beside *beside, GThread **threads)
{
    guint most = beside->unpacking->arrivals != NULL ? MAX_WHILE_FETCHING : MAX_AT_ONCE;
    guint wanted = MIN(MIN(g_get_num_processors(), most), beside->n), begun = 0;
    while (begun < wanted) {
        threads[begun] = g_thread_try_new("unpack", work, beside, NULL);
        if (threads[begun] == NULL)
            break;
        begun++;
    }
    if (begun == 0)
        work(beside);
    return begun;
}

gboolean
varve_unpack_beside(VarveUnpackLayer *layers, guint n, guint *failed, GError **error)
{
    g_autofree gboolean *done = g_new0(gboolean, n);
    g_autofree GError **errors = g_new0(GError *, n);
    Beside beside = {
        .layers = layers, .n = n, .unpacking = layers[0].unpacking, .done = done, .errors = errors};
    g_mutex_init(&beside.lock);
    g_cond_init(&beside.changed);
    VarveUnpacking unpacking = *layers[0].unpacking;
    unpacking.watch.cancelled = &beside.stopped;
    for (guint i = 0; i < n; i++)
        layers[i].unpacking = &unpacking;
    GThread *threads[MAX_AT_ONCE];
    guint begun = start(&beside, threads);
    gboolean ok = commit_all(&beside, failed, error);
    g_atomic_int_set(&beside.stopped, !ok);
    for (guint i = 0; i < begun; i++)
        g_thread_join(threads[i]);
    for (guint i = *failed; i < n; i++) {
        layers[i].unpacking = beside.unpacking;
        varve_unpack_layer_undo(&layers[i]);
        g_clear_error(&errors[i]);
    }
    g_cond_clear(&beside.changed);
    g_mutex_clear(&beside.lock);
    return ok;
}
