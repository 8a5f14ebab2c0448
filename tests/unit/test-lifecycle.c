/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of SPEC rows S1 to S8 on a native pool, which needs no mounts and so no root. */
#include "base/tree.h"
#include "engine-pool.h"
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

typedef EnginePool Fixture;

#define PREPARE(key, parent) varve_snapshot_prepare(f->pool, key, parent, NULL, NULL, &error)
#define VIEW(key, parent)    varve_snapshot_view(f->pool, key, parent, NULL, NULL, &error)
#define COMMIT(name, key)    varve_snapshot_commit(f->pool, name, key, NULL, NULL, &error)
#define REMOVE(key)          varve_snapshot_remove(f->pool, key, &error)

static void
test_refusals(Fixture *f, gconstpointer data)
{
    OK(PREPARE("a", ""));
    OK(COMMIT("base", "a"));
    OK(PREPARE("active", "base"));
    OK(VIEW("view", "base"));

    REFUSED(PREPARE("x", "missing"), VARVE_ERROR_NOT_FOUND, "'missing'");
    REFUSED(PREPARE("x", "active"), VARVE_ERROR_INVALID_ARGUMENT, "'active' is not committed");
    REFUSED(VIEW("x", "view"), VARVE_ERROR_INVALID_ARGUMENT, "'view' is not committed");
    REFUSED(PREPARE("active", "base"), VARVE_ERROR_ALREADY_EXISTS, "'active'");
    REFUSED(VIEW("base", "base"), VARVE_ERROR_ALREADY_EXISTS, "'base'");
    REFUSED(PREPARE("", "base"), VARVE_ERROR_INVALID_ARGUMENT, "the key is empty");

    REFUSED(COMMIT("n", "missing"), VARVE_ERROR_NOT_FOUND, "'missing'");
    REFUSED(COMMIT("n", "view"), VARVE_ERROR_FAILED_PRECONDITION, "it is view");
    REFUSED(COMMIT("n", "base"), VARVE_ERROR_FAILED_PRECONDITION, "it is committed");
    REFUSED(COMMIT("base", "active"), VARVE_ERROR_ALREADY_EXISTS, "'base' is taken");
    REFUSED(varve_snapshot_commit(f->pool, "n", "active", "missing", NULL, &error),
            VARVE_ERROR_NOT_FOUND, "'missing'");
    REFUSED(varve_snapshot_commit(f->pool, "n", "active", "view", NULL, &error),
            VARVE_ERROR_FAILED_PRECONDITION, "'view' is not committed");
    OK(PREPARE("orphan", ""));
    REFUSED(varve_snapshot_commit(f->pool, "n", "orphan", "base", NULL, &error),
            VARVE_ERROR_NOT_IMPLEMENTED, "cannot rebase");
    OK(COMMIT("n", "active")); /* still usable after all that */

    VarveMount *mount = NULL;
    REFUSED(varve_snapshot_mounts(f->pool, "base", &mount, &error), VARVE_ERROR_FAILED_PRECONDITION,
            "'base'");
    REFUSED(varve_snapshot_mounts(f->pool, "missing", &mount, &error), VARVE_ERROR_NOT_FOUND,
            "'missing'");
    REFUSED(REMOVE("base"), VARVE_ERROR_FAILED_PRECONDITION, "cannot remove");
    REFUSED(REMOVE("missing"), VARVE_ERROR_NOT_FOUND, "'missing'");
    OK(REMOVE("view"));
    OK(REMOVE("n"));
    OK(REMOVE("base"));
    OK(PREPARE("base", "")); /* the name is free at once */
}

static void
test_key_sizes(Fixture *f, gconstpointer data)
{
    g_autofree char *longest = g_strnfill(4096, 'k'), *too_long = g_strnfill(4097, 'k');
    OK(PREPARE(longest, ""));
    REFUSED(PREPARE(too_long, ""), VARVE_ERROR_INVALID_ARGUMENT, "4097 bytes");
    OK(PREPARE("../../etc\n\xc3\xa4 \"'", ""));
    REFUSED(PREPARE("../../etc\n\xc3\xa4 \"'", ""), VARVE_ERROR_ALREADY_EXISTS, "\\x0a");
    OK(COMMIT("../..", longest));
    OK(REMOVE("../.."));
}

