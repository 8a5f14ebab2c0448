/* SPDX-License-Identifier: Apache-2.0 */
#include "driver-pool.h"
#include <string.h>

/* What is the overlay driver's alone; test-drivers.c has the rest. Row D1 of the specification. */

static const PoolCase ext4 = {&varve_driver_overlay, "ext4"};

static void
test_deep(gconstpointer data)
{
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;
    guint64 parents[200];
    const gsize depth = G_N_ELEMENTS(parents);
    for (gsize n = 0; n < depth; n++) { /* n parents: the last n ids, the nearest first */
        VarveDriverSnapshot layer = {n + 1, ACTIVE, parents + depth - n, n};
        pool_create(pool, &layer);
        g_autofree char *path = g_strdup_printf("fs/%zu/%zu/file", (n + 1) % 64, n + 1);
        g_autofree char *text = g_strdup_printf("layer %zu", n + 1);
        pool_write_file(pool->host.dirfd, path, text);
        parents[depth - n - 1] = n + 1;
    }
    VarveDriverSnapshot top = {depth + 1, ACTIVE, parents, depth};
    pool_create(pool, &top);
    int root = pool_attach(pool, &top);
    pool_assert_file(root, "file", "layer 200");
    pool_write_file(root, "file", "top");
    pool_detach(pool, root);
    pool_free(pool);
}

/* Layers are unpacked each on nothing, and stacked when they are committed. */
static void
test_rebase(gconstpointer data)
{
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;
    g_assert_true(pool->driver->flags & VARVE_DRIVER_REBASE);
    for (guint64 id = 1; id <= 2; id++) {
        pool_create(pool, snapshot(ACTIVE, id));
        int root = pool_attach(pool, snapshot(ACTIVE, id));
        pool_write_file(root, id == 1 ? "lower" : "upper", "x");
        pool_write_file(root, "both", id == 1 ? "lower" : "upper");
        pool_detach(pool, root);
        pool_commit(pool, id);
    }
    pool_create(pool, snapshot(ACTIVE, 3, 2, 1));
    int root = pool_attach(pool, snapshot(ACTIVE, 3, 2, 1));
    pool_assert_file(root, "lower", "x");
    pool_assert_file(root, "upper", "x");
    pool_assert_file(root, "both", "upper");
    pool_detach(pool, root);
    pool_free(pool);
}

static void
assert_mount(Pool *pool, const VarveDriverSnapshot *of, const char *type, const char *want)
{
    g_autoptr(VarveMount) mount = pool->driver->mounts(pool->self, of, NULL);
    g_autofree char *options = g_strjoinv(",", mount->options);
    g_autofree char *prefix = g_strconcat(pool->host.path, "/", NULL);
    g_autofree char *text = g_strconcat(mount->source, " ", options, NULL);
    g_auto(GStrv) parts = g_strsplit(text, prefix, -1);
    g_autofree char *relative = g_strjoinv("", parts);
    g_assert_cmpstr(mount->type, ==, type);
    g_assert_cmpstr(relative, ==, want);
}

static void
test_mounts(gconstpointer data)
{
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;
    assert_mount(pool, snapshot(ACTIVE, 7), "bind", "fs/7/7 rw,rbind");
    assert_mount(pool, snapshot(VIEW, 7), "bind", "fs/7/7 ro,rbind");
    assert_mount(pool, snapshot(VIEW, 7, 2), "bind", "fs/2/2 ro,rbind");
    assert_mount(pool, snapshot(VIEW, 7, 2, 1), "overlay",
                 "overlay lowerdir=fs/2/2:fs/1/1,index=off,redirect_dir=on");
    assert_mount(
        pool, snapshot(ACTIVE, 7, 2), "overlay",
        "overlay workdir=work/7/7,upperdir=fs/7/7,lowerdir=fs/2/2,index=off,redirect_dir=on");
    pool_free(pool);
}

static void
test_bad_paths(void)
{
    static const char *const paths[] = {"/a:b", "/a,b", "/a\\b"};
    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        const VarveDriverHost host = {.name = "x", .path = paths[i], .dirfd = -1};
        g_autoptr(GError) probing = NULL, opening = NULL;
        g_assert_false(varve_driver_overlay.probe(paths[i], NULL, &probing));
        g_assert_error(probing, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
        g_assert_null(varve_driver_overlay.open(&host, FALSE, &opening));
        g_assert_error(opening, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
    }
}

/* Overlayfs does not take an upper directory on another overlay, where native works. */
static void
test_nested(gconstpointer data)
{
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;
    pool_create(pool, snapshot(ACTIVE, 1));
    pool_create(pool, snapshot(ACTIVE, 2, 1));
    int root = pool_attach(pool, snapshot(ACTIVE, 2, 1));
    g_autoptr(GError) error = NULL;
    g_assert_false(varve_driver_overlay.probe(pool->target, NULL, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
    g_assert_true(varve_driver_auto(pool->target) == &varve_driver_native);

    g_autoptr(GDir) dir = g_dir_open(pool->target, 0, NULL);
    g_assert_null(g_dir_read_name(dir)); /* a probe changes nothing */
    g_clear_pointer(&dir, g_dir_close);
    g_assert_true(varve_driver_auto(pool->host.path) == &varve_driver_overlay);
    pool_detach(pool, root);
    pool_free(pool);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    g_test_add_data_func("/overlay/deep", &ext4, test_deep);
    g_test_add_data_func("/overlay/rebase", &ext4, test_rebase);
    g_test_add_data_func("/overlay/mounts", &ext4, test_mounts);
    g_test_add_data_func("/overlay/nested", &ext4, test_nested);
    g_test_add_func("/overlay/bad-paths", test_bad_paths);
    return g_test_run();
}
