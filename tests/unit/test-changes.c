/* SPDX-License-Identifier: Apache-2.0 */
#include "changes-model.h"
#include "driver-pool.h"
#include "driver/changes.h"
#include "tree-mutate.h"
#include <stdlib.h>
#include <string.h>

/*
 * What drivers tell of changes, against a model of it (changes-model.h), after random ones, through
 * real mounts. Row D7 of the specification. A driver joins by a line in cases[].
 *
 * VARVE_TEST_SEED=N has other changes made; the seed is printed.
 */

#define DEFAULT_SEED 20261122
#define LAYERS       5
#define CHANGES      40 /* in each layer */
#define ROUNDS       4

#ifdef HAVE_ZFS
extern const VarveDriver varve_driver_zfs;
#endif

static const PoolCase cases[] = {
    {&varve_driver_overlay, "ext4"}, {&varve_driver_overlay, "xfs"},
    {&varve_driver_native, "ext4"},  {&varve_driver_native, "xfs"},
    {&varve_driver_native, "tmpfs"}, {&varve_driver_btrfs, "btrfs"},
#ifdef HAVE_ZFS
    {&varve_driver_zfs, "zfs"},
#endif
};

static guint32
seed(void)
{
    const char *text = g_getenv("VARVE_TEST_SEED");
    return text != NULL ? (guint32)strtoul(text, NULL, 10) : DEFAULT_SEED;
}

/* --- what a driver tells ---------------------------------------------------------------------- */

typedef struct {
    GPtrArray *lines;
    GHashTable *renames; /* new path to old one */
} Told;

static gboolean
add_told(const VarveChange *change, gpointer data, GError **error)
{
    Told *told = data;
    g_ptr_array_add(told->lines, changes_line(change));
    if (change->kind == VARVE_CHANGE_RENAMED)
        g_hash_table_insert(told->renames, g_strdup(change->path), g_strdup(change->from));
    return TRUE;
}

static Told
ask(Pool *pool, const VarveDriverSnapshot *of)
{
    Told told = {changes_lines_new(),
                 g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free)};
    g_autoptr(GError) error = NULL;
    g_assert_true(pool->driver->changes(pool->self, of, 60, add_told, &told, &error));
    g_assert_no_error(error);
    return told;
}

static void
told_clear(Told *told)
{
    g_ptr_array_unref(told->lines);
    g_hash_table_unref(told->renames);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Told, told_clear)

static void
assert_same(const GPtrArray *got, const GPtrArray *wanted)
{
    g_autofree char *x = changes_join(got), *y = changes_join(wanted);
    if (!g_str_equal(x, y))
        g_test_message("told:\n%s\nbut it is:\n%s", x, y);
    g_assert_cmpstr(x, ==, y);
}

/* --- random changes --------------------------------------------------------------------------- */

/* The comparing walk of the mounted trees, which other tests trust, has to agree with the model. */
static void
assert_walk(int before, int after)
{
    g_autoptr(GHashTable) none = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) lines = changes_lines_new();
    g_autoptr(GPtrArray) wanted = changes_expected(before, after, none);
    const VarveCompare how = {.flags = VARVE_COMPARE_CONTENT};
    VarveChangeSink sink = {.func = changes_collect, .data = lines};
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_changes_walk(before, after, &how, &sink, &error));
    g_assert_no_error(error);
    assert_same(lines, wanted);
}

/* of: committed; the view of it and that of its parent stand on each other in one place. */
static void
assert_told(Pool *pool, const VarveDriverSnapshot *of, const Told *active)
{
    guint64 lineage[LAYERS + 1] = {of->id};
    memcpy(lineage + 1, of->parents, of->n_parents * sizeof *lineage);
    const VarveDriverSnapshot after_view = {51, VIEW, lineage, of->n_parents + 1};
    const VarveDriverSnapshot before_view = {52, VIEW, lineage + 1, of->n_parents};
    pool_create(pool, &after_view);
    int after = pool_attach(pool, &after_view), before = -1;
    if (of->n_parents > 0) {
        pool_create(pool, &before_view);
        before = pool_attach(pool, &before_view);
    }

    g_auto(Told) told = ask(pool, of);
    g_autoptr(GPtrArray) wanted = changes_expected(before, after, told.renames);
    assert_same(told.lines, wanted);
    assert_same(active->lines, wanted);
    assert_walk(before, after);

    if (before >= 0) {
        pool_detach(pool, before);
        pool_discard(pool, before_view.id);
    }
    pool_detach(pool, after);
    pool_discard(pool, after_view.id);
}

