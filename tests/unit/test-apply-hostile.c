/* SPDX-License-Identifier: Apache-2.0 */
#include "layer-scratch.h"
#include "tar-build.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Ways out of the root, and other attacks, that other engines had to repair: row L8 of the
 * specification. What is outside is compared at the end of each (layer_scratch_free); the checks
 * here say what becomes of the layer. Each runs with both kinds of whiteouts, where it makes a
 * difference.
 */

typedef struct {
    const char *name;
    /* Builds the layer. */
    void (*build)(GByteArray *tar, const char *outside);
    const char *error; /* a part of the message; NULL: it is applied */
    const char *path;  /* what is there then, in the root, and its content */
    const char *content;
} Case;

/* --- names ----------------------------------------------------------------------------------- */

static void
dot_dot(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "../outside/victim", .content = "changed"});
}

static void
dot_dot_inside(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "a/../../outside/victim", .content = "changed"});
}

static void
dot_dot_last(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "a/..", .type = '5', .mode = 0777});
}

static void
dot_dot_in_long_name(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "././@LongLink", .type = 'L', .content = "../outside/victim"});
    tar_add(tar, (TarFile){.name = "short", .content = "changed"});
}

static void
dot_dot_in_pax(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "short",
                           .content = "changed",
                           .pax = tar_pax("path", "../outside/victim")});
}

/* The map of a sparse file takes whole blocks. */
static char *
map_block(const char *map)
{
    g_autofree char *rest = g_strnfill(512 - strlen(map), ' ');
    return g_strconcat(map, rest, NULL);
}

static void
dot_dot_in_sparse_name(GByteArray *tar, const char *outside)
{
    GString *pax = tar_pax("GNU.sparse.major", "1");
    tar_record(pax, "GNU.sparse.minor", "0", -1);
    tar_record(pax, "GNU.sparse.name", "../outside/victim", -1);
    tar_record(pax, "GNU.sparse.realsize", "0", -1);
    g_autofree char *map = map_block("0\n");
    tar_add(tar, (TarFile){.name = "short", .content = map, .pax = pax});
}

static void
absolute(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "////etc/passwd", .content = "inside"});
}

static void
root_is_link(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = ".", .type = '2', .target = outside});
    tar_add(tar, (TarFile){.name = "victim", .content = "changed"});
}

static void
root_is_link_by_slash(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "/", .type = '2', .target = outside});
}

/* --- symbolic links -------------------------------------------------------------------------- */

static void
link_then_file(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "etc/", .type = '5'});
    tar_add(tar, (TarFile){.name = "way", .type = '2', .target = "/etc"});
    tar_add(tar, (TarFile){.name = "way/file", .content = "inside"});
}

static void
link_out_absolute(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "way", .type = '2', .target = outside});
    tar_add(tar, (TarFile){.name = "way/victim", .content = "changed"});
}

static void
link_out_relative(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "way", .type = '2', .target = "../outside"});
    tar_add(tar, (TarFile){.name = "way/victim", .content = "inside"});
}

static void
link_chain(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "subdir/", .type = '5'});
    tar_add(tar, (TarFile){.name = "subdir/parent", .type = '2', .target = ".."});
    tar_add(tar, (TarFile){.name = "subdir/parent/escapes", .type = '2', .target = ".."});
    tar_add(tar, (TarFile){.name = "escapes/outside/victim", .content = "inside"});
}

static void
link_loop(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "a", .type = '2', .target = "b"});
    tar_add(tar, (TarFile){.name = "b", .type = '2', .target = "a"});
    tar_add(tar, (TarFile){.name = "a/file", .content = "x"});
}

static void
link_is_replaced(GByteArray *tar, const char *outside)
{
    g_autofree char *victim = g_build_filename(outside, "victim", NULL);
    tar_add(tar, (TarFile){.name = "file", .type = '2', .target = victim});
    tar_add(tar, (TarFile){.name = "file", .content = "inside"});
}

static void
magic_link(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "way", .type = '2', .target = "/proc/self/root"});
    g_autofree char *victim = g_strconcat("way", outside, "/victim", NULL);
    tar_add(tar, (TarFile){.name = victim, .content = "changed"});
    tar_add(tar, (TarFile){.name = "way/marker", .content = "inside"});
}

/* What is known of a directory must not outlive it. */
static void
directory_becomes_link(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "dir/", .type = '5'});
    tar_add(tar, (TarFile){.name = "dir/first", .content = "x"});
    tar_add(tar, (TarFile){.name = "dir", .type = '2', .target = outside});
    tar_add(tar, (TarFile){.name = "dir/victim", .content = "changed"});
}

