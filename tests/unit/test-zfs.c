/* SPDX-License-Identifier: Apache-2.0 */
#include "driver-pool.h"
#include "driver/zfs/zfs.h"
#include <string.h>
#include <sys/mman.h>
#include <varve/log.h>

/*
 * The zfs driver in a zpool that others use too: what is theirs stays, what they have in use is
 * waited for and told about, and what was cut short is undone. Rows D3, S10 and V3 of the
 * specification. What holds of every driver is in test-drivers.c.
 */

static const PoolCase zfs_case = {&varve_driver_zfs, "zfs"};

/* Runs a command in which BASE stands for the pool's dataset and ZPOOL for its zpool. */
static char *
run(const Pool *pool, const char *command)
{
    g_autoptr(GString) text = g_string_new(command);
    g_autofree char *base = g_strconcat(pool->scratch->zpool, "/pool", NULL);
    g_string_replace(text, "BASE", base, 0);
    g_string_replace(text, "ZPOOL", pool->scratch->zpool, 0);
    return scratch_run(text->str);
}

static void
do_run(const Pool *pool, const char *command)
{
    g_free(run(pool, command));
}

/* What the command prints, with the pool's dataset as BASE. */
static void
assert_prints(const Pool *pool, const char *command, const char *expected)
{
    g_autofree char *output = run(pool, command);
    g_autoptr(GString) text = g_string_new(output);
    g_autofree char *base = g_strconcat(pool->scratch->zpool, "/pool", NULL);
    g_string_replace(text, base, "BASE", 0);
    g_string_replace(text, pool->scratch->zpool, "ZPOOL", 0);
    g_assert_cmpstr(text->str, ==, expected);
}

static void
assert_tells(const GError *error, VarveErrorCode code, const char *text)
{
    g_assert_error(error, VARVE_ERROR, (int)code);
    if (strstr(error->message, text) == NULL)
        g_error("'%s' is not in: %s", text, error->message);
}

static void
assert_remove_fails(Pool *pool, guint64 id, VarveErrorCode code, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(pool->driver->remove(pool->self, id, &error));
    assert_tells(error, code, text);
}

/* A snapshot with a file. */
static void
make_active(Pool *pool, const VarveDriverSnapshot *of, const char *content)
{
    pool_create(pool, of);
    int root = pool_attach(pool, of);
    pool_write_file(root, "file", content);
    pool_detach(pool, root);
}

static void
assert_content(Pool *pool, const VarveDriverSnapshot *of, const char *content)
{
    int root = pool_attach(pool, of);
    pool_assert_file(root, "file", content);
    pool_detach(pool, root);
}

/* --- the layout ------------------------------------------------------------------------------- */

static void
test_layout(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    make_active(pool, snapshot(ACTIVE, 1), "one");
    pool_commit(pool, 1);
    pool_create(pool, snapshot(ACTIVE, 2, 1));
    pool_create(pool, snapshot(VIEW, 3, 1));
    assert_prints(pool, "zfs list -H -r -t all -o name,origin BASE | grep / | tr '\\t' ' '",
                  "BASE -\n"
                  "BASE/runtime -\n"
                  "BASE/runtime/2 BASE/storage/1@extracted\n"
                  "BASE/storage -\n"
                  "BASE/storage/1 BASE/storage/empty@extracted\n"
                  "BASE/storage/1@extracted -\n"
                  "BASE/storage/empty -\n"
                  "BASE/storage/empty@extracted -");
    assert_prints(pool, "zfs get -H -o value mountpoint,acltype,xattr BASE/runtime/2",
                  "legacy\nposix\nsa");

    g_autoptr(VarveMount) active = pool->driver->mounts(pool->self, snapshot(ACTIVE, 2, 1), NULL);
    g_autoptr(VarveMount) view = pool->driver->mounts(pool->self, snapshot(VIEW, 3, 1), NULL);
    g_assert_cmpstr(active->type, ==, "zfs");
    g_assert_true(g_str_has_suffix(active->source, "/pool/runtime/2"));
    g_assert_null(active->options[0]);
    g_assert_true(g_str_has_suffix(view->source, "/pool/storage/1@extracted"));
    g_assert_cmpstr(view->options[0], ==, "ro");
    pool_free(pool);
}

