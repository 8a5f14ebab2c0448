/* SPDX-License-Identifier: Apache-2.0 */
/* Who reads a blob behind the fetch that writes it. */
#include "image/arrival.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DIGEST "sha256:0000000000000000000000000000000000000000000000000000000000000000"

typedef struct {
    VarveArrivals *arrivals;
    VarveArrival *arrival;
    int file;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
    f->arrivals = varve_arrivals_new();
    varve_arrivals_add(f->arrivals, DIGEST);
    f->arrival = varve_arrivals_find(f->arrivals, DIGEST);
    f->file = memfd_create("blob", MFD_CLOEXEC);
    g_assert_cmpint(f->file, >=, 0);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    varve_arrivals_free(f->arrivals);
    close(f->file);
}

static void
put(const Fixture *f, const char *text)
{
    g_assert_cmpint(pwrite(f->file, text, strlen(text), 0), ==, (ssize_t)strlen(text));
}

static void
begin(const Fixture *f, const char *text)
{
    put(f, text);
    varve_arrival_begin(f->arrival, dup(f->file), strlen(text));
}

static void
open_reader(const Fixture *f, VarveArrivalReader *reader)
{
    GError *error = NULL;
    gboolean there;
    g_assert_true(varve_arrival_open(f->arrival, NULL, reader, &there, &error));
    g_assert_no_error(error);
    g_assert_false(there);
}

/* What a reader gets in one piece, "" at the end; or the code of its error. */
static char *
get(VarveArrivalReader *reader)
{
    g_autoptr(GError) error = NULL;
    char bytes[64] = "";
    VarveSource source = varve_arrival_source(reader);
    gssize n = source.read(source.data, bytes, sizeof bytes - 1, &error);
    return n < 0 ? g_strdup(varve_error_name(error)) : g_strndup(bytes, (gsize)n);
}

static void
assert_get(VarveArrivalReader *reader, const char *wanted)
{
    g_autofree char *text = get(reader);
    g_assert_cmpstr(text, ==, wanted);
}

static gpointer
write_rest(gpointer data)
{
    const Fixture *f = data;
    g_usleep(20000); /* so that the reader is likely to wait */
    put(f, "first second");
    varve_arrival_advance(f->arrival, 12);
    g_usleep(20000);
    varve_arrival_verify(f->arrival);
    varve_arrival_end(f->arrival, FALSE);
    return NULL;
}

static void
test_follow(Fixture *f, gconstpointer data)
{
    g_auto(VarveArrivalReader) reader = {0};
    begin(f, "first ");
    open_reader(f, &reader);
    assert_get(&reader, "first ");
    GThread *writer = g_thread_new("writer", write_rest, f);
    assert_get(&reader, "second");
    assert_get(&reader, "");
    g_thread_join(writer);
    assert_get(&reader, "");
}

/* The old reader never comes to an end, though the blob does. */
static void
test_begun_anew(Fixture *f, gconstpointer data)
{
    g_auto(VarveArrivalReader) old = {0}, new = {0};
    GError *error = NULL;
    gboolean again;
    begin(f, "wrong");
    open_reader(f, &old);
    assert_get(&old, "wrong");
    varve_arrival_restart(f->arrival);
    put(f, "right");
    varve_arrival_advance(f->arrival, 5);
    varve_arrival_verify(f->arrival);
    assert_get(&old, "corrupt");
    g_assert_true(varve_arrival_decide(&old, &again, &error));
    g_assert_no_error(error);
    g_assert_true(again);
    open_reader(f, &new);
    assert_get(&new, "right");
    assert_get(&new, "");
    g_assert_true(varve_arrival_decide(&new, &again, &error));
    g_assert_false(again);
}

static void
test_lost(Fixture *f, gconstpointer data)
{
    g_auto(VarveArrivalReader) reader = {0}, late = {0};
    g_autoptr(GError) error = NULL, refused = NULL;
    gboolean again, there;
    begin(f, "some");
    open_reader(f, &reader);
    varve_arrivals_end(f->arrivals);
    assert_get(&reader, "some");
    assert_get(&reader, "cancelled");
    g_assert_false(varve_arrival_decide(&reader, &again, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CANCELLED);
    g_assert_false(varve_arrival_open(f->arrival, NULL, &late, &there, &refused));
    g_assert_error(refused, VARVE_ERROR, VARVE_ERROR_CANCELLED);
}

static void
test_there(Fixture *f, gconstpointer data)
{
    g_auto(VarveArrivalReader) reader = {0};
    GError *error = NULL;
    gboolean there;
    varve_arrival_end(f->arrival, FALSE);
    g_assert_true(varve_arrival_open(f->arrival, NULL, &reader, &there, &error));
    g_assert_true(there);
}

static void
test_cancelled(Fixture *f, gconstpointer data)
{
    g_auto(VarveArrivalReader) reader = {0};
    g_autoptr(GError) error = NULL;
    gboolean there;
    gint cancelled = 1;
    g_assert_false(varve_arrival_open(f->arrival, &cancelled, &reader, &there, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CANCELLED);
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(Fixture *f, gconstpointer data);
    } tests[] = {{"/arrival/follow", test_follow},
                 {"/arrival/begun-anew", test_begun_anew},
                 {"/arrival/lost", test_lost},
                 {"/arrival/there", test_there},
                 {"/arrival/cancelled", test_cancelled}};
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].name, Fixture, NULL, set_up, tests[i].run, tear_down);
    return g_test_run();
}
