/* SPDX-License-Identifier: Apache-2.0 */
#include "driver-pool.h"
#include "driver/zfs/zfs.h"
#include "pool-stream.h"
#include "tree-compare.h"
#include "tree-everything.h"
#include "tree-mutate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Snapshots sent from one zpool to another: equal afterwards, known as ours, and gone when they are
 * removed; and streams that are refused. VARVE_TEST_ROUNDS=N does N random rounds.
 */

static const PoolCase zfs_case = {&varve_driver_zfs, "zfs"};

typedef struct {
    Pool *from, *to;
} Pools;

static gboolean
pools_new(Pools *pools)
{
    *pools = (Pools){.from = pool_new(&zfs_case)};
    pools->to = pools->from != NULL ? pool_new(&zfs_case) : NULL;
    return pools->to != NULL;
}

static void
pools_free(Pools *pools)
{
    pool_free(pools->from);
    pool_free(pools->to);
}

static void
assert_same(const Pools *pools, guint64 id, guint64 received)
{
    int a = pool_attach(pools->from, snapshot(VIEW, 50, id));
    int b = pool_attach(pools->to, snapshot(VIEW, 50, received));
    tree_compare(a, b);
    pool_assert_read_only(b);
    pool_detach(pools->from, a);
    pool_detach(pools->to, b);
}

static void
transfer_as(const Pools *pools, guint64 id, guint64 base, guint64 received)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) stream = pool_send(pools->from, id, base);
    pool_receive(pools->to, received, base, stream->data, stream->len, &error);
    g_assert_no_error(error);
    assert_same(pools, id, received);
}

typedef void (*Work)(int root, GRand *numbers);

static void
work(Pool *pool, guint64 id, Work func, GRand *numbers)
{
    const VarveDriverSnapshot *of = snapshot(ACTIVE, id, id - 1);
    pool_create(pool, of);
    int root = pool_attach(pool, of);
    func(root, numbers);
    pool_detach(pool, root);
    pool_commit(pool, id);
}

static void
make_everything(int root, GRand *numbers)
{
    tree_make_everything(root, "all");
}

static void
change_everything(int root, GRand *numbers)
{
    g_assert_no_errno(renameat(root, "all", root, "moved"));
    pool_write_file(root, "moved/file", "other");
    g_assert_no_errno(unlinkat(root, "moved/hard-1", 0));
}

static void
mutate(int root, GRand *numbers)
{
    tree_mutate(root, numbers, 40);
}

static gint64
inodes_of(Pool *pool, guint64 id, guint64 base)
{
    VarveUsage usage;
    g_autoptr(GError) error = NULL;
    g_assert_true(
        pool->driver->usage(pool->self, snapshot(VARVE_KIND_COMMITTED, id, base), &usage, &error));
    g_assert_no_error(error);
    return usage.inodes;
}

/* What was received can be built on, sent back, listed, measured and removed. */
static void
test_everything(void)
{
    Pools pools;
    g_autoptr(GError) error = NULL;
    if (!pools_new(&pools))
        return;
    work(pools.from, 1, make_everything, NULL);
    work(pools.from, 2, change_everything, NULL);
    transfer_as(&pools, 1, 0, 1);
    transfer_as(&pools, 2, 1, 2);
    transfer_as(&pools, 2, 0, 12);
    pool_assert_listed(pools.to, POOL_ID(1) | POOL_ID(2) | POOL_ID(12));
    g_assert_cmpint(inodes_of(pools.to, 1, 0), ==, inodes_of(pools.from, 1, 0));

    pool_create(pools.to, snapshot(ACTIVE, 3, 2, 1));
    int root = pool_attach(pools.to, snapshot(ACTIVE, 3, 2, 1));
    pool_write_file(root, "new", "made there");
    pool_detach(pools.to, root);
    pool_commit(pools.to, 3);
    g_autoptr(GByteArray) back = pool_send(pools.to, 3, 2);
    pool_receive(pools.from, 3, 2, back->data, back->len, &error);
    g_assert_no_error(error);
    assert_same(&pools, 3, 3);
    for (guint64 id = 3; id > 0; id--)
        pool_discard(pools.to, id);
    pool_discard(pools.to, 12);
    pool_assert_listed(pools.to, 0);
    pools_free(&pools);
}

