/* SPDX-License-Identifier: Apache-2.0 */
#include "base/batch.h"

typedef struct {
    VarveBatch *batch;
    gint running, batches, done;
} Fixture;

static void
run(gpointer *items, gsize n, gpointer data)
{
    Fixture *f = data;
    g_assert_cmpint(g_atomic_int_add(&f->running, 1), ==, 0); /* one batch at a time */
    for (gsize i = 0; i < n; i++)
        ++*(gint *)items[i];
    f->batches++;
    f->done += (gint)n;
    g_usleep(200);
    g_atomic_int_add(&f->running, -1);
}

static gpointer
submit_many(gpointer data)
{
    Fixture *f = data;
    for (int i = 0; i < 200; i++) {
        gint count = 0;
        varve_batch_submit(f->batch, &count);
        g_assert_cmpint(count, ==, 1); /* run exactly once, before submit returned */
    }
    return NULL;
}

static void
test_alone(void)
{
    Fixture f = {0};
    f.batch = varve_batch_new(run, &f);
    submit_many(&f);
    g_assert_cmpint(f.batches, ==, 200);
    varve_batch_free(f.batch);
}

static void
test_shared(void)
{
    Fixture f = {0};
    f.batch = varve_batch_new(run, &f);
    GThread *threads[8];
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("submit", submit_many, &f);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    g_assert_cmpint(f.done, ==, 1600);
    g_assert_cmpint(f.batches, <, 1600); /* eight threads that wait 200 us did share */
    varve_batch_free(f.batch);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/batch/alone", test_alone);
    g_test_add_func("/batch/shared", test_shared);
    return g_test_run();
}
