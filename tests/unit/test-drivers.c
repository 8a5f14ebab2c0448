/* SPDX-License-Identifier: Apache-2.0 */
#include "driver-pool.h"
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/*
 * What driver.h asks of every driver, asked of those that keep snapshots in directories, and of
 * zfs, through real mounts. Rows S11, S12, D1, D3 and D4 of the specification.
 */

#ifdef HAVE_ZFS
extern const VarveDriver varve_driver_zfs;
#endif

static void
fill_base(int root)
{
    pool_write_file(root, "file", "base");
    pool_write_file(root, "doomed", "base");
    g_assert_no_errno(mkdirat(root, "dir", 0755));
    pool_write_file(root, "dir/inner", "base");
    pool_write_file(root, "dir/kept", "base");
    g_assert_no_errno(linkat(root, "file", root, "dir/link", 0));
}

static void
change_child(int root)
{
    pool_write_file(root, "file", "child");
    pool_write_file(root, "new", "child");
    g_assert_no_errno(unlinkat(root, "doomed", 0));
    g_assert_no_errno(renameat(root, "dir/kept", root, "moved"));
    g_assert_no_errno(unlinkat(root, "dir/inner", 0));
    g_assert_no_errno(fchmodat(root, "moved", 0600, 0));
    g_assert_no_errno(unlinkat(root, "dir/link", 0));
    g_assert_no_errno(unlinkat(root, "dir", AT_REMOVEDIR));
    g_assert_no_errno(mkdirat(root, "dir", 0700)); /* nothing of the old one may show through */
}

static void
assert_base(int root)
{
    pool_assert_file(root, "file", "base");
    pool_assert_file(root, "doomed", "base");
    pool_assert_file(root, "dir/inner", "base");
    pool_assert_file(root, "new", NULL);
}

static void
assert_child(int root)
{
    struct stat st;
    pool_assert_file(root, "file", "child");
    pool_assert_file(root, "new", "child");
    pool_assert_file(root, "doomed", NULL);
    pool_assert_file(root, "moved", "base");
    pool_assert_file(root, "dir/inner", NULL);
    g_assert_no_errno(fstatat(root, "moved", &st, 0));
    g_assert_cmpint(st.st_mode & 07777, ==, 0600);
}

static void
test_life(gconstpointer data)
{
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;

    pool_create(pool, snapshot(ACTIVE, 1));
    int root = pool_attach(pool, snapshot(ACTIVE, 1));
    fill_base(root);
    pool_detach(pool, root);
    pool_commit(pool, 1);

    pool_create(pool, snapshot(ACTIVE, 2, 1));
    root = pool_attach(pool, snapshot(ACTIVE, 2, 1));
    assert_base(root);
    change_child(root);
    pool_detach(pool, root);
    pool_commit(pool, 2);
    pool_reopen(pool);

    pool_create(pool, snapshot(ACTIVE, 3, 2, 1));
    root = pool_attach(pool, snapshot(ACTIVE, 3, 2, 1));
    assert_child(root);
    pool_write_file(root, "file", "grandchild");
    pool_detach(pool, root);

    pool_create(pool, snapshot(VIEW, 4, 2, 1));
    root = pool_attach(pool, snapshot(VIEW, 4, 2, 1));
    assert_child(root);
    pool_assert_read_only(root);
    pool_detach(pool, root);

    pool_create(pool, snapshot(VIEW, 5, 1));
    root = pool_attach(pool, snapshot(VIEW, 5, 1));
    assert_base(root);
    pool_assert_read_only(root);
    pool_detach(pool, root);

    pool_discard(pool, 5);
    pool_discard(pool, 4);
    pool_assert_listed(pool, POOL_ID(1) | POOL_ID(2) | POOL_ID(3));
    pool_discard(pool, 3);
    pool_discard(pool, 2);
    pool_discard(pool, 1);
    pool_assert_listed(pool, 0);
    pool_free(pool);
}

static void
test_empty(gconstpointer data)
{
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;
    mode_t before = umask(077);
    pool_create(pool, snapshot(ACTIVE, 1));
    pool_create(pool, snapshot(VIEW, 2));
    umask(before);

    for (guint64 id = 1; id <= 2; id++) {
        VarveKind kind = id == 1 ? ACTIVE : VIEW;
        int root = pool_attach(pool, snapshot((guint64)kind, id));
        struct stat st;
        g_assert_no_errno(fstat(root, &st));
        g_assert_cmpint(st.st_mode, ==, S_IFDIR | 0755);
        g_assert_cmpint(st.st_uid, ==, 0);
        g_assert_cmpint(st.st_gid, ==, 0);
        g_autoptr(GDir) dir = g_dir_open(pool->target, 0, NULL);
        g_assert_null(g_dir_read_name(dir));
        g_clear_pointer(&dir, g_dir_close);
        if (kind == VIEW)
            pool_assert_read_only(root);
        pool_detach(pool, root);
    }
    pool_free(pool);
}

