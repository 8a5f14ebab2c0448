/* SPDX-License-Identifier: Apache-2.0 */
/* Which manifests of an index a pull fetches. */
#include "image/platform.h"
#include "image/pull.h"
#include <string.h>

#define MOST 4

/* An index whose entries are for these platforms ("": it does not say), each named by its place. */
static VarveManifest *
index_of(const char *const *platforms)
{
    g_autoptr(GString) text = g_string_new("{\"schemaVersion\":2,\"manifests\":[");
    for (guint i = 0; platforms[i] != NULL; i++) {
        g_auto(GStrv) words = g_strsplit(platforms[i], "/", 3);
        g_string_append_printf(text,
                               "%s{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
                               "\"size\":1,\"digest\":\"sha256:%064u\"",
                               i > 0 ? "," : "", i);
        if (words[0] != NULL)
            g_string_append_printf(
                text, ",\"platform\":{\"os\":\"%s\",\"architecture\":\"%s\",\"variant\":\"%s\"}",
                words[0], words[1], words[2] != NULL ? words[2] : "");
        g_string_append_c(text, '}');
    }
    g_string_append(text, "],\"mediaType\":\"application/vnd.oci.image.index.v1+json\"}");
    GError *error = NULL;
    VarveManifest *index = varve_manifest_parse(text->str, text->len, NULL, &error);
    g_assert_no_error(error);
    return index;
}

/* The numbers of the entries that are wanted: "0 2"; or what is wrong. wanted NULL: none given. */
static char *
choose(const char *const *offered, const char *const *wanted)
{
    g_autoptr(VarveManifest) index = index_of(offered);
    g_autoptr(GHashTable) unwanted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) platforms =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_platform_free);
    g_autoptr(GError) error = NULL;
    for (guint i = 0; wanted != NULL && wanted[i] != NULL; i++)
        g_ptr_array_add(platforms, varve_platform_parse(wanted[i], NULL));
    g_ptr_array_add(platforms, NULL);
    const VarvePlatform *const *given = (const VarvePlatform *const *)platforms->pdata;
    if (!varve_pull_choose(index, wanted != NULL ? given : NULL, unwanted, &error)) {
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
        return g_strdup(error->message);
    }
    GString *numbers = g_string_new(NULL);
    for (guint i = 0; i < index->blobs->len; i++) {
        const VarveDescriptor *entry = g_ptr_array_index(index->blobs, i);
        if (!g_hash_table_contains(unwanted, entry->digest))
            g_string_append_printf(numbers, "%s%u", numbers->len > 0 ? " " : "", i);
    }
    return g_string_free(numbers, FALSE);
}

static void
test_given(void)
{
    static const struct {
        const char *offered[MOST + 1], *wanted[MOST + 1], *result;
    } cases[] = {
        {{"linux/amd64", "linux/arm64"}, {"linux/arm64"}, "1"},
        {{"linux/amd64", "linux/arm64"}, {"arm64", "amd64"}, "0 1"},
        {{"linux/arm/v5", "linux/arm/v7", "linux/arm/v6"}, {"linux/arm/v7"}, "1"},
        {{"linux/arm/v5", "linux/arm/v6"}, {"linux/arm/v7"}, "1"},
        {{"linux/386", "linux/amd64"}, {"linux/amd64"}, "1"},
        {{"linux/386", "unknown/unknown"}, {"linux/amd64"}, "0"},
        {{"linux/arm/v6", ""}, {"linux/amd64"}, "1"},
        {{"linux/amd64", "linux/amd64"}, {"linux/amd64"}, "0"},
        {{"linux/amd64", "windows/amd64"},
         {"arm64"},
         "it is not for linux/arm64, only for linux/amd64, windows/amd64"},
        {{"linux/amd64", "linux/arm64"},
         {"amd64", "s390x"},
         "it is not for linux/s390x, only for linux/amd64, linux/arm64"},
        {{"unknown/unknown"}, {"amd64"}, "it is not for linux/amd64, only for no platform"},
        {{NULL}, {"amd64"}, ""},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *result = choose(cases[i].offered, cases[i].wanted);
        g_assert_cmpstr(result, ==, cases[i].result);
    }
}

static void
test_not_given(void)
{
    g_autoptr(VarvePlatform) host = varve_platform_host();
    g_autofree char *here = varve_platform_format(host);
    const char *with[] = {"plan9/mips", here, "unknown/unknown", NULL};
    const char *const single[] = {"plan9/mips", "unknown/unknown", NULL};
    const char *const several[] = {"plan9/mips", "plan9/386", NULL};
    const char *const silent[] = {"", "", NULL};
    g_autofree char *mine = choose(with, NULL);
    g_autofree char *only = choose(single, NULL);
    g_autofree char *none = choose(several, NULL);
    g_autofree char *all = choose(silent, NULL);
    g_assert_cmpstr(mine, ==, "1");
    g_assert_cmpstr(only, ==, "0");
    g_assert_true(g_str_has_suffix(none, ", only for plan9/mips, plan9/386"));
    g_assert_cmpstr(all, ==, "0 1");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pull-platforms/given", test_given);
    g_test_add_func("/pull-platforms/not-given", test_not_given);
    return g_test_run();
}