static GHashTable *
table(const char *key, const char *value)
{
    GHashTable *labels = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(labels, (char *)key, (char *)value);
    return labels;
}

static void
expect_label(Fixture *f, const char *name, const char *key, const char *value)
{
    g_autoptr(VarveSnapshotInfo) info = NULL;
    OK(varve_snapshot_stat(f->pool, name, &info, &error));
    g_assert_cmpstr(g_hash_table_lookup(info->labels, key), ==, value);
}

static void
test_labels(Fixture *f, gconstpointer data)
{
    g_autofree char *value = g_strnfill(4095, 'v');
    g_autoptr(GHashTable) fits = table("k", value), over = table("kk", value),
                          empty = table("k", ""), other = table("other", "1");
    OK(varve_snapshot_prepare(f->pool, "a", "", fits, NULL, &error));
    expect_label(f, "a", "k", value);
    REFUSED(varve_snapshot_prepare(f->pool, "b", "", over, NULL, &error),
            VARVE_ERROR_INVALID_ARGUMENT, "'kk'");
    OK(varve_snapshot_prepare(f->pool, "b", "", empty, NULL, &error));
    expect_label(f, "b", "k", NULL);

    const char *set[] = {"labels.other", NULL}, *wrong[] = {"parent", NULL};
    OK(varve_snapshot_update(f->pool, "a", other, set, NULL, &error));
    expect_label(f, "a", "other", "1");
    expect_label(f, "a", "k", value);
    OK(varve_snapshot_update(f->pool, "a", NULL, set, NULL, &error));
    expect_label(f, "a", "other", NULL);
    OK(varve_snapshot_update(f->pool, "a", other, NULL, NULL, &error));
    expect_label(f, "a", "k", NULL);
    REFUSED(varve_snapshot_update(f->pool, "a", other, wrong, NULL, &error),
            VARVE_ERROR_INVALID_ARGUMENT, "'parent'");
    REFUSED(varve_snapshot_update(f->pool, "missing", other, NULL, NULL, &error),
            VARVE_ERROR_NOT_FOUND, "'missing'");

    OK(COMMIT("c", "a")); /* a commit's labels are its own, as in containerd */
    expect_label(f, "c", "other", NULL);
}

static void
test_info(Fixture *f, gconstpointer data)
{
    g_autoptr(VarveSnapshotInfo) info = NULL, again = NULL;
    OK(PREPARE("a", ""));
    OK(COMMIT("base", "a"));
    OK(PREPARE("b", "base"));
    OK(varve_snapshot_stat(f->pool, "b", &info, &error));
    g_assert_cmpstr(info->name, ==, "b");
    g_assert_cmpstr(info->parent, ==, "base");
    g_assert_cmpint(info->kind, ==, VARVE_KIND_ACTIVE);
    g_assert_cmpint(info->created, ==, info->updated);
    engine_pool_reopen(f);
    OK(varve_snapshot_stat(f->pool, "b", &again, &error));
    g_assert_cmpint(info->created, ==, again->created);
    g_assert_cmpstr(again->parent, ==, "base");
}

static gboolean
append_name(const VarveSnapshotInfo *info, gpointer data, GError **error)
{
    g_string_append_printf(data, "%s ", info->name);
    return TRUE;
}

static char *
list(Fixture *f, const char *filter)
{
    g_autoptr(GString) names = g_string_new(NULL);
    const char *filters[] = {filter, NULL};
    OK(varve_snapshot_walk(f->pool, filters, append_name, names, &error));
    return g_string_free(g_steal_pointer(&names), FALSE);
}