/* A dataset that is there already, and empty, may be used, and is there afterwards. */
static void
test_adopted_base(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    g_autoptr(GError) error = NULL, taken = NULL, used = NULL;
    pool->driver->destroy(pool->self, &error);
    g_assert_no_error(error);
    pool->driver->close(pool->self);
    assert_prints(pool, "zfs list -H -r -o name ZPOOL", "ZPOOL");

    do_run(pool, "zfs create -o casesensitivity=insensitive -o readonly=on BASE");
    do_run(pool, "zfs create BASE/theirs");
    g_assert_null(pool->driver->open(&pool->host, TRUE, &used));
    assert_tells(used, VARVE_ERROR_FAILED_PRECONDITION, "/pool/theirs");
    do_run(pool, "zfs destroy BASE/theirs");

    pool->self = pool->driver->open(&pool->host, TRUE, &error);
    g_assert_no_error(error);
    make_active(pool, snapshot(ACTIVE, 1), "one");
    int root = pool_attach(pool, snapshot(ACTIVE, 1));
    pool_write_file(root, "FILE", "two"); /* another file */
    pool_assert_file(root, "file", "one");
    pool_detach(pool, root);
    pool_discard(pool, 1);
    g_assert_null(pool->driver->open(&pool->host, TRUE, &taken));
    assert_tells(taken, VARVE_ERROR_ALREADY_EXISTS, "holds a pool already");

    pool->driver->destroy(pool->self, &error);
    g_assert_no_error(error);
    pool->driver->close(pool->self);
    assert_prints(pool, "zfs get -H -r -o name,value org.varve:pool ZPOOL | tr '\\t' ' '",
                  "ZPOOL -\nBASE -");
    do_run(pool, "zfs destroy BASE");
    pool->self = pool->driver->open(&pool->host, TRUE, &error);
    g_assert_no_error(error);
    pool_free(pool);
}

static void
open_fails(Pool *pool, VarveErrorCode code, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(pool->driver->open(&pool->host, FALSE, &error));
    assert_tells(error, code, text);
}

static void
test_base_is_gone(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    do_run(pool, "zfs rename BASE ZPOOL/away");
    open_fails(pool, VARVE_ERROR_NOT_FOUND, "/pool");
    do_run(pool, "zfs create BASE");
    open_fails(pool, VARVE_ERROR_CORRUPT, "is not this pool's");
    do_run(pool, "zfs set org.varve:pool=1234 BASE");
    open_fails(pool, VARVE_ERROR_CORRUPT, "org.varve:pool is 1234");
    assert_prints(pool, "zfs list -H -o name -r BASE", "BASE");
    do_run(pool, "zfs destroy BASE; zfs rename ZPOOL/away BASE; zfs rename BASE/runtime ZPOOL/r");
    open_fails(pool, VARVE_ERROR_CORRUPT, "/pool/runtime");
    do_run(pool, "zfs rename ZPOOL/r BASE/runtime");
    pool_reopen(pool);
    pool_free(pool);
}

static void
test_properties(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    g_autofree char *set = g_strdup_printf("'zfs set acltype=posix %s/pool'", pool->scratch->zpool);
    g_autofree char *fix =
        g_strdup_printf("readonly of %s/pool/runtime is 'on' and must be 'off': 'zfs set "
                        "readonly=off %s/pool/runtime'",
                        pool->scratch->zpool, pool->scratch->zpool);
    do_run(pool, "zfs set acltype=off BASE && zfs set readonly=on BASE/runtime");
    open_fails(pool, VARVE_ERROR_FAILED_PRECONDITION, set);
    open_fails(pool, VARVE_ERROR_FAILED_PRECONDITION, fix);
    do_run(pool, "zfs set acltype=posix BASE && zfs set readonly=off BASE/runtime");
    do_run(pool, "zfs set compression=lz4 BASE && zfs set atime=on BASE && zfs set quota=1G BASE");
    pool_reopen(pool);
    pool_free(pool);
}

