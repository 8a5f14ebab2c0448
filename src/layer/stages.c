/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/stages.h"

typedef struct {
    void (*stop)(gpointer data);
    gpointer data;
    GMutex lock;
    GError *error; /* the first one */
} Run;

typedef struct {
    Run *run;
    const VarveStage *stage;
    GThread *thread;
} Running;

/* Takes the error. */
static void
fail(Run *run, GError *error)
{
    g_mutex_lock(&run->lock);
    if (run->error == NULL)
        run->error = g_steal_pointer(&error);
    g_mutex_unlock(&run->lock);
    g_clear_error(&error);
    run->stop(run->data);
}

static gpointer
work(gpointer data)
{
    const Running *running = data;
    GError *error = NULL;
    if (!running->stage->work(running->run->data, &error))
        fail(running->run, error);
    return NULL;
}

static void
start(Running *running)
{
    g_autoptr(GError) error = NULL;
    running->thread = g_thread_try_new(running->stage->name, work, running, &error);
    if (running->thread == NULL)
        fail(running->run, g_error_new(VARVE_ERROR, VARVE_ERROR_UNAVAILABLE,
                                       "starting a thread: %s", error->message));
}

gboolean
varve_stages_run(const VarveStage *stages, gsize n, void (*stop)(gpointer data), gpointer data,
                 GError **error)
{
    Run run = {.stop = stop, .data = data};
    g_mutex_init(&run.lock);
    g_autofree Running *all = g_new0(Running, n);
    for (gsize i = 0; i < n; i++)
        all[i] = (Running){.run = &run, .stage = &stages[i]};
    for (gsize i = 1; i < n; i++)
        start(&all[i]);
    work(&all[0]);
    for (gsize i = 1; i < n; i++) {
        if (all[i].thread != NULL)
            g_thread_join(all[i].thread);
    }
    g_mutex_clear(&run.lock);
    if (run.error == NULL)
        return TRUE;
    g_propagate_error(error, run.error);
    return FALSE;
}

gboolean
varve_stage_stopped(GError **error)
{
    return varve_error_set(error, VARVE_ERROR_CANCELLED, "another thread failed");
}
