/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/made.h"
#include "scratch.h"
#include <string.h>
#include <unistd.h>

/* The set of hashes that may be larger than memory: what it has is asked for in all its states,
 * with nothing on disk, with whole runs on disk, and with some in memory besides. */

#define RUN 65536 /* hashes that it keeps in memory at most: 128 pages of 512 */

/* Spread over all numbers, each one once: an odd factor has an inverse modulo 2^64. */
static gsize
hash_of(gsize i)
{
    return i * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
}

static void
add(VarveMade *made, gsize hash)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(varve_made_add(made, hash, &error));
    g_assert_no_error(error);
}

static gboolean
has(VarveMade *made, gsize hash)
{
    g_autoptr(GError) error = NULL;
    gboolean found = 7;
    g_assert_true(varve_made_has(made, hash, &found, &error));
    g_assert_no_error(error);
    g_assert_true(found == TRUE || found == FALSE);
    return found;
}

static guint
open_files(void)
{
    guint n = 0;
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    while (g_dir_read_name(dir) != NULL)
        n++;
    return n;
}

static void
test_empty(void)
{
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    g_autoptr(VarveMade) made = varve_made_new(scratch->fd);
    g_assert_false(has(made, 0));
    g_assert_false(has(made, 1));
    g_assert_false(has(made, G_MAXSIZE));
}

/* However many are added, all are found, and nothing else is. Around the lengths where it changes
 * its state, and between runs. */
static void
test_all_are_found(void)
{
    static const gsize counts[] = {1, 511, RUN - 1, RUN, RUN + 1, 2 * RUN, 3 * RUN + 77};
    for (gsize c = 0; c < G_N_ELEMENTS(counts); c++) {
        g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
        g_autoptr(VarveMade) made = varve_made_new(scratch->fd);
        for (gsize i = 0; i < counts[c]; i++)
            add(made, hash_of(i));
        for (gsize i = 0; i < counts[c]; i++)
            g_assert_true(has(made, hash_of(i)));
        for (gsize i = counts[c]; i < counts[c] + 1000; i++)
            g_assert_false(has(made, hash_of(i)));
    }
}

/* Pages are found by their first hash: those at the ends of pages and of the whole are hard. */
static void
test_ends(void)
{
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    g_autoptr(VarveMade) made = varve_made_new(scratch->fd);
    for (gsize i = 0; i < RUN - 1; i++) /* 10, 20, 30, … */
        add(made, (i + 1) * 10);
    add(made, G_MAXSIZE);
    for (gsize i = 0; i < RUN - 1; i++) {
        g_assert_true(has(made, (i + 1) * 10));
        g_assert_false(has(made, (i + 1) * 10 - 1));
        g_assert_false(has(made, (i + 1) * 10 + 1));
    }
    g_assert_false(has(made, 0));
    g_assert_true(has(made, G_MAXSIZE));
    g_assert_false(has(made, G_MAXSIZE - 1));
}

/* What is there already takes no more room: a run has different hashes, so adding the same ones
 * again and again needs no file. */
static void
test_twice(void)
{
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    g_autoptr(VarveMade) made = varve_made_new(scratch->fd);
    guint before = open_files();
    for (gsize i = 0; i < 4 * (gsize)RUN; i++)
        add(made, hash_of(i % 1000));
    g_assert_cmpuint(open_files(), ==, before);
    g_assert_true(has(made, hash_of(999)));
    g_assert_false(has(made, hash_of(1000)));
}

/* The file has no name, one descriptor whatever it has, and is gone with the set. */
static void
test_leaves_nothing(void)
{
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    guint before = open_files();
    VarveMade *made = varve_made_new(scratch->fd);
    for (gsize i = 0; i < 3 * (gsize)RUN; i++)
        add(made, hash_of(i));
    g_assert_cmpuint(open_files(), ==, before + 1);
    g_autofree char *listing = g_strdup_printf("ls -A '%s'", scratch->path);
    g_autofree char *names = scratch_run(listing);
    g_assert_cmpstr(names, ==, "");
    varve_made_free(made);
    g_assert_cmpuint(open_files(), ==, before);
    varve_made_free(NULL);
}

/* On a full disk adding says so; what is in memory is still found. */
static void
test_full_disk(void)
{
    g_autoptr(Scratch) scratch = scratch_new("tmpfs", 256 << 10);
    if (scratch == NULL)
        return;
    g_autoptr(VarveMade) made = varve_made_new(scratch->fd);
    g_autoptr(GError) error = NULL;
    gsize i = 0;
    while (i < 2 * (gsize)RUN && varve_made_add(made, hash_of(i), &error))
        i++;
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
    g_assert_nonnull(strstr(error->message, "writing down what the layer made"));
    g_assert_cmpuint(i, ==, RUN - 1);
    g_assert_true(has(made, hash_of(0)));
    g_assert_true(has(made, hash_of(i)));
}

/* A file that was cut off is an error, not an answer. */
static void
test_cut_off(void)
{
    g_autoptr(Scratch) scratch = scratch_new(NULL, 0);
    g_autoptr(VarveMade) made = varve_made_new(scratch->fd);
    g_autoptr(GError) error = NULL;
    int next = dup(scratch->fd); /* the number that its file will have */
    g_assert_cmpint(next, >=, 0);
    close(next);
    gboolean found;
    for (gsize i = 0; i < RUN; i++)
        add(made, hash_of(i));
    g_assert_no_errno(ftruncate(next, 0));
    g_assert_false(varve_made_has(made, hash_of(1), &found, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INTERNAL);
}

int
main(int argc, char **argv)
{
    scratch_init();
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/made/empty", test_empty);
    g_test_add_func("/made/all-are-found", test_all_are_found);
    g_test_add_func("/made/ends", test_ends);
    g_test_add_func("/made/twice", test_twice);
    g_test_add_func("/made/leaves-nothing", test_leaves_nothing);
    g_test_add_func("/made/full-disk", test_full_disk);
    g_test_add_func("/made/cut-off", test_cut_off);
    return g_test_run();
}