static void
test_random(void)
{
    const char *text = g_getenv("VARVE_TEST_ROUNDS");
    guint64 rounds = text != NULL ? strtoul(text, NULL, 10) : 8;
    Pools pools;
    if (!pools_new(&pools))
        return;
    GRand *numbers = g_rand_new_with_seed(20261122);
    rounds = MIN(rounds, 40);
    for (guint64 id = 1; id <= rounds; id++) {
        work(pools.from, id, mutate, numbers);
        transfer_as(&pools, id, id - 1, id);
    }
    if (rounds > 2) {
        transfer_as(&pools, rounds, 1, 45); /* of which it is a clone of a clone */
        pool_discard(pools.to, 45);
    }
    g_rand_free(numbers);
    pools_free(&pools);
}

static void
make_small(int root, GRand *numbers)
{
    pool_write_file(root, "file", "small");
}

static void
test_refused(void)
{
    Pools pools;
    g_autoptr(GError) other = NULL, taken = NULL;
    if (!pools_new(&pools))
        return;
    work(pools.from, 1, make_small, NULL);
    work(pools.from, 2, make_small, NULL);
    pool_create(pools.to, snapshot(ACTIVE, 9));
    pool_commit(pools.to, 9);
    g_autoptr(GByteArray) whole = pool_send(pools.from, 1, 0);
    g_autoptr(GByteArray) difference = pool_send(pools.from, 2, 1);
    g_autoptr(GByteArray) again = pool_send(pools.from, 2, 1);
    g_assert_cmpmem(difference->data, difference->len, again->data, again->len);
    const gsize lengths[] = {0, 1, 100, 312, whole->len / 2, whole->len - 1};
    for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++)
        pool_assert_refused(pools.to, 1, 0, whole->data, lengths[i]);
    whole->data[whole->len / 2] ^= 1;
    pool_assert_refused(pools.to, 1, 0, whole->data, whole->len);
    whole->data[whole->len / 2] ^= 1;
    g_byte_array_append(whole, (const guint8 *)"x", 1);
    pool_assert_refused(pools.to, 1, 0, whole->data, whole->len);
    pool_assert_refused(pools.to, 1, 0, difference->data, difference->len);
    pool_assert_refused(pools.to, 1, 9, whole->data, whole->len - 1);
    g_assert_false(pool_receive(pools.to, 1, 9, difference->data, difference->len, &other));
    g_assert_error(other, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
    g_assert_false(pool_receive(pools.to, 9, 0, whole->data, whole->len - 1, &taken));
    g_assert_error(taken, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS);
    pool_assert_listed(pools.to, POOL_ID(9));
    pools_free(&pools);
}

/* Of what was received whole, which is a clone of nothing, the first ones go; whatever owns its
 * content then is known as ours. */
static void
test_dropped(void)
{
    Pools pools;
    g_autoptr(GError) error = NULL;
    if (!pools_new(&pools))
        return;
    work(pools.from, 1, make_everything, NULL);
    work(pools.from, 2, change_everything, NULL);
    work(pools.from, 3, make_small, NULL);
    for (guint64 id = 1; id <= 2; id++)
        transfer_as(&pools, id, id - 1, id);
    pool_discard(pools.to, 1);
    pool_assert_listed(pools.to, POOL_ID(2));
    transfer_as(&pools, 3, 2, 3);
    pool_create(pools.to, snapshot(ACTIVE, 4, 2));
    pool_discard(pools.to, 2);
    assert_same(&pools, 3, 3);
    g_assert_cmpint(inodes_of(pools.to, 3, 0), >, inodes_of(pools.from, 1, 0));
    g_assert_true(pools.to->driver->capture(pools.to->self, 4, 5, &error));
    g_assert_no_error(error);
    assert_same(&pools, 2, 5);
    pool_discard(pools.to, 3);
    pool_assert_listed(pools.to, POOL_ID(4) | POOL_ID(5));
    assert_same(&pools, 2, 5);
    pool_discard(pools.to, 5);
    pool_assert_listed(pools.to, POOL_ID(4));
    pool_discard(pools.to, 4);
    pool_assert_listed(pools.to, 0);
    pools_free(&pools);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    g_test_add_func("/zfs-stream/everything", test_everything);
    g_test_add_func("/zfs-stream/random", test_random);
    g_test_add_func("/zfs-stream/refused", test_refused);
    g_test_add_func("/zfs-stream/dropped", test_dropped);
    return g_test_run();
}
