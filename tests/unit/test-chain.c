/* SPDX-License-Identifier: Apache-2.0 */
/* What changes the chain of snapshots that one stands on: renewing an active one, and taking a
 * committed one out. */
#include "engine-pool.h"

typedef EnginePool Fixture;

#define PREPARE(key, parent) varve_snapshot_prepare(f->pool, key, parent, NULL, NULL, &error)
#define COMMIT(name, key)    varve_snapshot_commit(f->pool, name, key, NULL, NULL, &error)
#define RENEW(name, key)     varve_snapshot_renew(f->pool, name, key, NULL, &error)
#define DROP(key)            varve_snapshot_drop(f->pool, key, &error)

static VarveSnapshotInfo *
stat_of(Fixture *f, const char *key)
{
    VarveSnapshotInfo *info = NULL;
    OK(varve_snapshot_stat(f->pool, key, &info, &error));
    return info;
}

static void
assert_parent(Fixture *f, const char *key, const char *parent)
{
    g_autoptr(VarveSnapshotInfo) info = stat_of(f, key);
    g_assert_cmpstr(info->parent, ==, parent);
}

static void
assert_missing(Fixture *f, const char *key)
{
    REFUSED(varve_snapshot_stat(f->pool, key, NULL, &error), VARVE_ERROR_NOT_FOUND, key);
}

/* Where an active snapshot's files are: native binds them. */
static char *
file_in(Fixture *f, const char *key)
{
    g_autoptr(VarveMount) mount = NULL;
    OK(varve_snapshot_mounts(f->pool, key, &mount, &error));
    return g_build_filename(mount->source, "file", NULL);
}

static void
write_in(Fixture *f, const char *key, const char *text)
{
    g_autofree char *path = file_in(f, key);
    OK(g_file_set_contents(path, text, -1, &error));
}

static void
assert_in(Fixture *f, const char *key, const char *text)
{
    g_autofree char *path = file_in(f, key), *found = NULL;
    OK(g_file_get_contents(path, &found, NULL, &error));
    g_assert_cmpstr(found, ==, text);
}

/* --- renewing --------------------------------------------------------------------------------- */

static void
test_renew(Fixture *f, gconstpointer data)
{
    g_autoptr(GHashTable) labels = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(labels, (gpointer) "why", (gpointer) "test");
    OK(varve_snapshot_prepare(f->pool, "a", "", labels, NULL, &error));
    write_in(f, "a", "monday");
    g_autoptr(VarveSnapshotInfo) before = stat_of(f, "a");
    OK(RENEW("one", "a"));

    g_autoptr(VarveSnapshotInfo) after = stat_of(f, "a"), one = stat_of(f, "one");
    g_assert_cmpint(after->kind, ==, VARVE_KIND_ACTIVE);
    g_assert_cmpint(after->created, ==, before->created);
    g_assert_cmpstr(g_hash_table_lookup(after->labels, "why"), ==, "test");
    g_assert_cmpstr(after->parent, ==, "one");
    g_assert_cmpint(one->kind, ==, VARVE_KIND_COMMITTED);
    g_assert_cmpuint(g_hash_table_size(one->labels), ==, 0);
    g_assert_cmpstr(one->parent, ==, "");

    assert_in(f, "a", "monday");
    write_in(f, "a", "tuesday");
    OK(PREPARE("copy", "one"));
    assert_in(f, "copy", "monday");
    OK(RENEW("two", "a"));
    assert_parent(f, "two", "one");
    assert_parent(f, "a", "two");

    engine_pool_reopen(f);
    assert_in(f, "a", "tuesday");
    assert_parent(f, "a", "two");
}

static void
test_renew_refused(Fixture *f, gconstpointer data)
{
    OK(PREPARE("a", ""));
    OK(PREPARE("b", ""));
    OK(COMMIT("taken", "b"));
    REFUSED(RENEW("one", "missing"), VARVE_ERROR_NOT_FOUND, "'missing'");
    REFUSED(RENEW("taken", "a"), VARVE_ERROR_ALREADY_EXISTS, "'taken'");
    REFUSED(RENEW("one", "taken"), VARVE_ERROR_FAILED_PRECONDITION, "it is committed");
    REFUSED(RENEW("", "a"), VARVE_ERROR_INVALID_ARGUMENT, "the name is empty");
    assert_parent(f, "a", "");
    assert_missing(f, "one");
    write_in(f, "a", "still writable");
}