static void
test_walk(Fixture *f, gconstpointer data)
{
    OK(PREPARE("a", ""));
    OK(COMMIT("base", "a"));
    OK(PREPARE("c", "base"));
    OK(VIEW("b", "base"));
    g_autofree char *all = list(f, NULL), *of_base = list(f, "parent==base"),
                    *views = list(f, "kind==view,parent==base"), *none = list(f, "parent==c"),
                    *one = list(f, "name==b"), *wrong = list(f, "name==b,kind==active"),
                    *roots = list(f, "parent==\"\"");
    g_assert_cmpstr(all, ==, "b base c ");
    g_assert_cmpstr(of_base, ==, "c b ");
    g_assert_cmpstr(views, ==, "b ");
    g_assert_cmpstr(none, ==, "");
    g_assert_cmpstr(one, ==, "b ");
    g_assert_cmpstr(wrong, ==, "");
    g_assert_cmpstr(roots, ==, "base ");
    for (int i = 0; i < 1500; i++) { /* more than one chunk */
        g_autofree char *key = g_strdup_printf("n%d", i);
        OK(VIEW(key, "base"));
    }
    g_autofree char *many = list(f, "kind==view");
    g_auto(GStrv) names = g_strsplit(many, " ", -1);
    g_assert_cmpuint(g_strv_length(names) - 1, ==, 1501);
}

/* How many snapshots are on disk. */
static guint
entries(Fixture *f)
{
    guint n = 0;
    for (guint shard = 0; shard < 64; shard++) {
        g_autofree char *path = g_strdup_printf("%s/pools/p/snapshots/%u", f->dir, shard);
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
        g_assert_nonnull(dir);
        while (g_dir_read_name(dir) != NULL)
            n++;
    }
    return n;
}

/* SPEC row S10: what no record names is removed, by a search and at the next start. */
static void
test_cleanup(Fixture *f, gconstpointer data)
{
    VarveCleanup result;
    OK(PREPARE("a", ""));
    OK(varve_engine_cleanup(f->engine, NULL, &result, &error));
    g_assert_cmpuint(result.orphans, ==, 0);
    g_autofree char *stray =
        g_build_filename(f->dir, "pools", "p", "snapshots", "39", "4711", "deep", NULL);
    g_assert_cmpint(g_mkdir_with_parents(stray, 0755), ==, 0);
    g_assert_cmpuint(entries(f), ==, 2);
    OK(varve_engine_cleanup(f->engine, NULL, &result, &error));
    g_assert_cmpuint(result.orphans, ==, 1);
    g_assert_cmpuint(entries(f), ==, 1);

    g_autofree char *rest = g_build_filename(f->dir, "pools", "half-made", "fs", NULL);
    g_assert_cmpint(g_mkdir_with_parents(rest, 0755), ==, 0);
    OK(varve_engine_cleanup(f->engine, NULL, &result, &error));
    g_assert_cmpuint(result.orphans, ==, 1);
    g_assert_false(g_file_test(rest, G_FILE_TEST_EXISTS));
    OK(REMOVE("a"));
    engine_pool_reopen(f); /* closing waits for the removal */
    g_assert_cmpuint(entries(f), ==, 0);
}

/* Takes every snapshot's files away, as a power cut can those of the last ones. */
static void
lose_files(Fixture *f)
{
    for (guint shard = 0; shard < 64; shard++) {
        g_autofree char *path = g_strdup_printf("%s/pools/p/snapshots/%u", f->dir, shard);
        OK(varve_tree_remove(AT_FDCWD, path, NULL, &error));
        g_assert_cmpint(g_mkdir(path, 0711), ==, 0);
    }
}

static void
test_lost_files(Fixture *f, gconstpointer data)
{
    VarveCleanup result;
    g_autoptr(VarveSnapshotInfo) info = NULL;
    engine_pool_reopen(
        f); /* closing waits for the search of the first start, which could find it before */
    OK(PREPARE("a", ""));
    OK(COMMIT("base", "a"));
    OK(PREPARE("active", "base"));
    OK(VIEW("view", "base"));
    lose_files(f);
    OK(varve_engine_cleanup(f->engine, NULL, &result, &error));
    g_assert_cmpuint(result.orphans, ==, 1); /* the active one, whose record is dropped */
    g_assert_cmpuint(result.failed, ==, 1);  /* the committed one, which is told and kept */
    REFUSED(varve_snapshot_stat(f->pool, "active", &info, &error), VARVE_ERROR_NOT_FOUND, "active");
    expect_label(f, "base", "x", NULL);
    expect_label(f, "view", "x", NULL);
    OK(PREPARE("active", ""));
}