/* Row S11: containerd's overlay snapshotter keeps the owner alone. */
static void
test_root_attributes(gconstpointer data)
{
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;
    static const struct timespec times[] = {{11, 22}, {33, 44}};
    pool_create(pool, snapshot(ACTIVE, 1));
    int root = pool_attach(pool, snapshot(ACTIVE, 1));
    g_assert_no_errno(fchown(root, 1234, 5678));
    g_assert_no_errno(fchmod(root, 03770));
    const char *xattr = "user.colour"; /* tmpfs has those since Linux 6.6 */
    if (fsetxattr(root, xattr, "red", 3, 0) < 0 && errno == EOPNOTSUPP)
        xattr = "trusted.colour";
    g_assert_no_errno(fsetxattr(root, xattr, "red", 3, 0));
    g_assert_no_errno(futimens(root, times));
    pool_detach(pool, root);

    for (int deep = 0; deep < 2; deep++) {
        const VarveDriverSnapshot *child =
            deep ? snapshot(ACTIVE, 3, 2, 1) : snapshot(ACTIVE, 2, 1);
        pool_commit(pool, child->parents[0]);
        pool_create(pool, child);
        root = pool_attach(pool, child);
        struct stat st;
        char colour[4] = {0};
        g_assert_no_errno(fstat(root, &st));
        g_assert_cmpint(st.st_mode, ==, S_IFDIR | 03770);
        g_assert_cmpint(st.st_uid, ==, 1234);
        g_assert_cmpint(st.st_gid, ==, 5678);
        g_assert_cmpint(st.st_mtim.tv_sec, ==, 33);
        g_assert_cmpint(st.st_mtim.tv_nsec, ==, 44);
        g_assert_cmpint(fgetxattr(root, xattr, colour, sizeof colour), ==, 3);
        g_assert_cmpstr(colour, ==, "red");
        pool_detach(pool, root);
    }
    pool_free(pool);
}

static void
test_usage(gconstpointer data)
{
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;
    g_autofree char *large = g_strnfill(1000000, 'x');
    pool_create(pool, snapshot(ACTIVE, 1));
    int root = pool_attach(pool, snapshot(ACTIVE, 1));
    pool_write_file(root, "large", large);
    pool_detach(pool, root);
    pool_commit(pool, 1);
    pool_create(pool, snapshot(ACTIVE, 2, 1));
    root = pool_attach(pool, snapshot(ACTIVE, 2, 1));
    large[200000] = '\0';
    pool_write_file(root, "small", large);
    pool_detach(pool, root);
    pool_commit(pool, 2);

    VarveUsage usage;
    g_autoptr(GError) error = NULL;
    g_assert_true(pool->driver->usage(pool->self, snapshot(ACTIVE, 1), &usage, &error));
    g_assert_no_error(error);
    g_assert_cmpint(usage.inodes, ==, 2);
    g_assert_cmpint(usage.bytes, >=, 1000000);
    g_assert_true(pool->driver->usage(pool->self, snapshot(ACTIVE, 2, 1), &usage, &error));
    g_assert_no_error(error);
    /* The file; and the root, whose time changed, which ZFS does not count. */
    g_assert_cmpint(usage.inodes, ==, pool->scratch->zpool != NULL ? 1 : 2);
    g_assert_cmpint(usage.bytes, >=, 200000);
    g_assert_cmpint(usage.bytes, <, 400000);
    pool_free(pool);
}

