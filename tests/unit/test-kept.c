/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of transfers, while others look whether it is old. */
#include "engine-pool.h"
#include "snapshot/kept.h"

#define UUID   "3803e174-200e-4da7-9f1a-82b1c1d9aa71"
#define ROUNDS 20000

typedef struct {
    VarveEngine *engine;
    gint ended;
} Sweeper;

static gpointer
sweep(gpointer data)
{
    Sweeper *sweeper = data;
    while (!g_atomic_int_get(&sweeper->ended))
        varve_kept_expire(sweeper->engine);
    return NULL;
}

/* A file that was just made is empty, as one is that nobody needs: who takes it away for that is
 * told of nothing, and who made it makes it again. */
static void
test_expired_while_it_begins(EnginePool *f, gconstpointer data)
{
    Sweeper sweeper = {.engine = f->engine};
    GThread *thread = g_thread_new("sweeper", sweep, &sweeper);
    for (int i = 0; i < ROUNDS; i++) {
        g_autoptr(GError) error = NULL;
        VarveKept *kept = varve_kept_open(f->pool, UUID, TRUE, &error);
        g_assert_no_error(error);
        varve_kept_close(kept);
    }
    g_atomic_int_set(&sweeper.ended, TRUE);
    g_thread_join(thread);
}

/* What came is there still, and two do not have it at once. */
static void
test_kept(EnginePool *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(varve_kept_open(f->pool, UUID, FALSE, &error));
    g_assert_no_error(error);
    VarveKept *kept = varve_kept_open(f->pool, UUID, TRUE, &error);
    g_assert_no_error(error);
    VarveSink sink = varve_kept_write(kept, 0);
    g_assert_true(sink.write(sink.data, "what came", 9, &error));
    g_assert_null(varve_kept_open(f->pool, UUID, TRUE, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_BUSY);
    g_clear_error(&error);
    varve_kept_close(kept);

    varve_kept_expire(f->engine);
    kept = varve_kept_open(f->pool, UUID, FALSE, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(varve_kept_size(kept), ==, 9);
    char bytes[16] = "";
    VarveSource source = varve_kept_read(kept, 9);
    g_assert_cmpint(source.read(source.data, bytes, sizeof(bytes), &error), ==, 9);
    g_assert_cmpstr(bytes, ==, "what came");
    varve_kept_forget(kept);
    varve_kept_close(kept);
    g_assert_null(varve_kept_open(f->pool, UUID, FALSE, &error));
    g_assert_no_error(error);
}

#define TEST(name, func)                                                                           \
    g_test_add("/kept/" name, EnginePool, NULL, engine_pool_set_up, func, engine_pool_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("kept", test_kept);
    TEST("expired-while-it-begins", test_expired_while_it_begins);
    return g_test_run();
}