static void
whiteout_then_link(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "dir/first", .content = "x"});
    tar_add(tar, (TarFile){.name = ".wh.dir"});
    tar_add(tar, (TarFile){.name = "dir", .type = '2', .target = outside});
    tar_add(tar, (TarFile){.name = "dir/victim", .content = "changed"});
}

/* Modes and times of directories come last; by then the name is another thing. */
static void
late_attributes(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "dir/", .type = '5', .mode = 06777, .mtime = 1});
    tar_add(tar, (TarFile){.name = "dir", .type = '2', .target = outside});
}

static void
late_attributes_above(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "a/dir/", .type = '5', .mode = 06777, .mtime = 1});
    tar_add(tar, (TarFile){.name = "a", .type = '2', .target = outside});
}

static void
xattr_of_link(GByteArray *tar, const char *outside)
{
    g_autofree char *victim = g_build_filename(outside, "victim", NULL);
    tar_add(tar, (TarFile){.name = "link",
                           .type = '2',
                           .target = victim,
                           .mode = 0777,
                           .uid = 7,
                           .mtime = 1,
                           .pax = tar_pax("SCHILY.xattr.trusted.mark", "x")});
}

/* --- hard links ------------------------------------------------------------------------------ */

static void
hard_link_out(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "link", .type = '1', .target = "../outside/victim"});
}

static void
hard_link_absolute(GByteArray *tar, const char *outside)
{
    g_autofree char *victim = g_build_filename(outside, "victim", NULL);
    tar_add(tar, (TarFile){.name = "link", .type = '1', .target = victim});
}

static void
hard_link_through_link(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "way", .type = '2', .target = outside});
    tar_add(tar, (TarFile){.name = "link", .type = '1', .target = "way/victim"});
}

/* The link itself is linked, and what follows replaces it. */
static void
hard_link_to_link(GByteArray *tar, const char *outside)
{
    g_autofree char *victim = g_build_filename(outside, "victim", NULL);
    tar_add(tar, (TarFile){.name = "soft", .type = '2', .target = victim});
    tar_add(tar, (TarFile){.name = "hard", .type = '1', .target = "soft", .mode = 0777});
    tar_add(tar, (TarFile){.name = "hard", .content = "inside"});
}

static void
hard_link_mode(GByteArray *tar, const char *outside)
{
    g_autofree char *victim = g_build_filename(outside, "victim", NULL);
    tar_add(tar, (TarFile){.name = "soft", .type = '2', .target = victim});
    tar_add(tar, (TarFile){.name = "hard", .type = '1', .target = "soft", .mode = 0777, .uid = 9});
}

static void
hard_link_with_content(GByteArray *tar, const char *outside)
{
    g_autofree char *victim = g_build_filename(outside, "victim", NULL);
    tar_add(tar, (TarFile){.name = "hard", .type = '1', .target = victim, .content = "changed"});
}

static void
hard_link_to_directory(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "dir/", .type = '5'});
    tar_add(tar, (TarFile){.name = "link", .type = '1', .target = "dir"});
}

static void
hard_link_missing(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "link", .type = '1', .target = "nothing"});
}

static void
hard_link_to_root(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "link", .type = '1', .target = "/"});
}

/* --- whiteouts ------------------------------------------------------------------------------- */

static void
whiteout_through_link(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "way", .type = '2', .target = outside});
    tar_add(tar, (TarFile){.name = "way/.wh.victim"});
    tar_add(tar, (TarFile){.name = "way/.wh..wh..opq"});
    tar_add(tar, (TarFile){.name = "after", .content = "inside"});
}

static void
whiteout_of_parent(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "dir/.wh..."});
}

static void
whiteout_of_itself(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "dir/.wh.."});
}

static void
whiteout_of_nothing(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "dir/.wh."});
}

static void
whiteout_with_dot_dot(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "../outside/.wh.victim"});
}

/* --- headers --------------------------------------------------------------------------------- */

/* A reader that takes the header's size where pax has another sees the second archive. */
static void
two_sizes(GByteArray *tar, const char *outside)
{
    g_autoptr(GByteArray) inner = g_byte_array_new();
    tar_add(inner, (TarFile){.name = "smuggled", .content = "x"});
    g_autofree char *size = g_strdup_printf("%u", inner->len);
    tar_add(tar, (TarFile){.name = "outer", .pax = tar_pax("size", size)});
    g_byte_array_append(tar, inner->data, inner->len);
    tar_add(tar, (TarFile){.name = "after", .content = "inside"});
}

static void
huge_pax(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "pax", .type = 'x', .size = "77777777777"});
}

static void
huge_long_name(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "././@LongLink", .type = 'L', .size = "00010000000"});
}