static gboolean
full_disk(gpointer self, const VarveDriverSnapshot *made, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_NO_SPACE, "the disk is full");
}

/* The file system fails when the fresh one is to be made: the old one is active again. */
static void
test_renew_fails(Fixture *f, gconstpointer data)
{
    VarveDriver broken = *f->pool->driver;
    const VarveDriver *driver = f->pool->driver;
    OK(PREPARE("a", ""));
    write_in(f, "a", "monday");
    broken.create = full_disk;
    f->pool->driver = &broken;
    REFUSED(RENEW("one", "a"), VARVE_ERROR_NO_SPACE, "the disk is full");
    f->pool->driver = driver;
    assert_missing(f, "one");
    write_in(f, "a", "tuesday");
    OK(RENEW("one", "a"));
    assert_in(f, "a", "tuesday");
}

/* --- taking out ------------------------------------------------------------------------------- */

/* base <- middle <- two children, one of them active. */
static void
make_chain(Fixture *f)
{
    OK(PREPARE("x", ""));
    write_in(f, "x", "base");
    OK(COMMIT("base", "x"));
    OK(PREPARE("x", "base"));
    write_in(f, "x", "middle");
    OK(COMMIT("middle", "x"));
    OK(PREPARE("x", "middle"));
    OK(COMMIT("top", "x"));
    OK(PREPARE("active", "middle"));
}

static void
test_drop(Fixture *f, gconstpointer data)
{
    make_chain(f);
    REFUSED(varve_snapshot_remove(f->pool, "middle", &error), VARVE_ERROR_FAILED_PRECONDITION, "'");
    OK(DROP("middle"));
    assert_missing(f, "middle");
    assert_parent(f, "top", "base");
    assert_parent(f, "active", "base");
    engine_pool_reopen(f);
    assert_in(f, "active", "middle");
    OK(PREPARE("copy", "top"));
    assert_in(f, "copy", "middle");

    OK(DROP("base")); /* the first: what stood on it stands on nothing */
    assert_parent(f, "top", "");
    assert_parent(f, "active", "");
    OK(DROP("active")); /* one without children is simply removed */
    assert_missing(f, "active");
}

static void
test_drop_refused(Fixture *f, gconstpointer data)
{
    make_chain(f);
    REFUSED(DROP("missing"), VARVE_ERROR_NOT_FOUND, "'missing'");
    OK(varve_snapshot_view(f->pool, "view", "middle", NULL, NULL, &error));
    REFUSED(DROP("middle"), VARVE_ERROR_FAILED_PRECONDITION, "the view 'view' shows it");
    assert_parent(f, "top", "middle");
    OK(varve_snapshot_remove(f->pool, "view", &error));

    VarveDriver layers = *f->pool->driver;
    const VarveDriver *driver = f->pool->driver;
    layers.flags &= (VarveDriverFlags)~VARVE_DRIVER_WHOLE;
    f->pool->driver = &layers;
    REFUSED(DROP("middle"), VARVE_ERROR_NOT_IMPLEMENTED, "cannot take it away alone");
    OK(DROP("top")); /* nothing stands on it */
    f->pool->driver = driver;
    assert_parent(f, "active", "middle");
}

/* What a snapshot takes is counted against its parent, which is another one then. */
static void
test_drop_forgets_usage(Fixture *f, gconstpointer data)
{
    VarveUsage before, after;
    make_chain(f);
    OK(varve_snapshot_usage(f->pool, "top", &before, &error));
    OK(DROP("middle"));
    OK(varve_snapshot_usage(f->pool, "top", &after, &error));
    g_assert_cmpint(after.bytes, >, before.bytes);
}

#define TEST(name, func)                                                                           \
    g_test_add("/chain/" name, Fixture, NULL, engine_pool_set_up, func, engine_pool_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("renew", test_renew);
    TEST("renew-refused", test_renew_refused);
    TEST("renew-fails", test_renew_fails);
    TEST("drop", test_drop);
    TEST("drop-refused", test_drop_refused);
    TEST("drop-forgets-usage", test_drop_forgets_usage);
    return g_test_run();
}