/* --- what is not ours ------------------------------------------------------------------------- */

static void
note_dataset(VarveLogLevel level, const char *message, const VarveLogField *fields, gsize n,
             gpointer data)
{
    for (gsize i = 0; i < n; i++) {
        if (g_str_equal(fields[i].key, "dataset"))
            g_ptr_array_add(data, g_strdup(strstr(fields[i].value, "/pool/") + strlen("/pool/")));
    }
}

static void
test_foreign_datasets(void)
{
    static const char *const theirs[] = {"other", "runtime/77", "runtime/01", "runtime/look",
                                         "storage/backup"};
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    make_active(pool, snapshot(ACTIVE, 1), "one");
    pool_commit(pool, 1);
    do_run(pool, "zfs create BASE/other && zfs create BASE/runtime/77 && "
                 "zfs clone BASE/storage/1@extracted BASE/runtime/01 && "
                 "zfs clone BASE/storage/1@extracted BASE/runtime/look && "
                 "zfs create -V 1M BASE/storage/backup");

    g_autoptr(GPtrArray) told = g_ptr_array_new_with_free_func(g_free);
    varve_log_set_handler(note_dataset, told);
    pool_assert_listed(pool, POOL_ID(1));
    varve_log_set_handler(NULL, NULL);
    g_assert_cmpint(told->len, ==, G_N_ELEMENTS(theirs));
    for (gsize i = 0; i < G_N_ELEMENTS(theirs); i++)
        g_assert_true(g_ptr_array_find_with_equal_func(told, theirs[i], g_str_equal, NULL));

    pool_discard(pool, 77); /* as for any id that has nothing on disk */
    assert_prints(pool, "zfs list -H -o name BASE/runtime/77", "BASE/runtime/77");
    g_autoptr(GError) taken = NULL, refused = NULL;
    g_assert_false(pool->driver->create(pool->self, snapshot(ACTIVE, 77, 1), &taken));
    assert_tells(taken, VARVE_ERROR_ALREADY_EXISTS, "/pool/runtime/77");
    do_run(pool, "zfs destroy BASE/runtime/look; zfs destroy BASE/runtime/01");
    pool_discard(pool, 1);
    g_assert_false(pool->driver->destroy(pool->self, &refused));
    assert_tells(refused, VARVE_ERROR_FAILED_PRECONDITION, "/pool/runtime/77");
    assert_tells(refused, VARVE_ERROR_FAILED_PRECONDITION, "/pool/storage/backup");
    assert_prints(pool, "zfs list -H -o name BASE/storage/empty@extracted",
                  "BASE/storage/empty@extracted");
    do_run(pool, "zfs destroy BASE/runtime/77; zfs destroy BASE/storage/backup; "
                 "zfs destroy BASE/other");
    pool_free(pool);
}

/* Others' clones, snapshots and datasets keep one of ours from being removed, and say so. */
static void
test_stood_on(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    make_active(pool, snapshot(ACTIVE, 1), "one");
    pool_commit(pool, 1);
    pool_create(pool, snapshot(ACTIVE, 2, 1));
    do_run(pool, "zfs clone BASE/storage/1@extracted ZPOOL/mine && zfs snapshot "
                 "BASE/runtime/2@hourly && zfs create BASE/runtime/2/sub");
    assert_remove_fails(pool, 2, VARVE_ERROR_FAILED_PRECONDITION, "/pool/runtime/2@hourly");
    do_run(pool, "zfs destroy BASE/runtime/2@hourly");
    assert_remove_fails(pool, 2, VARVE_ERROR_FAILED_PRECONDITION, "/pool/runtime/2/sub");
    do_run(pool, "zfs destroy BASE/runtime/2/sub");
    pool_discard(pool, 2);
    assert_remove_fails(pool, 1, VARVE_ERROR_FAILED_PRECONDITION, "/mine");
    assert_prints(pool, "zfs list -H -o origin ZPOOL/mine", "BASE/storage/1@extracted");
    do_run(pool, "zfs destroy ZPOOL/mine");
    pool_discard(pool, 1);
    pool_assert_listed(pool, 0);
    pool_free(pool);
}