static void
many_segments(GByteArray *tar, const char *outside)
{
    GString *pax = tar_pax("GNU.sparse.major", "1");
    tar_record(pax, "GNU.sparse.minor", "0", -1);
    tar_record(pax, "GNU.sparse.name", "file", -1);
    tar_record(pax, "GNU.sparse.realsize", "1000", -1);
    g_autofree char *map = map_block("99999999\n0\n1\n");
    tar_add(tar, (TarFile){.name = "short", .content = map, .pax = pax});
}

static void
huge_sparse(GByteArray *tar, const char *outside)
{
    GString *pax = tar_pax("GNU.sparse.size", "9223372036854775000");
    tar_record(pax, "GNU.sparse.map", "9223372036854774000,1", -1);
    tar_add(tar, (TarFile){.name = "file", .content = "x", .pax = pax});
}

static void
segments_overlap(GByteArray *tar, const char *outside)
{
    GString *pax = tar_pax("GNU.sparse.size", "100");
    tar_record(pax, "GNU.sparse.map", "10,2,5,2", -1);
    tar_add(tar, (TarFile){.name = "file", .content = "xxxx", .pax = pax});
}

static void
no_owner(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "file", .pax = tar_pax("uid", "4294967295")});
}

static void
negative_owner(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "file", .raw_uid = "\377\377\377\377\377\377\377\376"});
}

static void
negative_size(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "file", .size = "-0000000001"});
}

static void
long_component(GByteArray *tar, const char *outside)
{
    g_autofree char *name = g_strnfill(256, 'x');
    tar_add(tar, (TarFile){.name = "file", .pax = tar_pax("path", name)});
}

static void
long_path(GByteArray *tar, const char *outside)
{
    GString *path = g_string_new(NULL);
    for (int i = 0; i < 2049; i++)
        g_string_append(path, "x/");
    tar_add(tar, (TarFile){.name = "file", .pax = tar_pax("path", path->str)});
    g_string_free(path, TRUE);
}

static void
path_with_nul(GByteArray *tar, const char *outside)
{
    GString *pax = g_string_new(NULL);
    tar_record(pax, "path", "a\0b", 3);
    tar_add(tar, (TarFile){.name = "file", .pax = pax});
}

static void
long_target(GByteArray *tar, const char *outside)
{
    g_autofree char *target = g_strnfill(4096, 'x');
    tar_add(tar, (TarFile){.name = "link", .type = '2', .pax = tar_pax("linkpath", target)});
}

static void
deep(GByteArray *tar, const char *outside)
{
    GString *path = g_string_new(NULL);
    for (int i = 0; i < 1000; i++)
        g_string_append(path, "d/");
    g_string_append(path, "file");
    tar_add(tar, (TarFile){.name = "x", .content = "inside", .pax = tar_pax("path", path->str)});
    tar_add(tar, (TarFile){.name = "after", .content = "inside"});
    g_string_free(path, TRUE);
}

static void
below_file(GByteArray *tar, const char *outside)
{
    tar_add(tar, (TarFile){.name = "file", .content = "x"});
    tar_add(tar, (TarFile){.name = "file/below", .content = "x"});
}

