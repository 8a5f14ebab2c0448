/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tree.h"
#include "store/records.h"
#include <fcntl.h>
#include <glib/gstdio.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    char *dir, *path;
    VarveStore *store;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    f->dir = g_dir_make_tmp("varve-store-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "store", NULL);
    f->store = varve_store_open(f->path, FALSE, &error);
    g_assert_no_error(error);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    varve_store_close(f->store);
    varve_tree_remove(AT_FDCWD, f->dir, NULL, &error);
    g_assert_no_error(error);
    g_free(f->path);
    g_free(f->dir);
}

typedef struct {
    guint64 id;
    const char *name;
    guint64 parent;
} Add;

static gboolean
add(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Add *a = data;
    VarveSnapshotRecord record = VARVE__STORE__SNAPSHOT__INIT;
    record.pool = 7;
    record.name = (char *)a->name;
    record.parent = a->parent;
    return varve_record_add(txn, a->id, &record, error);
}

static void
add_ok(VarveStore *store, guint64 id, const char *name, guint64 parent)
{
    g_autoptr(GError) error = NULL;
    Add a = {id, name, parent};
    varve_store_write(store, VARVE_STORE_DURABLE, add, &a, &error);
    g_assert_no_error(error);
}

static gboolean
find(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Add *a = data;
    return varve_record_find(txn, 7, a->name, &a->id, error);
}

static guint64
find_id(VarveStore *store, const char *name)
{
    g_autoptr(GError) error = NULL;
    Add a = {.name = name};
    varve_store_read(store, find, &a, &error);
    g_assert_no_error(error);
    return a.id;
}

/* SPEC row S8: names of any length, told apart however alike they begin. */
static void
test_long_names(Fixture *f, gconstpointer data)
{
    const gsize lengths[] = {1, 399, 400, 401, 511, 512, 4096};
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++) {
        for (char end = 'x'; end <= 'y'; end++) {
            char *name = g_strnfill(lengths[i], '\xff');
            name[lengths[i] - 1] = end;
            g_ptr_array_add(names, name);
            add_ok(f->store, names->len, name, 0);
        }
    }
    for (guint i = 0; i < names->len; i++)
        g_assert_cmpuint(find_id(f->store, g_ptr_array_index(names, i)), ==, i + 1);
    g_assert_cmpuint(find_id(f->store, "absent"), ==, 0);
}

static gboolean
count(guint64 id, const VarveSnapshotRecord *record, gpointer data, GError **error)
{
    ++*(guint64 *)data;
    return TRUE;
}

typedef struct {
    guint64 parent, count;
} Children;

static gboolean
count_children(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Children *c = data;
    c->count = 0;
    return varve_record_children(txn, c->parent, count, &c->count, error);
}

static guint64
children(VarveStore *store, guint64 parent)
{
    g_autoptr(GError) error = NULL;
    Children c = {.parent = parent};
    varve_store_read(store, count_children, &c, &error);
    g_assert_no_error(error);
    return c.count;
}

static gboolean
move_to_three(VarveStoreTxn *txn, gpointer data, GError **error)
{
    g_autoptr(VarveSnapshotRecord) old = NULL;
    if (!varve_record_get(txn, 2, &old, error))
        return FALSE;
    VarveSnapshotRecord new = *old;
    new.name = (char *)"moved";
    new.parent = 3;
    return varve_record_replace(txn, 2, old, &new, error);
}

static gboolean
remove_two(VarveStoreTxn *txn, gpointer data, GError **error)
{
    g_autoptr(VarveSnapshotRecord) old = NULL;
    return varve_record_get(txn, 2, &old, error) && varve_record_remove(txn, 2, old, error);
}