static void
discard_is_complete(Pool *pool)
{
    pool_assert_listed(pool, 0);
    assert_prints(pool, "zfs list -H -r -t all -o name BASE",
                  "BASE\nBASE/runtime\nBASE/storage\nBASE/storage/empty\n"
                  "BASE/storage/empty@extracted");
}

static gint64
bytes_of(Pool *pool, const VarveDriverSnapshot *of)
{
    VarveUsage usage;
    g_autoptr(GError) error = NULL;
    g_assert_true(pool->driver->usage(pool->self, of, &usage, &error));
    g_assert_no_error(error);
    return usage.bytes;
}

/* One of ours is taken out from under what stands on it, which has its content, and hands on what
 * others need when it goes itself. Others' clones are never promoted. */
static void
test_dropped(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    make_active(pool, snapshot(ACTIVE, 1), "one");
    pool_commit(pool, 1);
    make_active(pool, snapshot(ACTIVE, 2, 1), "two");
    pool_commit(pool, 2);
    make_active(pool, snapshot(ACTIVE, 3, 2, 1), "three");
    pool_commit(pool, 3);
    pool_create(pool, snapshot(ACTIVE, 4, 2, 1));
    do_run(pool, "zfs clone BASE/storage/2@extracted ZPOOL/mine");
    pool_discard(pool, 2);
    pool_assert_listed(pool, POOL_ID(1) | POOL_ID(3) | POOL_ID(4));
    assert_content(pool, snapshot(VIEW, 50, 3), "three");
    assert_content(pool, snapshot(ACTIVE, 4, 1), "two");
    g_assert_cmpint(bytes_of(pool, snapshot(ACTIVE, 4, 1)), >, 0);
    pool_discard(pool, 1);
    g_assert_cmpint(bytes_of(pool, snapshot(ACTIVE, 4)), >, 0);
    pool_discard(pool, 3);
    assert_content(pool, snapshot(ACTIVE, 4), "two");
    assert_prints(pool, "zfs list -H -r -t all -o name,origin BASE/runtime | tr '\t' ' '",
                  "BASE/runtime -\nBASE/runtime/4 BASE/storage/empty@extracted\n"
                  "BASE/runtime/4@dropped-2 -");
    assert_remove_fails(pool, 4, VARVE_ERROR_FAILED_PRECONDITION, "/mine");
    do_run(pool, "zfs destroy ZPOOL/mine");
    pool_discard(pool, 4);
    discard_is_complete(pool);
    pool_free(pool);
}

/* What a process that was killed left of that. */
static void
test_half_dropped(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    make_active(pool, snapshot(ACTIVE, 1), "one");
    pool_commit(pool, 1);
    make_active(pool, snapshot(ACTIVE, 2, 1), "two");
    do_run(pool, "zfs rename BASE/storage/1@extracted BASE/storage/1@dropped-1");
    pool_assert_listed(pool, POOL_ID(1) | POOL_ID(2));
    pool_discard(pool, 1);
    pool_assert_listed(pool, POOL_ID(2));
    assert_content(pool, snapshot(ACTIVE, 2), "two");
    pool_commit(pool, 2);
    pool_discard(pool, 2);
    discard_is_complete(pool);
    pool_free(pool);
}

static void
test_held(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    make_active(pool, snapshot(ACTIVE, 1), "one");
    pool_commit(pool, 1);
    do_run(pool, "zfs hold backup BASE/storage/1@extracted");
    assert_remove_fails(pool, 1, VARVE_ERROR_BUSY, "held by backup");
    assert_remove_fails(pool, 1, VARVE_ERROR_BUSY, "zfs release");
    pool_create(pool, snapshot(ACTIVE, 2, 1));
    assert_content(pool, snapshot(ACTIVE, 2, 1), "one");
    pool_discard(pool, 2);
    do_run(pool, "zfs release backup BASE/storage/1@extracted");
    pool_discard(pool, 1);
    pool_free(pool);
}