static guint
add_layer(Pool *pool, guint64 id, const guint64 *parents, gsize n_parents, GRand *numbers)
{
    VarveDriverSnapshot of = {id, ACTIVE, parents, n_parents};
    pool_create(pool, &of);
    int root = pool_attach(pool, &of);
    tree_mutate(root, numbers, n_parents == 0 ? 3 * CHANGES : CHANGES);
    pool_detach(pool, root);
    g_auto(Told) active = ask(pool, &of);
    pool_commit(pool, id);
    of.kind = VARVE_KIND_COMMITTED;
    assert_told(pool, &of, &active);
    return g_hash_table_size(active.renames);
}

/* A chain of snapshots, each with random changes to the one before; then it is taken away. */
static guint
test_chain(Pool *pool, GRand *numbers)
{
    guint64 parents[LAYERS];
    guint renames = 0;
    for (gsize n = 0; n < LAYERS; n++) {
        renames += add_layer(pool, n + 1, parents + LAYERS - n, n, numbers);
        parents[LAYERS - n - 1] = n + 1;
    }
    for (guint64 id = LAYERS; id > 0; id--)
        pool_discard(pool, id);
    return renames;
}

static void
test_random(gconstpointer data)
{
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;
    guint renames = 0;
    for (guint round = 0; round < ROUNDS; round++) {
        guint32 number = seed() + round;
        g_test_message("VARVE_TEST_SEED=%u, round %u", seed(), round);
        GRand *numbers = g_rand_new_with_seed(number);
        renames += test_chain(pool, numbers);
        g_rand_free(numbers);
    }
    g_test_message("%u renames were told", renames);
    if (pool->driver != &varve_driver_native)
        g_assert_cmpuint(renames, >, 0);
    pool_free(pool);
}

/* --- captures --------------------------------------------------------------------------------- */

static void
assert_unchanged(Pool *pool, const VarveDriverSnapshot *of)
{
    g_auto(Told) told = ask(pool, of);
    g_autofree char *text = changes_join(told.lines);
    g_assert_cmpstr(text, ==, "");
}

/* Captures the active snapshot 1 as id, which stands on parents, and changes it again. */
static void
capture_and_go_on(Pool *pool, guint64 id, const guint64 *parents, gsize n, GRand *numbers)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(pool->driver->capture(pool->self, 1, id, &error));
    g_assert_no_error(error);
    g_assert_true(pool->driver->sync(pool->self, id, &error));
    g_assert_no_error(error);
    guint64 lineage[LAYERS + 2] = {id};
    for (gsize i = 0; i < n; i++)
        lineage[i + 1] = parents[i];
    const VarveDriverSnapshot captured = {id, VARVE_KIND_COMMITTED, lineage + 1, n};
    const VarveDriverSnapshot active = {1, ACTIVE, lineage, n + 1};
    assert_unchanged(pool, &active);

    g_auto(Told) told = ask(pool, &captured);
    assert_told(pool, &captured, &told);
    int root = pool_attach(pool, &active);
    tree_mutate(root, numbers, CHANGES);
    pool_detach(pool, root);
}

static void
test_captured(gconstpointer data)
{
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;
    GRand *numbers = g_rand_new_with_seed(seed());
    g_test_message("VARVE_TEST_SEED=%u", seed());
    pool_create(pool, snapshot(ACTIVE, 1));
    int root = pool_attach(pool, snapshot(ACTIVE, 1));
    tree_mutate(root, numbers, 2 * CHANGES);
    pool_detach(pool, root);
    capture_and_go_on(pool, 2, NULL, 0, numbers);
    capture_and_go_on(pool, 3, (guint64[]){2}, 1, numbers);
    capture_and_go_on(pool, 4, (guint64[]){3, 2}, 2, numbers);
    g_auto(Told) active = ask(pool, snapshot(ACTIVE, 1, 4, 3, 2));
    pool_commit(pool, 1);
    assert_told(pool, snapshot(VARVE_KIND_COMMITTED, 1, 4, 3, 2), &active);
    for (guint64 id = 1; id <= 4; id++)
        pool_discard(pool, id == 1 ? 1 : 6 - id);
    g_rand_free(numbers);
    pool_free(pool);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path =
            g_strdup_printf("/changes/random/%s/%s", cases[i].driver->name, cases[i].type);
        g_test_add_data_func(path, &cases[i], test_random);
        if (cases[i].driver->capture == NULL)
            continue;
        g_autofree char *captured =
            g_strdup_printf("/changes/captured/%s/%s", cases[i].driver->name, cases[i].type);
        g_test_add_data_func(captured, &cases[i], test_captured);
    }
    return g_test_run();
}