static void
test_indexes(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    add_ok(f->store, 1, "one", 0);
    add_ok(f->store, 2, "two", 1);
    add_ok(f->store, 3, "three", 1);
    g_assert_cmpuint(children(f->store, 1), ==, 2);
    g_assert_cmpuint(children(f->store, 2), ==, 0);

    varve_store_write(f->store, VARVE_STORE_ORDERED, move_to_three, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(children(f->store, 1), ==, 1);
    g_assert_cmpuint(children(f->store, 3), ==, 1);
    g_assert_cmpuint(find_id(f->store, "two"), ==, 0);
    g_assert_cmpuint(find_id(f->store, "moved"), ==, 2);

    varve_store_write(f->store, VARVE_STORE_ORDERED, remove_two, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(children(f->store, 3), ==, 0);
    g_assert_cmpuint(find_id(f->store, "moved"), ==, 0);
}

static gboolean
write_then_fail(VarveStoreTxn *txn, gpointer data, GError **error)
{
    return add(txn, data, error) && varve_error_set(error, VARVE_ERROR_BUSY, "after a change");
}

static void
test_failed_write_changes_nothing(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    Add a = {5, "half", 0};
    g_assert_false(varve_store_write(f->store, VARVE_STORE_DURABLE, write_then_fail, &a, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_BUSY);
    g_assert_cmpuint(find_id(f->store, "half"), ==, 0);
}

typedef struct {
    VarveStore *store;
    guint first;
} Writer;

static gpointer
write_many(gpointer data)
{
    Writer *w = data;
    for (guint i = 0; i < 100; i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *name = g_strdup_printf("name-%u", w->first + i);
        Add a = {w->first + i, name, 0};
        gboolean bad = i % 10 == 9; /* its neighbours in the transaction must not notice */
        gboolean ok = varve_store_write(w->store, VARVE_STORE_DURABLE, bad ? write_then_fail : add,
                                        &a, &error);
        g_assert_true(ok != bad);
    }
    return NULL;
}

static void
test_concurrent_writers(Fixture *f, gconstpointer data)
{
    GThread *threads[8];
    Writer writers[8];
    for (guint i = 0; i < 8; i++) {
        writers[i] = (Writer){f->store, 1 + i * 100};
        threads[i] = g_thread_new("writer", write_many, &writers[i]);
    }
    for (guint i = 0; i < 8; i++)
        g_thread_join(threads[i]);
    for (guint i = 1; i <= 800; i++) {
        g_autofree char *name = g_strdup_printf("name-%u", i);
        g_assert_cmpuint(find_id(f->store, name), ==, (i - 1) % 10 == 9 ? 0 : i);
    }
}

/* A second open of the same environment must be another process's. */
static void
in_child(void (*func)(const char *path), const char *path, int expect_signal)
{
    pid_t pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        func(path);
        _exit(0);
    }
    int status;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    if (expect_signal != 0)
        g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == expect_signal);
    else
        g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static gboolean
add_and_die(VarveStoreTxn *txn, gpointer data, GError **error)
{
    add(txn, data, error);
    raise(SIGKILL);
    return FALSE;
}

static void
die_in_a_write(const char *path)
{
    VarveStore *store = varve_store_open(path, TRUE, NULL);
    Add a = {9, "dead", 0};
    varve_store_write(store, VARVE_STORE_DURABLE, add_and_die, &a, NULL);
}

/* A process that is killed while it holds the writer's lock blocks nobody. */
static void
test_killed_writer(Fixture *f, gconstpointer data)
{
    for (int i = 0; i < 3; i++)
        in_child(die_in_a_write, f->path, SIGKILL);
    add_ok(f->store, 1, "alive", 0);
    g_assert_cmpuint(find_id(f->store, "dead"), ==, 0);
    g_assert_cmpuint(find_id(f->store, "alive"), ==, 1);
}

/* What LMDB's lock file begins with (MDB_txninfo). */
typedef struct {
    guint32 magic, format;
    pthread_mutex_t readers_mutex;
    guint64 last_transaction;
    guint32 readers;
    _Alignas(64) pthread_mutex_t writers_mutex;
} Locks;

/* As a process leaves it that is killed in mdb_env_write_meta(), when the meta page is written: the
 * lock is its own, and no reader knows of the transaction. */
static void
die_committing(const char *path)
{
    g_autofree char *file = g_build_filename(path, "lock.mdb", NULL);
    VarveStore *store = varve_store_open(path, TRUE, NULL);
    add_ok(store, 9, "dead", 0);
    int fd = open(file, O_RDWR);
    Locks *locks = mmap(NULL, sizeof *locks, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (pthread_mutex_lock(&locks->writers_mutex) == 0) {
        locks->last_transaction--;
        raise(SIGKILL);
    }
}

/* What was written is there for the next reader, not only when somebody writes again. */
static void
test_killed_after_writing(Fixture *f, gconstpointer data)
{
    in_child(die_committing, f->path, SIGKILL);
    g_assert_cmpuint(find_id(f->store, "dead"), ==, 9);
    add_ok(f->store, 1, "alive", 0);
    g_assert_cmpuint(find_id(f->store, "dead"), ==, 9);
}

/* As LMDB's mdb_env_setup_locks() leaves the lock file when it finds nobody using it, and is killed
 * before mdb_env_share_locks(): no transaction is the last one. */
static void
die_initializing(const char *path)
{
    g_autofree char *file = g_build_filename(path, "lock.mdb", NULL);
    int fd = open(file, O_RDWR);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    const guint64 none = 0;
    const off_t last = offsetof(Locks, last_transaction);
    if (fcntl(fd, F_SETLK, &lock) == 0 && pwrite(fd, &none, sizeof none, last) == sizeof none) {
        g_usleep(G_USEC_PER_SEC / 5);
        raise(SIGKILL);
    }
    _exit(1);
}

static gboolean
is_locked(const char *path)
{
    g_autofree char *file = g_build_filename(path, "lock.mdb", NULL);
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1};
    int fd = open(file, O_RDWR);
    g_assert_cmpint(fcntl(fd, F_GETLK, &lock), ==, 0);
    close(fd);
    return lock.l_type != F_UNLCK;
}

/* Whoever waits for a process that is killed while it sets the locks up does not take them as that
 * one left them: it would read, and write upon, the state before the last transaction. Every other
 * transaction is found by chance, so there are two. */
static void
test_killed_initializer(Fixture *f, gconstpointer data)
{
    const char *const names[] = {"one", "two"};
    for (guint64 i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GError) error = NULL;
        add_ok(f->store, i + 1, names[i], 0);
        g_clear_pointer(&f->store, varve_store_close);
        pid_t pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0)
            die_initializing(f->path);
        while (!is_locked(f->path))
            g_usleep(100);
        f->store = varve_store_open(f->path, TRUE, &error);
        g_assert_no_error(error);
        int status;
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        g_assert_cmpuint(find_id(f->store, names[i]), ==, i + 1);
    }
}