static void
test_mounted(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    make_active(pool, snapshot(ACTIVE, 1), "one");
    int root = pool_attach(pool, snapshot(ACTIVE, 1));
    assert_remove_fails(pool, 1, VARVE_ERROR_BUSY, "unmount it");
    pool_assert_file(root, "file", "one");
    pool_detach(pool, root);
    pool_commit(pool, 1);
    root = pool_attach(pool, snapshot(VIEW, 2, 1));
    assert_remove_fails(pool, 1, VARVE_ERROR_BUSY, "unmount it");
    pool_assert_file(root, "file", "one");
    pool_detach(pool, root);
    pool_discard(pool, 1);
    pool_free(pool);
}

/* --- removing many ---------------------------------------------------------------------------- */

static void
test_remove_many(void)
{
    static const guint64 ids[] = {1, 2, 3, 4, 5, 6};
    GError *errors[G_N_ELEMENTS(ids)] = {NULL};
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    make_active(pool, snapshot(ACTIVE, 3), "three"); /* 3 <- 1 <- 5, and 2, and nothing of 6 */
    pool_commit(pool, 3);
    pool_create(pool, snapshot(ACTIVE, 1, 3));
    pool_commit(pool, 1);
    pool_create(pool, snapshot(ACTIVE, 5, 1, 3));
    pool_create(pool, snapshot(ACTIVE, 2));
    make_active(pool, snapshot(ACTIVE, 4), "four");
    int root = pool_attach(pool, snapshot(ACTIVE, 4));

    pool->driver->remove_many(pool->self, ids, G_N_ELEMENTS(ids), errors);
    for (gsize i = 0; i < G_N_ELEMENTS(ids); i++) {
        if (ids[i] == 4)
            assert_tells(errors[i], VARVE_ERROR_BUSY, "/runtime/4");
        else
            g_assert_no_error(errors[i]);
        g_clear_error(&errors[i]);
    }
    pool_assert_listed(pool, POOL_ID(4));
    pool_assert_file(root, "file", "four");
    pool_detach(pool, root);
    pool_free(pool);
}

/* --- committing ------------------------------------------------------------------------------- */

/* What was written before the commit is in it, through a mapping too; what is written after it,
 * through a mount that was there before, is not. */
static void
test_commit_mounted(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    make_active(pool, snapshot(ACTIVE, 1), "one");
    int root = pool_attach(pool, snapshot(ACTIVE, 1));
    varve_autofd fd = openat(root, "mapped", O_RDWR | O_CREAT, 0644);
    g_assert_no_errno(ftruncate(fd, 4));
    char *map = mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert_true(map != MAP_FAILED);
    memcpy(map, "page", 4);

    pool_commit(pool, 1);
    memcpy(map, "PAGE", 4);
    g_assert_no_errno(munmap(map, 4));
    varve_fd_clear(&fd);
    pool_write_file(root, "file", "late");
    pool_detach(pool, root);

    root = pool_attach(pool, snapshot(VIEW, 2, 1));
    pool_assert_file(root, "file", "one");
    pool_assert_file(root, "mapped", "page");
    pool_detach(pool, root);
    pool_free(pool);
}

/* After each step of a commit that was cut short. */
static void
test_reopen(void)
{
    static const char *const steps[] = {
        "zfs rename BASE/runtime/1 BASE/storage/1",
        "zfs snapshot BASE/storage/1@extracted",
    };
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    make_active(pool, snapshot(ACTIVE, 1), "one");
    for (gsize n = 0; n <= G_N_ELEMENTS(steps); n++) {
        g_autoptr(GError) error = NULL;
        for (gsize i = 0; i < n; i++)
            do_run(pool, steps[i]);
        pool_assert_listed(pool, POOL_ID(1));
        for (guint twice = 0; twice < 2; twice++)
            pool->driver->reopen(pool->self, 1, &error);
        g_assert_no_error(error);
        assert_prints(pool, "zfs list -H -r -t all -o name BASE/runtime",
                      "BASE/runtime\nBASE/runtime/1");
        assert_content(pool, snapshot(ACTIVE, 1), "one");
    }
    pool_commit(pool, 1);
    pool_free(pool);
}

/* --- capturing -------------------------------------------------------------------------------- */

