/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"
#include <string.h>

static gboolean
match(const char *const *filters, const VarveSnapshotInfo *info)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveFilter) filter = varve_filter_new(filters, &error);
    g_assert_no_error(error);
    return varve_filter_match(filter, info);
}

static void
test_match(void)
{
    static const struct {
        const char *filter;
        gboolean matches;
    } cases[] = {
        {"", TRUE},
        {"name==web", TRUE},
        {"name==we", FALSE},
        {"name!=web", FALSE},
        {"name", TRUE},
        {"nonsense", FALSE},
        {"nonsense!=x", TRUE},
        {"nonsense==\"\"", FALSE},
        {"parent==\"\"", TRUE},
        {"parent!=\"\"", FALSE},
        {"kind==active", TRUE},
        {"kind==Active", FALSE},
        {"kind~=^act", TRUE},
        {"name~=/^w.b$/", TRUE},
        {"name~=|e|", TRUE},
        {"name~=zz", FALSE},
        {"nonsense~=^$", TRUE},
        {"labels.plain==1", TRUE},
        {"labels.\"a/b.c\"==\"x y\"", TRUE},
        {"labels.\"a/b\".c==\"x y\"", TRUE},
        {"labels.absent", FALSE},
        {"labels.absent!=1", TRUE},
        {"labels.absent!=\"\"", FALSE},
        {"labels.plain,kind==active", TRUE},
        {"labels.plain,kind==view", FALSE},
        {"name == web", TRUE},
        {"labels.tab==\"\\t\\x41\\u00e4\\101\"", TRUE},
    };
    g_autoptr(GHashTable) labels = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(labels, (char *)"plain", (char *)"1");
    g_hash_table_insert(labels, (char *)"a/b.c", (char *)"x y");
    g_hash_table_insert(labels, (char *)"tab",
                        (char *)"\tA\xc3\xa4"
                                "A");
    VarveSnapshotInfo info = {
        .name = (char *)"web", .parent = (char *)"", .kind = VARVE_KIND_ACTIVE, .labels = labels};
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *filters[] = {cases[i].filter, NULL};
        if (match(filters, &info) != cases[i].matches)
            g_error("filter %s: expected %d", cases[i].filter, cases[i].matches);
    }
    const char *either[] = {"name==other", "kind==active", NULL};
    g_assert_true(match(either, &info));
    const char *neither[] = {"name==other", "kind==view", NULL};
    g_assert_false(match(neither, &info));
    g_assert_true(match(NULL, &info));
}

static void
test_refused(void)
{
    static const char *const bad[] = {
        "==x",       "name=x",          "name===x",      "name==",      "name==x,",
        ",name",     "name==\"open",    "name==\"\\q\"", "name~=/open", "name~=(",
        "name==/x/", "labels.",         "name x",        "name==x y",   "name==\"\\x4\"",
        "na-me==x",  "name==\"\\400\"", "name==\xff",    "name==.x",    "name==\"\xff\"",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        const char *filters[] = {bad[i], NULL};
        g_autoptr(VarveFilter) filter = varve_filter_new(filters, &error);
        if (filter != NULL)
            g_error("filter %s was taken", bad[i]);
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
        g_assert_nonnull(strstr(error->message, "at byte"));
    }
}

static void
test_required(void)
{
    const char *one[] = {"kind==active,parent==\"p q\"", NULL};
    g_autoptr(VarveFilter) filter = varve_filter_new(one, NULL);
    g_assert_cmpstr(varve_filter_required(filter, "parent"), ==, "p q");
    g_assert_null(varve_filter_required(filter, "name"));
    const char *two[] = {"parent==p", "parent==q", NULL};
    g_autoptr(VarveFilter) either = varve_filter_new(two, NULL);
    g_assert_null(varve_filter_required(either, "parent"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/filter/match", test_match);
    g_test_add_func("/filter/refused", test_refused);
    g_test_add_func("/filter/required", test_required);
    return g_test_run();
}