static void
fill(VarveStore *store, guint first, guint n)
{
    g_autofree char *name = g_strnfill(4000, 'n');
    for (guint i = first; i < first + n; i++) {
        g_snprintf(name, 32, "%020u", i);
        name[20] = 'n';
        g_autoptr(GError) error = NULL;
        Add a = {i, name, 0};
        varve_store_write(store, VARVE_STORE_ORDERED, add, &a, &error);
        g_assert_no_error(error);
    }
}

static void
fill_in_child(const char *path)
{
    g_autoptr(VarveStore) store = varve_store_open(path, TRUE, NULL);
    fill(store, 10000, 1000);
}

/* The map grows when it is full, and when another process has made it grow. */
static void
test_growth(void)
{
    Fixture f;
    g_setenv("VARVE_STORE_MAP", "262144", TRUE);
    set_up(&f, NULL);
    fill(f.store, 1, 500);
    in_child(fill_in_child, f.path, 0);
    fill(f.store, 501, 10);
    VarveStoreInfo info;
    g_assert_true(varve_store_get_info(f.store, &info, NULL));
    g_assert_cmpuint(info.size, >, 4 << 20);
    tear_down(&f, NULL);
    g_unsetenv("VARVE_STORE_MAP");
}

static void
write_newer_superblock(const char *path)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    Varve__Store__Superblock sb = VARVE__STORE__SUPERBLOCK__INIT;
    guint8 bytes[64];
    sb.schema = STORE_SCHEMA + 1;
    sb.uuid = (char *)"x";
    mdb_env_create(&env);
    g_assert_cmpint(mdb_env_open(env, path, 0, 0600), ==, 0);
    g_assert_cmpint(mdb_txn_begin(env, NULL, 0, &txn), ==, 0);
    g_assert_cmpint(mdb_dbi_open(txn, NULL, 0, &dbi), ==, 0);
    MDB_val key = {strlen("Msuperblock"), (void *)"Msuperblock"};
    MDB_val value = {varve__store__superblock__pack(&sb, bytes), bytes};
    g_assert_cmpint(mdb_put(txn, dbi, &key, &value, 0), ==, 0);
    g_assert_cmpint(mdb_txn_commit(txn), ==, 0);
    mdb_env_close(env);
}

static void
test_newer_schema(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_clear_pointer(&f->store, varve_store_close);
    in_child(write_newer_superblock, f->path, 0);
    f->store = varve_store_open(f->path, FALSE, &error);
    g_assert_null(f->store);
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
    g_assert_nonnull(strstr(error->message, "newer Varve (schema 2"));
}

static void
test_damaged(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    fill(f->store, 1, 200);
    g_clear_pointer(&f->store, varve_store_close);
    g_autofree char *file = g_build_filename(f->path, "data.mdb", NULL);
    g_assert_cmpint(truncate(file, 64 << 10), ==, 0);
    f->store = varve_store_open(f->path, FALSE, &error);
    g_assert_null(f->store);
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);

    g_clear_error(&error);
    g_assert_true(g_file_set_contents(file, "this is no database, but text", -1, NULL));
    f->store = varve_store_open(f->path, FALSE, &error);
    g_assert_null(f->store);
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
}

static void
open_alone(const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveStore) store = varve_store_open(path, TRUE, &error);
    g_assert_no_error(error);
    g_assert_nonnull(store);
}

/* A process has it open once; what it was forked from does not count. */
static void
test_open_twice(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(varve_store_open(f->path, TRUE, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_BUSY);
    in_child(open_alone, f->path, 0);
    add_ok(f->store, 1, "one", 0);
    g_clear_pointer(&f->store, varve_store_close);
    open_alone(f->path);
}

static void
test_missing(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(varve_store_open("/nonexistent/store", TRUE, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
}

#define TEST(name, func) g_test_add("/store/" name, Fixture, NULL, set_up, func, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("long-names", test_long_names);
    TEST("indexes", test_indexes);
    TEST("failed-write", test_failed_write_changes_nothing);
    TEST("concurrent-writers", test_concurrent_writers);
    TEST("killed-writer", test_killed_writer);
    TEST("killed-after-writing", test_killed_after_writing);
    TEST("killed-initializer", test_killed_initializer);
    TEST("open-twice", test_open_twice);
    TEST("newer-schema", test_newer_schema);
    TEST("damaged", test_damaged);
    g_test_add_func("/store/growth", test_growth);
    g_test_add_func("/store/missing", test_missing);
    return g_test_run();
}