static void
capture(Pool *pool, guint64 of, guint64 id)
{
    g_autoptr(GError) error = NULL;
    pool->driver->capture(pool->self, of, id, &error);
    g_assert_no_error(error);
}

static void
rewrite(Pool *pool, const VarveDriverSnapshot *of, const char *content)
{
    int root = pool_attach(pool, of);
    pool_write_file(root, "file", content);
    pool_detach(pool, root);
}

/* Twice, of one that is mounted all the time; what was captured outlives it. */
static void
test_capture(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    make_active(pool, snapshot(ACTIVE, 1), "one");
    int root = pool_attach(pool, snapshot(ACTIVE, 1));
    capture(pool, 1, 2);
    pool_write_file(root, "file", "two");
    capture(pool, 1, 3);
    pool_write_file(root, "file", "three");
    pool_detach(pool, root);
    pool_assert_listed(pool, POOL_ID(1) | POOL_ID(2) | POOL_ID(3));
    assert_prints(pool, "zfs list -H -o origin BASE/runtime/1 BASE/storage/2 BASE/storage/3",
                  "BASE/storage/3@extracted\n"
                  "BASE/storage/empty@extracted\n"
                  "BASE/storage/2@extracted");
    assert_content(pool, snapshot(VIEW, 9, 2), "one");
    assert_content(pool, snapshot(VIEW, 9, 3, 2), "two");
    assert_content(pool, snapshot(ACTIVE, 1, 3, 2), "three");

    pool_commit(pool, 1);
    pool_create(pool, snapshot(ACTIVE, 4, 1, 3, 2));
    assert_content(pool, snapshot(ACTIVE, 4, 1, 3, 2), "three");
    pool_discard(pool, 4);
    pool_discard(pool, 1);
    pool_create(pool, snapshot(ACTIVE, 5, 3, 2));
    assert_content(pool, snapshot(ACTIVE, 5, 3, 2), "two");
    pool_free(pool);
}

/* As capture() does them; see src/driver/zfs/capture.c. */
static const char *const capture_steps[] = {
    "zfs set org.varve:capture-2=1 BASE/storage; "
    "zfs snapshot -o org.varve:captured=1 BASE/runtime/1@capture-2",
    "zfs clone BASE/runtime/1@capture-2 BASE/storage/2",
    "zfs promote BASE/storage/2; zfs inherit org.varve:capture-2 BASE/storage",
    "zfs rename BASE/storage/2@capture-2 BASE/storage/2@extracted",
};

static void
undo_capture(Pool *pool, gsize steps, gboolean committed)
{
    make_active(pool, snapshot(ACTIVE, 1), "one");
    for (gsize i = 0; i < steps; i++)
        do_run(pool, capture_steps[i]);
    rewrite(pool, snapshot(ACTIVE, 1), "late");
    pool_assert_listed(pool, POOL_ID(1) | POOL_ID(2));
    if (committed)
        pool_commit(pool, 1);
    pool_discard(pool, 2);
    pool_assert_listed(pool, POOL_ID(1));
    assert_prints(pool, "zfs list -H -r -t all -o name,origin BASE | grep '/.*/1' | tr '\\t' ' '",
                  committed ? "BASE/storage/1 BASE/storage/empty@extracted\n"
                              "BASE/storage/1@extracted -"
                            : "BASE/runtime/1 BASE/storage/empty@extracted");
    assert_prints(pool, "zfs get -H -s local -o property all BASE/storage | grep varve || true",
                  "");
    assert_content(pool, committed ? snapshot(VIEW, 9, 1) : snapshot(ACTIVE, 1), "late");
    pool_discard(pool, 1);
}

/* Cut short after each step; and what was captured may have been committed when it is undone. */
static void
test_capture_cut_short(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    for (gsize steps = 1; steps <= G_N_ELEMENTS(capture_steps); steps++) {
        undo_capture(pool, steps, FALSE);
        undo_capture(pool, steps, TRUE);
    }
    pool_free(pool);
}