static const Case cases[] = {
    {"CVE-2001-1267-dot-dot", dot_dot, "\"..\""},
    {"CVE-2002-0399-dot-dot-inside", dot_dot_inside, "\"..\""},
    {"CVE-2016-6321-dot-dot-last", dot_dot_last, "\"..\""},
    {"CVE-2007-4131-dot-dot-long-name", dot_dot_in_long_name, "\"..\""},
    {"CVE-2014-9356-dot-dot-pax", dot_dot_in_pax, "\"..\""},
    {"dot-dot-sparse-name", dot_dot_in_sparse_name, "\"..\""},
    {"CVE-2021-32804-absolute", absolute, NULL, "etc/passwd", "inside"},
    {"CVE-2021-29136-root-is-link", root_is_link, "the root is no directory"},
    {"CVE-2021-29136-root-is-link-by-slash", root_is_link_by_slash, "the root is no directory"},
    {"CVE-2014-6407-link-then-file", link_then_file, NULL, "etc/file", "inside"},
    {"CVE-2014-9356-link-out-absolute", link_out_absolute, NULL, "victim-below", "changed"},
    {"CVE-2018-15664-link-out-relative", link_out_relative, NULL, "outside/victim", "inside"},
    {"CVE-2020-27833-link-chain", link_chain, NULL, "outside/victim", "inside"},
    {"link-loop", link_loop, "symbolic links"},
    {"CVE-2014-6407-link-is-replaced", link_is_replaced, NULL, "file", "inside"},
    {"magic-link", magic_link, NULL, "proc/self/root/marker", "inside"},
    {"CVE-2021-32803-directory-becomes-link", directory_becomes_link, NULL, "victim-below",
     "changed"},
    {"CVE-2021-37701-whiteout-then-link", whiteout_then_link, NULL, "victim-below", "changed"},
    {"CVE-2021-31566-late-attributes", late_attributes, NULL},
    {"CVE-2021-31566-late-attributes-above", late_attributes_above, NULL},
    {"CVE-2021-23177-xattr-of-link", xattr_of_link, NULL},
    {"CVE-2014-6407-hard-link-out", hard_link_out, "\"..\""},
    {"CVE-2018-20990-hard-link-absolute", hard_link_absolute, "No such file"},
    {"CVE-2014-6407-hard-link-through-link", hard_link_through_link, "No such file"},
    {"CVE-2014-6407-hard-link-to-link", hard_link_to_link, NULL, "hard", "inside"},
    {"CVE-2021-32760-hard-link-mode", hard_link_mode, NULL},
    {"CVE-2016-5418-hard-link-with-content", hard_link_with_content, "No such file"},
    {"hard-link-to-directory", hard_link_to_directory, "directory"},
    {"hard-link-missing", hard_link_missing, "hard link to 'nothing'"},
    {"hard-link-to-root", hard_link_to_root, "No such file"},
    {"whiteout-through-link", whiteout_through_link, NULL, "after", "inside"},
    {"whiteout-of-parent", whiteout_of_parent, "whiteout of '..'"},
    {"whiteout-of-itself", whiteout_of_itself, "whiteout of '.'"},
    {"whiteout-of-nothing", whiteout_of_nothing, "whiteout of ''"},
    {"whiteout-with-dot-dot", whiteout_with_dot_dot, "\"..\""},
    {"CVE-2025-62518-two-sizes", two_sizes, NULL, "after", "inside"},
    {"CVE-2022-2879-huge-pax", huge_pax, "not accepted"},
    {"CVE-2022-2879-huge-long-name", huge_long_name, "not accepted"},
    {"CVE-2025-58183-many-segments", many_segments, "sparse"},
    {"huge-sparse", huge_sparse, "too large"},
    {"segments-overlap", segments_overlap, "sparse"},
    {"no-owner", no_owner, "uid"},
    {"negative-owner", negative_owner, "out of range"},
    {"negative-size", negative_size, "no number"},
    {"long-component", long_component, "255 bytes"},
    {"long-path", long_path, "4095 bytes"},
    {"path-with-nul", path_with_nul, "path"},
    {"long-target", long_target, "target"},
    {"deep", deep, NULL, "after", "inside"},
    {"below-file", below_file, "no directory"},
};

static void
check_result(LayerScratch *layers, const Case *test)
{
    if (test->path == NULL)
        return;
    g_autofree char *below = g_strconcat(layers->outside_path + 1, "/victim", NULL);
    gboolean is_below = g_str_equal(test->path, "victim-below");
    layer_assert_file(layers, is_below ? below : test->path, test->content);
}

static void
run_case(const Case *test, VarveWhiteouts whiteouts, gboolean fresh)
{
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    layers->target.whiteouts = whiteouts;
    layers->target.fresh = fresh;
    GByteArray *tar = g_byte_array_new();
    test->build(tar, layers->outside_path);
    tar_end(tar);
    if (test->error != NULL) {
        layer_apply_fails(layers, tar, test->error);
        return;
    }
    layer_apply_ok(layers, tar);
    check_result(layers, test);
}

static void
test_case(gconstpointer data)
{
    if (!scratch_need_root())
        return;
    run_case(data, VARVE_WHITEOUTS_REMOVE, TRUE);
    run_case(data, VARVE_WHITEOUTS_REMOVE, FALSE);
    run_case(data, VARVE_WHITEOUTS_OVERLAY, TRUE);
}

/* --- overlayfs's marks ----------------------------------------------------------------------- */

static void
test_fake_whiteout(void)
{
    if (!scratch_need_root())
        return;
    g_autoptr(LayerScratch) layers = layer_scratch_new();
    layers->target.whiteouts = VARVE_WHITEOUTS_OVERLAY;
    GByteArray *tar = g_byte_array_new();
    tar_add(tar, (TarFile){.name = "null", .type = '3', .major = 0, .minor = 0});
    tar_end(tar);
    layer_apply_fails(layers, tar, "0:0");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strconcat("/apply/hostile/", cases[i].name, NULL);
        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_func("/apply/hostile/fake-whiteout", test_fake_whiteout);
    return g_test_run();
}