static void
test_refusals(gconstpointer data)
{
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;
    pool_create(pool, snapshot(ACTIVE, 1));
    g_autoptr(GError) taken = NULL;
    g_assert_false(pool->driver->create(pool->self, snapshot(ACTIVE, 1), &taken));
    g_assert_error(taken, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS);

    /* A parent that is gone, as when it is removed meanwhile. */
    g_autoptr(GError) missing = NULL;
    g_assert_false(pool->driver->create(pool->self, snapshot(ACTIVE, 2, 9), &missing));
    g_assert_nonnull(missing);
    pool_assert_listed(pool, POOL_ID(1));
    pool_discard(pool, 2);
    pool_discard(pool, 33);

    g_autoptr(GError) twice = NULL;
    g_assert_null(pool->driver->open(&pool->host, TRUE, &twice));
    g_assert_error(twice, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS);
    pool_assert_listed(pool, POOL_ID(1));

    VarveDriverHost host = {.name = "other", .path = pool->target};
    host.settings = pool->host.settings;
    varve_autofd empty = varve_fd_open_dir(AT_FDCWD, pool->target, NULL);
    host.dirfd = empty;
    g_autoptr(GError) nothing = NULL;
    g_assert_null(pool->driver->open(&host, FALSE, &nothing));
    g_assert_error(nothing, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    varve_fd_clear(&empty);
    pool_free(pool);
}

/* Names that are no ids, beside the ids, are none of the driver's business. */
static void
test_strange_names(gconstpointer data)
{
    static const char *const names[] = {
        "01", "+1", "-1", "1x", "x", " 1", "1 ", "0x1", "99999999999999999999999"};
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;
    const char *folder = pool->driver == &varve_driver_native ? "pool/snapshots/1" : "pool/fs/1";
    varve_autofd dir = varve_fd_open_dir(pool->scratch->fd, folder, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        g_assert_no_errno(mkdirat(dir, names[i], 0700));
    pool_create(pool, snapshot(ACTIVE, 1));
    pool_assert_listed(pool, POOL_ID(1));
    varve_fd_clear(&dir);
    pool_free(pool);
}

/* What a crash in the middle leaves behind is listed and can be removed; so can what a mount left.
 */
static void
test_remains(gconstpointer data)
{
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;
    if (pool->driver == &varve_driver_overlay) {
        g_assert_no_errno(mkdirat(pool->host.dirfd, "work/7/7", 0700));
        g_assert_no_errno(mkdirat(pool->host.dirfd, "work/7/7/work", 0));
        g_assert_no_errno(mkdirat(pool->host.dirfd, "work/7/7/work/#1", 0));
        g_assert_no_errno(mkdirat(pool->host.dirfd, "fs/8/8", 0700));
    } else {
        g_assert_no_errno(mkdirat(pool->host.dirfd, "snapshots/7/7", 0700));
        g_assert_no_errno(mkdirat(pool->host.dirfd, "snapshots/8/8", 0700));
        g_assert_no_errno(mkdirat(pool->host.dirfd, "snapshots/8/8/half", 0));
    }
    pool_assert_listed(pool, POOL_ID(7) | POOL_ID(8));
    pool_discard(pool, 7);
    pool_discard(pool, 8);
    pool_assert_listed(pool, 0);
    pool_free(pool);
}

#define THREADS 4

typedef struct {
    Pool *pool;
    guint64 first;
} Worker;

static gpointer
work(gpointer data)
{
    const Worker *worker = data;
    guint64 n =
        worker->pool->scratch->zpool != NULL ? 20 : 100; /* zfs waits for a disk each time */
    for (guint64 id = worker->first; id < worker->first + n; id++) {
        pool_create(worker->pool, snapshot(ACTIVE, id, 1));
        if (id % 10 == 0)
            pool_commit(worker->pool, id);
        pool_discard(worker->pool, id);
    }
    return NULL;
}

static void
test_threads(gconstpointer data)
{
    Pool *pool = pool_new(data);
    if (pool == NULL)
        return;
    pool_create(pool, snapshot(ACTIVE, 1));
    pool_commit(pool, 1);
    GThread *threads[THREADS];
    Worker workers[THREADS];
    for (guint i = 0; i < THREADS; i++) {
        workers[i] = (Worker){pool, 1000 * (i + 1)};
        threads[i] = g_thread_new("work", work, &workers[i]);
    }
    for (guint i = 0; i < THREADS; i++)
        g_thread_join(threads[i]);
    pool_assert_listed(pool, POOL_ID(1));
    pool_free(pool);
}

static void
test_probe(void)
{
    g_autoptr(GError) overlay = NULL, native = NULL;
    g_assert_false(varve_driver_overlay.probe("/nonexistent", NULL, &overlay));
    g_assert_error(overlay, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
    g_assert_false(varve_driver_native.probe("/nonexistent", NULL, &native));
    g_assert_error(native, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
}

static const struct {
    const char *name;
    GTestDataFunc func;
    gboolean folder; /* only for drivers that keep snapshots in a folder (driver/folder.h) */
} common[] = {
    {"life", test_life, FALSE},         {"empty", test_empty, FALSE},
    {"usage", test_usage, FALSE},       {"root-attributes", test_root_attributes, FALSE},
    {"refusals", test_refusals, FALSE}, {"strange-names", test_strange_names, TRUE},
    {"remains", test_remains, TRUE},    {"threads", test_threads, FALSE},
};

static const PoolCase cases[] = {
    {&varve_driver_overlay, "ext4"}, {&varve_driver_overlay, "xfs"},
    {&varve_driver_native, "ext4"},  {&varve_driver_native, "xfs"},
    {&varve_driver_native, "tmpfs"},
#ifdef HAVE_ZFS
    {&varve_driver_zfs, "zfs"},
#endif
};

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (gsize j = 0; j < G_N_ELEMENTS(common); j++) {
            if (common[j].folder && g_str_equal(cases[i].type, "zfs"))
                continue;
            g_autofree char *path = g_strdup_printf("/drivers/%s/%s/%s", cases[i].driver->name,
                                                    cases[i].type, common[j].name);
            g_test_add_data_func(path, &cases[i], common[j].func);
        }
    }
    g_test_add_func("/drivers/probe", test_probe);
    return g_test_run();
}
