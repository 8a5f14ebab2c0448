/* SPDX-License-Identifier: Apache-2.0 */
#include "driver-pool.h"
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE (400 * 1024 * 1024) /* mkfs.xfs wants that much at least */

/* --- a pool ---------------------------------------------------------------------------------- */

Pool *
pool_new(const PoolCase *of)
{
    Scratch *scratch = scratch_need_root() ? scratch_new(of->type, SIZE) : NULL;
    if (scratch == NULL)
        return NULL;
    Pool *pool = g_new0(Pool, 1);
    const VarveDriver *driver = pool->driver = of->driver;
    pool->scratch = scratch;
    pool->target = g_strconcat(scratch->path, "/mnt", NULL);
    pool->host.name = "test";
    pool->host.path = g_strconcat(scratch->path, "/pool", NULL);
    g_assert_no_errno(g_mkdir(pool->target, 0755));
    pool->host.dirfd = varve_fd_make_dir(scratch->fd, "pool", 0700, NULL);
    g_assert_no_errno(pool->host.dirfd);

    if (scratch->zpool != NULL) {
        pool->host.settings = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
        g_hash_table_insert(pool->host.settings, (char *)"dataset",
                            g_strconcat(scratch->zpool, "/pool", NULL));
    }

    g_autoptr(GError) error = NULL;
    g_assert_true(driver->probe(pool->host.path, pool->host.settings, &error));
    g_assert_no_error(error);
    pool->self = driver->open(&pool->host, TRUE, &error);
    g_assert_no_error(error);
    return pool;
}

static gboolean
collect(guint64 id, gpointer data, GError **error)
{
    g_array_append_val((GArray *)data, id);
    return TRUE;
}

static int
compare_ids(gconstpointer a, gconstpointer b)
{
    guint64 left = *(const guint64 *)a, right = *(const guint64 *)b;
    return left < right ? -1 : left > right;
}

/* Newest first, so that nothing stands on what is removed. */
static void
discard_all(Pool *pool)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(guint64));
    pool->driver->list(pool->self, collect, ids, &error);
    g_assert_no_error(error);
    g_array_sort(ids, compare_ids);
    for (guint i = ids->len; i > 0; i--)
        pool_discard(pool, g_array_index(ids, guint64, i - 1));
}

void
pool_free(Pool *pool)
{
    g_autoptr(GError) error = NULL;
    discard_all(pool);
    pool->driver->destroy(pool->self, &error);
    g_assert_no_error(error);
    pool->driver->close(pool->self);
    varve_fd_clear(&pool->host.dirfd);
    g_assert_no_errno(g_rmdir(pool->host.path)); /* a pool that was destroyed leaves nothing */
    g_assert_no_errno(g_rmdir(pool->target));
    scratch_free(pool->scratch);
    g_clear_pointer(&pool->host.settings, g_hash_table_unref);
    g_free((char *)pool->host.path);
    g_free(pool->target);
    g_free(pool);
}

void
pool_reopen(Pool *pool)
{
    g_autoptr(GError) error = NULL;
    pool->driver->close(pool->self);
    pool->self = pool->driver->open(&pool->host, FALSE, &error);
    g_assert_no_error(error);
}

/* --- snapshots ------------------------------------------------------------------------------- */

VarveDriverSnapshot
pool_make_snapshot(const guint64 *values)
{
    VarveDriverSnapshot result = {values[1], (VarveKind)values[0], values + 2, 0};
    while (result.parents[result.n_parents] != 0)
        result.n_parents++;
    return result;
}

void
pool_create(Pool *pool, const VarveDriverSnapshot *of)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(pool->driver->create(pool->self, of, &error));
    g_assert_no_error(error);
}

void
pool_commit(Pool *pool, guint64 id)
{
    g_autoptr(GError) error = NULL;
    if (pool->driver->commit != NULL)
        g_assert_true(pool->driver->commit(pool->self, id, &error));
    g_assert_no_error(error);
    g_assert_true(pool->driver->sync(pool->self, id, &error));
    g_assert_no_error(error);
}

void
pool_discard(Pool *pool, guint64 id)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(pool->driver->remove(pool->self, id, &error));
    g_assert_no_error(error);
}

int
pool_attach(Pool *pool, const VarveDriverSnapshot *of)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveMount) mount = pool->driver->mounts(pool->self, of, &error);
    g_assert_no_error(error);
    g_assert_true(varve_mount_attach(mount, pool->target, &error));
    g_assert_no_error(error);
    int root = varve_fd_open_dir(AT_FDCWD, pool->target, &error);
    g_assert_no_error(error);
    return root;
}

void
pool_detach(Pool *pool, int root)
{
    g_autoptr(GError) error = NULL;
    close(root);
    g_assert_true(varve_mount_detach(pool->target, &error));
    g_assert_no_error(error);
}

void
pool_write_file(int root, const char *name, const char *text)
{
    varve_autofd fd = openat(root, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    g_assert_no_errno(fd);
    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
}

void
pool_assert_file(int root, const char *name, const char *text)
{
    char content[64] = {0};
    varve_autofd fd = openat(root, name, O_RDONLY);
    if (text == NULL) {
        g_assert_cmpint(fd, <, 0);
        g_assert_cmpint(errno, ==, ENOENT);
        return;
    }
    g_assert_no_errno(fd);
    g_assert_cmpint(read(fd, content, sizeof content - 1), >=, 0);
    g_assert_cmpstr(content, ==, text);
}

void
pool_assert_read_only(int root)
{
    g_assert_cmpint(openat(root, "new", O_WRONLY | O_CREAT, 0644), <, 0);
    g_assert_cmpint(errno, ==, EROFS);
}

static gboolean
add_id(guint64 id, gpointer data, GError **error)
{
    g_hash_table_add(data, GUINT_TO_POINTER((guint)id));
    return TRUE;
}

void
pool_assert_listed(Pool *pool, guint64 ids)
{
    g_autoptr(GHashTable) found = g_hash_table_new(NULL, NULL);
    g_autoptr(GError) error = NULL;
    g_assert_true(pool->driver->list(pool->self, add_id, found, &error));
    g_assert_no_error(error);
    for (guint id = 0; id < 64; id++)
        g_assert_cmpint(g_hash_table_contains(found, GUINT_TO_POINTER(id)), ==, (ids >> id) & 1);
}