/* What is not there any more need not be promoted; what is another's never is. */
static void
test_capture_left_alone(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    make_active(pool, snapshot(ACTIVE, 1), "one");
    capture(pool, 1, 2);
    do_run(pool, "zfs clone BASE/storage/2@extracted ZPOOL/mine");
    pool_discard(pool, 2);
    assert_prints(pool, "zfs list -H -o origin ZPOOL/mine BASE/runtime/1",
                  "BASE/runtime/1@dropped-2\nBASE/storage/empty@extracted");
    assert_remove_fails(pool, 1, VARVE_ERROR_FAILED_PRECONDITION, "/mine");
    do_run(pool, "zfs destroy ZPOOL/mine");
    pool_discard(pool, 1);

    /* One that was prepared on a captured one is not what that was captured of. */
    make_active(pool, snapshot(ACTIVE, 3), "three");
    capture(pool, 3, 4);
    pool_discard(pool, 3);
    pool_create(pool, snapshot(ACTIVE, 5, 4));
    pool_discard(pool, 4);
    assert_content(pool, snapshot(ACTIVE, 5), "three");
    assert_prints(pool, "zfs list -H -o origin BASE/runtime/5", "BASE/storage/empty@extracted");
    pool_free(pool);
}

static void
test_capture_fails(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    g_autoptr(GError) missing = NULL, taken = NULL;
    g_assert_false(pool->driver->capture(pool->self, 1, 2, &missing));
    g_assert_error(missing, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    pool_assert_listed(pool, 0);
    make_active(pool, snapshot(ACTIVE, 1), "one");
    pool_create(pool, snapshot(ACTIVE, 2));
    pool_commit(pool, 2);
    g_assert_false(pool->driver->capture(pool->self, 1, 2, &taken));
    g_assert_error(taken, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS);
    assert_prints(pool, "zfs list -H -r -t all -o name BASE/runtime",
                  "BASE/runtime\nBASE/runtime/1");
    pool_free(pool);
}

/* --- usage ------------------------------------------------------------------------------------ */

/* Of an active one at once; and whatever snapshots others take. */
static void
test_usage_now(void)
{
    Pool *pool = pool_new(&zfs_case);
    if (pool == NULL)
        return;
    g_autofree char *large = g_strnfill(1000000, 'x');
    pool_create(pool, snapshot(ACTIVE, 1));
    int root = pool_attach(pool, snapshot(ACTIVE, 1));
    pool_write_file(root, "large", large);
    do_run(pool, "zfs snapshot BASE/runtime/1@hourly");
    pool_write_file(root, "small", "x");
    VarveUsage usage;
    g_autoptr(GError) error = NULL;
    pool->driver->usage(pool->self, snapshot(ACTIVE, 1), &usage, &error);
    g_assert_no_error(error);
    g_assert_cmpint(usage.inodes, ==, 3);
    g_assert_cmpint(usage.bytes, >, 1000000);
    g_assert_cmpint(usage.bytes, <, 1400000);
    pool_detach(pool, root);

    guint64 size, free;
    pool->driver->space(pool->self, &size, &free, &error);
    g_assert_no_error(error);
    g_assert_cmpint(size, <, 400 * 1024 * 1024);
    g_assert_cmpint(size - free, >, 1000000);
    do_run(pool, "zfs destroy BASE/runtime/1@hourly");
    pool_free(pool);
}

static const struct {
    const char *name;
    GTestFunc func;
} tests[] = {
    {"layout", test_layout},
    {"adopted-base", test_adopted_base},
    {"base-is-gone", test_base_is_gone},
    {"properties", test_properties},
    {"foreign-datasets", test_foreign_datasets},
    {"stood-on", test_stood_on},
    {"dropped", test_dropped},
    {"half-dropped", test_half_dropped},
    {"held", test_held},
    {"mounted", test_mounted},
    {"remove-many", test_remove_many},
    {"commit-mounted", test_commit_mounted},
    {"reopen", test_reopen},
    {"capture", test_capture},
    {"capture-cut-short", test_capture_cut_short},
    {"capture-left-alone", test_capture_left_alone},
    {"capture-fails", test_capture_fails},
    {"usage-now", test_usage_now},
};

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    for (gsize i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat("/zfs/", tests[i].name, NULL);
        g_test_add_func(path, tests[i].func);
    }
    return g_test_run();
}
