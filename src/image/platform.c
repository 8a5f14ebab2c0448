/* SPDX-License-Identifier: Apache-2.0 */
#include "image/platform.h"
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#define MAX_PLATFORM 255 /* bytes of one as text */

/* Other words for an architecture; a NULL variant keeps the one that was given. */
static const struct {
    const char *word, *architecture, *variant;
} aliases[] = {
    {"i386", "386", ""},       {"i686", "386", ""},        {"x86_64", "amd64", NULL},
    {"x86-64", "amd64", NULL}, {"aarch64", "arm64", NULL}, {"armhf", "arm", "v7"},
    {"armel", "arm", "v6"},    {"armv7l", "arm", "v7"},    {"armv6l", "arm", "v6"},
};

/* Variants that are said in other words, or need not be said. */
static const struct {
    const char *architecture, *variant, *normal;
} variants[] = {
    {"amd64", "v1", ""}, {"arm64", "8", ""}, {"arm64", "v8", ""}, {"arm", "", "v7"},
    {"arm", "7", "v7"},  {"arm", "5", "v5"}, {"arm", "6", "v6"},  {"arm", "8", "v8"},
};

static void
normalize_architecture(char **architecture, char **variant)
{
    for (gsize i = 0; i < G_N_ELEMENTS(aliases); i++) {
        if (!g_str_equal(*architecture, aliases[i].word))
            continue;
        g_free(*architecture);
        *architecture = g_strdup(aliases[i].architecture);
        if (aliases[i].variant != NULL) {
            g_free(*variant);
            *variant = g_strdup(aliases[i].variant);
        }
        break;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(variants); i++) {
        if (g_str_equal(*architecture, variants[i].architecture) &&
            g_str_equal(*variant, variants[i].variant)) {
            g_free(*variant);
            *variant = g_strdup(variants[i].normal);
            break;
        }
    }
}

VarvePlatform *
varve_platform_new(const char *os, const char *architecture, const char *variant,
                   const char *os_version)
{
    VarvePlatform *platform = g_new0(VarvePlatform, 1);
    platform->os = g_ascii_strdown(os != NULL ? os : "", -1);
    platform->architecture = g_ascii_strdown(architecture != NULL ? architecture : "", -1);
    platform->variant = g_ascii_strdown(variant != NULL ? variant : "", -1);
    platform->os_version = g_strdup(os_version != NULL ? os_version : "");
    if (g_str_equal(platform->os, "macos")) {
        g_free(platform->os);
        platform->os = g_strdup("darwin");
    }
    normalize_architecture(&platform->architecture, &platform->variant);
    return platform;
}

VarvePlatform *
varve_platform_copy(const VarvePlatform *platform)
{
    return varve_platform_new(platform->os, platform->architecture, platform->variant,
                              platform->os_version);
}

void
varve_platform_clear(VarvePlatform *platform)
{
    g_clear_pointer(&platform->os, g_free);
    g_clear_pointer(&platform->architecture, g_free);
    g_clear_pointer(&platform->variant, g_free);
    g_clear_pointer(&platform->os_version, g_free);
}

void
varve_platform_free(VarvePlatform *platform)
{
    if (platform == NULL)
        return;
    varve_platform_clear(platform);
    g_free(platform);
}

VarvePlatform *
varve_platform_host(void)
{
    struct utsname name;
    if (uname(&name) < 0)
        return varve_platform_new("linux", "unknown", NULL, NULL);
    return varve_platform_new("linux", name.machine, NULL, NULL);
}

/* --- as text ---------------------------------------------------------------------------------- */

static gboolean
is_word(const char *text)
{
    return *text != '\0' && text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                              "0123456789_-.")] == '\0';
}

static gboolean
is_os(const char *word)
{
    static const char *const systems[] = {"linux",   "windows", "darwin",  "macos", "freebsd",
                                          "netbsd",  "openbsd", "solaris", "plan9", "illumos",
                                          "android", "wasip1",  NULL};
    return g_strv_contains(systems, word);
}

VarvePlatform *
varve_platform_parse(const char *text, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(strlen(text) <= MAX_PLATFORM ? text : "", "/", 4);
    guint n = g_strv_length(parts);
    gboolean good = n >= 1 && n <= 3;
    for (guint i = 0; i < n; i++)
        good = good && is_word(parts[i]);
    g_autofree char *first = good ? g_ascii_strdown(parts[0], -1) : NULL;
    if (!good || (n == 1 && is_os(first))) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                        "'%.60s' is no platform: it is said as linux/amd64 or linux/arm/v7", text);
        return NULL;
    }
    if (n == 1)
        return varve_platform_new("linux", parts[0], NULL, NULL);
    return varve_platform_new(parts[0], parts[1], parts[2], NULL);
}

char *
varve_platform_format(const VarvePlatform *platform)
{
    return g_strconcat(*platform->os != '\0' ? platform->os : "unknown", "/",
                       *platform->architecture != '\0' ? platform->architecture : "unknown",
                       *platform->variant != '\0' ? "/" : "", platform->variant, NULL);
}

/* --- comparing -------------------------------------------------------------------------------- */

/* The number of "v7"; 0 for anything else. */
static guint
variant_number(const char *variant)
{
    return variant[0] == 'v' && g_ascii_isdigit(variant[1]) && variant[2] == '\0'
               ? (guint)(variant[1] - '0')
               : 0;
}

/* How far below wanted the variant is, of those that number upwards from least; G_MAXUINT: above,
 * or another kind of variant. */
static guint
variants_below(const char *wanted, const char *offered, guint least, guint normal)
{
    if (g_str_equal(wanted, offered))
        return 0;
    guint from = *wanted == '\0' ? normal : variant_number(wanted);
    guint to = *offered == '\0' ? normal : variant_number(offered);
    return to < least || to > from ? G_MAXUINT : from - to;
}

guint
varve_platform_rank(const VarvePlatform *wanted, const VarvePlatform *offered)
{
    const char *mine = wanted->architecture, *its = offered->architecture;
    if (!g_str_equal(wanted->os, offered->os) ||
        (*wanted->os_version != '\0' && *offered->os_version != '\0' &&
         !g_str_equal(wanted->os_version, offered->os_version)))
        return G_MAXUINT;
    if (g_str_equal(mine, "amd64") && g_str_equal(its, "amd64"))
        return variants_below(wanted->variant, offered->variant, 1, 1);
    if (g_str_equal(mine, "amd64") && g_str_equal(its, "386"))
        return 100;
    if (g_str_equal(mine, "arm") && g_str_equal(its, "arm"))
        return variants_below(wanted->variant, offered->variant, 5, 7);
    if (g_str_equal(mine, "arm64") && g_str_equal(its, "arm")) {
        const char *variant = *wanted->variant != '\0' ? wanted->variant : "v8";
        guint below = variants_below(variant, offered->variant, 5, 7);
        return below == G_MAXUINT ? below : 100 + below;
    }
    if (!g_str_equal(mine, its))
        return G_MAXUINT;
    return g_str_equal(wanted->variant, offered->variant) ? 0 : G_MAXUINT;
}