static void
test_pools(Fixture *f, gconstpointer data)
{
    g_autoptr(GHashTable) unknown = table("colour", "red"), bad = table("durability", "maybe");
    REFUSED(varve_engine_create_pool(f->engine, "p", "native", NULL, &error),
            VARVE_ERROR_ALREADY_EXISTS, "'p'");
    REFUSED(varve_engine_create_pool(f->engine, "q", "ext9", NULL, &error), VARVE_ERROR_NOT_FOUND,
            "ext9");
    REFUSED(varve_engine_create_pool(f->engine, "q", "", NULL, &error),
            VARVE_ERROR_INVALID_ARGUMENT, "driver");
    REFUSED(varve_engine_create_pool(f->engine, "../q", "native", NULL, &error),
            VARVE_ERROR_INVALID_ARGUMENT, "letters");
    REFUSED(varve_engine_create_pool(f->engine, "q", "native", unknown, &error),
            VARVE_ERROR_INVALID_ARGUMENT, "colour");
    REFUSED(varve_engine_create_pool(f->engine, "q", "native", bad, &error),
            VARVE_ERROR_INVALID_ARGUMENT, "durability");
    REFUSED(varve_engine_get_pool(f->engine, "q", &error) != NULL, VARVE_ERROR_NOT_FOUND, "'q'");

    OK(varve_engine_create_pool(f->engine, "q", "native", NULL, &error));
    VarvePool *q = varve_engine_get_pool(f->engine, "q", NULL);
    OK(PREPARE("same", ""));
    OK(varve_snapshot_prepare(q, "same", "", NULL, NULL, &error));
    REFUSED(varve_engine_remove_pool(f->engine, "q", &error), VARVE_ERROR_FAILED_PRECONDITION,
            "1 snapshots");
    OK(varve_snapshot_remove(q, "same", &error));
    OK(varve_engine_remove_pool(f->engine, "q", &error));
    g_autofree char *path = g_build_filename(f->dir, "pools", "q", NULL);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    REFUSED(varve_snapshot_prepare(q, "late", "", NULL, NULL, &error), VARVE_ERROR_NOT_FOUND,
            "removed");
    expect_label(f, "same", "x", NULL);
}

typedef struct {
    VarvePool *pool;
    gint committed;
} Race;

static gpointer
race_commit(gpointer data)
{
    Race *race = data;
    g_autoptr(GError) error = NULL;
    if (varve_snapshot_commit(race->pool, "winner", "racer", NULL, NULL, &error))
        g_atomic_int_inc(&race->committed);
    else
        g_assert_true(g_error_matches(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND) ||
                      g_error_matches(error, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS));
    return NULL;
}

static void
test_commit_race(Fixture *f, gconstpointer data)
{
    for (int round = 0; round < 20; round++) {
        Race race = {f->pool, 0};
        GThread *threads[8];
        OK(PREPARE("racer", ""));
        for (int i = 0; i < 8; i++)
            threads[i] = g_thread_new("race", race_commit, &race);
        for (int i = 0; i < 8; i++)
            g_thread_join(threads[i]);
        g_assert_cmpint(race.committed, ==, 1);
        OK(REMOVE("winner"));
    }
}

#define TEST(name, func)                                                                           \
    g_test_add("/lifecycle/" name, Fixture, NULL, engine_pool_set_up, func, engine_pool_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("refusals", test_refusals);
    TEST("key-sizes", test_key_sizes);
    TEST("labels", test_labels);
    TEST("info", test_info);
    TEST("walk", test_walk);
    TEST("cleanup", test_cleanup);
    TEST("lost-files", test_lost_files);
    TEST("pools", test_pools);
    TEST("commit-race", test_commit_race);
    return g_test_run();
}
