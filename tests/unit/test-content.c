/* SPDX-License-Identifier: Apache-2.0 */
/* The content store: blobs that are verified, resumed, shared, held and collected. SPEC row L7. */
#include "base/digest.h"
#include "base/fd.h"
#include "base/listing.h"
#include "image/content.h"
#include "scratch.h"
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((gsize)1 << 20)

typedef struct {
    char *dir;
    int fd;
    VarveContentStore *content;
    VarveLease *lease;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    f->dir = g_dir_make_tmp("varve-content-XXXXXX", NULL);
    f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->content = varve_content_store_open(f->fd, &error);
    g_assert_no_error(error);
    f->lease = varve_lease_new(f->content, &error);
    g_assert_no_error(error);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    varve_lease_free(f->lease);
    varve_content_store_close(f->content);
    close(f->fd);
    varve_tree_remove(AT_FDCWD, f->dir, NULL, &error);
    g_assert_no_error(error);
    g_free(f->dir);
}

/* Bytes that are not the same anywhere. */
static char *
make_bytes(gsize size, guint32 seed)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    char *bytes = g_malloc(size + 4);
    for (gsize i = 0; i < size; i += 4) {
        guint32 word = g_rand_int(rand);
        memcpy(bytes + i, &word, 4);
    }
    return bytes;
}

static gsize
count_files(Fixture *f, const char *dir)
{
    g_autofree char *path = g_build_filename(f->dir, "content", dir, NULL);
    varve_autofd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    g_autoptr(VarveListing) listing = varve_listing_read(fd);
    return varve_listing_length(listing);
}

static gboolean
is_here(Fixture *f, const char *digest)
{
    gboolean found;
    g_autoptr(GError) error = NULL;
    varve_content_find(f->content, digest, &found, NULL, &error);
    g_assert_no_error(error);
    return found;
}

static VarveIngest *
begin(Fixture *f, const char *digest, gint64 size)
{
    VarveIngest *ingest;
    g_autoptr(GError) error = NULL;
    varve_ingest_begin(f->content, f->lease, digest, size, NULL, &ingest, &error);
    g_assert_no_error(error);
    return ingest;
}

static char *
store(Fixture *f, const char *bytes, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveIngest) ingest = begin(f, NULL, -1);
    char *digest = NULL;
    varve_ingest_write(ingest, bytes, size, &error);
    g_assert_no_error(error);
    varve_ingest_finish(ingest, &digest, NULL, &error);
    g_assert_no_error(error);
    return digest;
}

/* --- writing and reading ---------------------------------------------------------------------- */

static void
test_round_trip(Fixture *f, gconstpointer data)
{
    const gsize sizes[] = {0, 1, 4096, MIB - 1, MIB, MIB + 1, 5 * MIB + 17};
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *bytes = make_bytes(sizes[i], (guint32)i);
        g_autofree char *expected = varve_digest_of(bytes, sizes[i]);
        g_autofree char *digest = store(f, bytes, sizes[i]);
        g_assert_cmpstr(digest, ==, expected);
        gsize size;
        g_autofree char *read = varve_content_read(f->content, digest, 8 * MIB, &size, &error);
        g_assert_no_error(error);
        g_assert_cmpmem(read, size, bytes, sizes[i]);
        g_assert_null(begin(f, digest, (gint64)sizes[i])); /* nothing to do */
    }
    g_assert_cmpuint(count_files(f, "ingest"), ==, 0);
}

static void
test_pieces_of_any_size(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    gsize total = 3 * MIB + 5;
    g_autofree char *bytes = make_bytes(total, 7);
    g_autofree char *digest = varve_digest_of(bytes, total);
    g_autoptr(VarveIngest) ingest = begin(f, digest, (gint64)total);
    for (gsize done = 0, part = 1; done < total; done += part, part = part * 3 + 1) {
        part = MIN(part, total - done);
        g_assert_true(varve_ingest_write(ingest, bytes + done, part, NULL));
        g_assert_cmpuint(varve_ingest_offset(ingest), ==, done + part);
    }
    varve_ingest_finish(ingest, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(is_here(f, digest));
}

static void
test_private(Fixture *f, gconstpointer data)
{
    struct stat st;
    g_autofree char *digest = store(f, "x", 1);
    g_autofree char *path =
        g_build_filename(f->dir, "content/blobs/sha256", varve_digest_hex(digest), NULL);
    g_autofree char *dir = g_build_filename(f->dir, "content", NULL);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 0600);
    g_assert_cmpint(stat(dir, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 0700);
}

/* --- mismatches ------------------------------------------------------------------------------- */

static void
expect_corrupt(Fixture *f, const char *digest, gint64 size, const char *bytes, gsize length,
               const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveIngest) ingest = begin(f, digest, size);
    gboolean ok = varve_ingest_write(ingest, bytes, length, &error) &&
                  varve_ingest_finish(ingest, NULL, NULL, &error);
    g_assert_false(ok);
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
    g_assert_nonnull(strstr(error->message, message));
    g_clear_pointer(&ingest, varve_ingest_free);
    g_assert_cmpuint(count_files(f, "ingest"), ==, 0);
    g_assert_cmpuint(count_files(f, "blobs/sha256"), ==, 0);
}

static void
test_mismatch(Fixture *f, gconstpointer data)
{
    g_autofree char *digest = varve_digest_of("hello", 5);
    expect_corrupt(f, digest, 5, "hallo", 5, "its content has the digest sha256:");
    expect_corrupt(f, digest, -1, "hello!", 6, "its content has the digest sha256:");
    expect_corrupt(f, digest, 5, "hello!", 6, "longer than the 5 bytes");
    expect_corrupt(f, digest, 6, "hello", 5, "it has 5 bytes, not the 6");
}

static void
test_wrong_size_of_what_is_here(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    VarveIngest *ingest;
    g_autofree char *digest = store(f, "hello", 5);
    g_assert_false(varve_ingest_begin(f->content, f->lease, digest, 6, NULL, &ingest, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
    g_assert_null(ingest);
}

static void
test_bad_digests(Fixture *f, gconstpointer data)
{
    static const char *const bad[] = {
        "",
        "sha256:",
        "sha256:../../../../etc/passwd",
        "sha512:00",
        "SHA256:00",
        "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"};
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        gboolean found;
        VarveIngest *ingest;
        g_assert_false(varve_content_find(f->content, bad[i], &found, NULL, NULL));
        g_assert_cmpint(varve_content_open(f->content, bad[i], NULL, NULL), ==, -1);
        g_assert_false(varve_lease_hold(f->lease, bad[i], NULL));
        g_assert_false(varve_ingest_begin(f->content, f->lease, bad[i], -1, NULL, &ingest, NULL));
    }
}

static void
test_damaged_on_disk(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    gsize size;
    g_autofree char *digest = store(f, "hello", 5);
    g_autofree char *path =
        g_build_filename(f->dir, "content/blobs/sha256", varve_digest_hex(digest), NULL);
    g_assert_true(g_file_set_contents(path, "hallo", 5, NULL));
    g_assert_null(varve_content_read(f->content, digest, 100, &size, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
}

/* --- going on --------------------------------------------------------------------------------- */

static void
test_resume(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    gsize total = 3 * MIB;
    g_autofree char *bytes = make_bytes(total, 3);
    g_autofree char *digest = varve_digest_of(bytes, total);
    gsize done = 0;
    for (gsize part = MIB / 2 + 1; done + part < total; done += part) {
        g_autoptr(VarveIngest) ingest = begin(f, digest, (gint64)total);
        g_assert_cmpuint(varve_ingest_offset(ingest), ==, done);
        g_assert_true(varve_ingest_write(ingest, bytes + done, part, NULL));
    }
    g_autoptr(VarveIngest) last = begin(f, digest, (gint64)total);
    g_assert_cmpuint(varve_ingest_offset(last), ==, done);
    g_assert_true(varve_ingest_write(last, bytes + done, total - done, NULL));
    varve_ingest_finish(last, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(is_here(f, digest));
}

/* What another wrote wrongly is found out in the end, and not kept for the next attempt. */
static void
test_resume_of_garbage(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *digest = varve_digest_of("hello", 5);
    g_autofree char *path =
        g_build_filename(f->dir, "content/ingest", varve_digest_hex(digest), NULL);
    g_assert_true(g_file_set_contents(path, "ha", 2, NULL));
    VarveIngest *ingest = begin(f, digest, 5);
    g_assert_cmpuint(varve_ingest_offset(ingest), ==, 2);
    g_assert_true(varve_ingest_write(ingest, "llo", 3, NULL));
    g_assert_false(varve_ingest_finish(ingest, NULL, NULL, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
    varve_ingest_free(ingest);

    g_assert_true(g_file_set_contents(path, "much too long", -1, NULL));
    ingest = begin(f, digest, 5);
    g_assert_cmpuint(varve_ingest_offset(ingest), ==, 0);
    g_assert_true(varve_ingest_write(ingest, "hello", 5, NULL));
    g_assert_true(varve_ingest_finish(ingest, NULL, NULL, NULL));
    varve_ingest_free(ingest);
}

static void
test_restart(Fixture *f, gconstpointer data)
{
    g_autofree char *digest = varve_digest_of("hello", 5);
    g_autoptr(VarveIngest) ingest = begin(f, digest, 5);
    g_assert_true(varve_ingest_write(ingest, "hel", 3, NULL));
    g_assert_true(varve_ingest_restart(ingest, NULL));
    g_assert_true(varve_ingest_write(ingest, "hello", 5, NULL));
    g_assert_true(varve_ingest_finish(ingest, NULL, NULL, NULL));
}

/* --- several at once -------------------------------------------------------------------------- */

/* A process that is killed in the middle: the next one goes on with what it wrote. */
static void
test_killed_writer(Fixture *f, gconstpointer data)
{
    gsize total = 4 * MIB;
    int ready[2];
    g_autofree char *bytes = make_bytes(total, 9);
    g_autofree char *digest = varve_digest_of(bytes, total);
    g_assert_cmpint(pipe(ready), ==, 0);
    pid_t pid = fork();
    if (pid == 0) {
        VarveIngest *ingest = begin(f, digest, (gint64)total);
        varve_ingest_write(ingest, bytes, 2 * MIB, NULL);
        if (write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    char byte;
    g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
    kill(pid, SIGKILL);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    g_assert_false(is_here(f, digest));

    g_autoptr(VarveIngest) ingest = begin(f, digest, (gint64)total);
    g_assert_cmpuint(varve_ingest_offset(ingest), ==, 2 * MIB);
    g_assert_true(varve_ingest_write(ingest, bytes + 2 * MIB, 2 * MIB, NULL));
    g_assert_true(varve_ingest_finish(ingest, NULL, NULL, NULL));
    close(ready[0]);
    close(ready[1]);
}

typedef struct {
    Fixture *f;
    const char *digest, *bytes;
    gsize size;
    gint wrote;
} Race;

static gpointer
race(gpointer data)
{
    Race *r = data;
    g_autoptr(VarveIngest) ingest = begin(r->f, r->digest, (gint64)r->size);
    if (ingest == NULL)
        return NULL;
    g_assert_cmpuint(varve_ingest_offset(ingest), ==, 0);
    g_assert_true(varve_ingest_write(ingest, r->bytes, r->size, NULL));
    g_assert_true(varve_ingest_finish(ingest, NULL, NULL, NULL));
    g_atomic_int_inc(&r->wrote);
    return NULL;
}

/* Of many that write the same blob one does, and the others find it there. */
static void
test_same_blob_at_once(Fixture *f, gconstpointer data)
{
    GThread *threads[8];
    g_autofree char *bytes = make_bytes(2 * MIB, 11);
    g_autofree char *digest = varve_digest_of(bytes, 2 * MIB);
    Race r = {f, digest, bytes, 2 * MIB, 0};
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("race", race, &r);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    g_assert_cmpint(r.wrote, ==, 1);
    g_assert_true(is_here(f, digest));
}

static gpointer
cancel_soon(gpointer cancelled)
{
    g_usleep(20000);
    g_atomic_int_set((gint *)cancelled, 1);
    return NULL;
}

static void
test_cancel_while_waiting(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    gint cancelled = 0;
    VarveTreeWatch watch = {.cancelled = &cancelled};
    VarveIngest *second;
    g_autofree char *digest = varve_digest_of("hello", 5);
    g_autoptr(VarveIngest) first = begin(f, digest, 5);
    g_assert_nonnull(first);
    GThread *thread = g_thread_new("cancel", cancel_soon, &cancelled);
    g_assert_false(varve_ingest_begin(f->content, f->lease, digest, 5, &watch, &second, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CANCELLED);
    g_thread_join(thread);
}

/* --- collecting ------------------------------------------------------------------------------- */

/* What names lead to, in place of the store. */
typedef struct {
    GMutex lock;
    GHashTable *digests;
} Names;

static gboolean
mark(gpointer data, GHashTable *marked, GError **error)
{
    Names *names = data;
    GHashTableIter iter;
    gpointer digest;
    g_mutex_lock(&names->lock);
    g_hash_table_iter_init(&iter, names->digests);
    while (g_hash_table_iter_next(&iter, &digest, NULL))
        g_hash_table_add(marked, g_strdup(digest));
    g_mutex_unlock(&names->lock);
    return TRUE;
}

static VarveCollected
collect(Fixture *f, Names *names)
{
    VarveCollected collected = {0};
    g_autoptr(GError) error = NULL;
    varve_content_collect(f->content, NULL, mark, names, &collected, &error);
    g_assert_no_error(error);
    return collected;
}

static void
names_init(Names *names)
{
    g_mutex_init(&names->lock);
    names->digests = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

static void
names_clear(Names *names)
{
    g_hash_table_unref(names->digests);
    g_mutex_clear(&names->lock);
}

static void
test_collect(Fixture *f, gconstpointer data)
{
    Names names;
    names_init(&names);
    g_autofree char *named = store(f, "named", 5);
    g_autofree char *held = store(f, "held", 4);
    g_autofree char *garbage = store(f, "garbage", 7);
    g_hash_table_add(names.digests, g_strdup(named));
    varve_lease_free(f->lease); /* held all three */
    f->lease = varve_lease_new(f->content, NULL);
    g_assert_true(varve_lease_hold(f->lease, held, NULL));

    VarveCollected collected = collect(f, &names);
    g_assert_cmpuint(collected.blobs, ==, 1);
    g_assert_cmpuint(collected.in_use, ==, 1);
    g_assert_cmpuint(collected.bytes, >, 0);
    g_assert_true(is_here(f, named));
    g_assert_true(is_here(f, held));
    g_assert_false(is_here(f, garbage));
    g_assert_cmpuint(count_files(f, "trash"), ==, 0);

    varve_lease_free(f->lease);
    f->lease = varve_lease_new(f->content, NULL);
    collected = collect(f, &names);
    g_assert_cmpuint(collected.blobs, ==, 1);
    g_assert_false(is_here(f, held));
    names_clear(&names);
}

static void
test_collect_begun(Fixture *f, gconstpointer data)
{
    Names names;
    names_init(&names);
    g_autofree char *left = varve_digest_of("left", 4);
    g_autofree char *written = varve_digest_of("written", 7);
    VarveIngest *ingest = begin(f, left, 4);
    g_assert_true(varve_ingest_write(ingest, "le", 2, NULL));
    varve_ingest_free(ingest);
    ingest = begin(f, written, 7);

    VarveCollected collected = collect(f, &names);
    g_assert_cmpuint(collected.begun, ==, 1);
    g_assert_cmpuint(count_files(f, "ingest"), ==, 1);
    g_assert_true(varve_ingest_write(ingest, "written", 7, NULL));
    g_assert_true(varve_ingest_finish(ingest, NULL, NULL, NULL));
    g_assert_true(is_here(f, written));
    varve_ingest_free(ingest);
    names_clear(&names);
}

/* A collection that was killed between taking a blob out and deleting it. */
static void
test_collect_trash(Fixture *f, gconstpointer data)
{
    Names names;
    names_init(&names);
    g_autofree char *path = g_build_filename(f->dir, "content/trash/left", NULL);
    g_assert_true(g_file_set_contents(path, "x", 1, NULL));
    collect(f, &names);
    g_assert_cmpuint(count_files(f, "trash"), ==, 0);
    names_clear(&names);
}

#define N_OPERATIONS 50

typedef struct {
    Fixture *f;
    Names *names;
    guint first;
    gint *running;
} Operations;

/* As an import does: holds, stores or finds, names, lets go. Half of the blobs are those of the
 * others too, and are named and unnamed again and again. */
static gpointer
run_operations(gpointer data)
{
    Operations *o = data;
    for (guint i = 0; i < N_OPERATIONS; i++) {
        Fixture mine = *o->f;
        g_autoptr(GError) error = NULL;
        mine.lease = varve_lease_new(mine.content, &error);
        g_assert_no_error(error);
        guint number = i % 2 == 0 ? o->first + i : i;
        g_autofree char *text = g_strdup_printf("blob %u", number);
        g_autofree char *digest = varve_digest_of(text, strlen(text));
        VarveIngest *ingest = begin(&mine, digest, (gint64)strlen(text));
        if (ingest != NULL) {
            g_assert_true(varve_ingest_write(ingest, text, strlen(text), NULL));
            varve_ingest_finish(ingest, NULL, NULL, &error);
            g_assert_no_error(error);
            varve_ingest_free(ingest);
        }
        g_mutex_lock(&o->names->lock);
        if (!g_hash_table_remove(o->names->digests, digest) || i % 2 == 0)
            g_hash_table_add(o->names->digests, g_strdup(digest));
        g_mutex_unlock(&o->names->lock);
        varve_lease_free(mine.lease);
    }
    g_atomic_int_add(o->running, -1);
    return NULL;
}

/* Whatever a collection does meanwhile: what is named in the end is there. */
static void
test_collect_beside_operations(Fixture *f, gconstpointer data)
{
    Names names;
    GThread *threads[4];
    Operations operations[4];
    gint running = G_N_ELEMENTS(threads);
    names_init(&names);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        operations[i] = (Operations){f, &names, 1000 * (i + 1), &running};
        threads[i] = g_thread_new("operations", run_operations, &operations[i]);
    }
    guint64 taken = 0;
    while (g_atomic_int_get(&running) > 0)
        taken += collect(f, &names).blobs;
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    g_test_message("%" G_GUINT64_FORMAT " blobs were collected meanwhile", taken);

    GHashTableIter iter;
    gpointer digest;
    g_hash_table_iter_init(&iter, names.digests);
    while (g_hash_table_iter_next(&iter, &digest, NULL))
        g_assert_true(is_here(f, digest));
    collect(f, &names);
    g_assert_cmpuint(count_files(f, "blobs/sha256"), ==, g_hash_table_size(names.digests));
    g_assert_cmpuint(count_files(f, "ingest"), ==, 0);
    names_clear(&names);
}

/* --- full disks ------------------------------------------------------------------------------- */

static void
expect_no_space(Fixture *f, const char *digest, gint64 size, const char *bytes, gsize length)
{
    g_autoptr(GError) error = NULL;
    VarveIngest *ingest;
    gboolean ok = varve_ingest_begin(f->content, f->lease, digest, size, NULL, &ingest, &error) &&
                  varve_ingest_write(ingest, bytes, length, &error) &&
                  varve_ingest_finish(ingest, NULL, NULL, &error);
    g_assert_false(ok);
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
    varve_ingest_free(ingest);
    g_assert_cmpuint(count_files(f, "ingest"), ==, 0);
    g_assert_cmpuint(count_files(f, "blobs/sha256"), ==, 0);
}

static void
test_full_disk(void)
{
    if (!scratch_need_root())
        return;
    Fixture f;
    g_autofree char *point = g_dir_make_tmp("varve-full-XXXXXX", NULL);
    g_assert_no_errno(mount("tmpfs", point, "tmpfs", 0, "size=4m"));
    f.fd = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f.dir = point;
    f.content = varve_content_store_open(f.fd, NULL);
    f.lease = varve_lease_new(f.content, NULL);
    g_autofree char *bytes = make_bytes(6 * MIB, 5);
    g_autofree char *digest = varve_digest_of(bytes, 6 * MIB);
    expect_no_space(&f, digest, (gint64)(6 * MIB), bytes, 6 * MIB); /* known from the beginning */
    expect_no_space(&f, digest, -1, bytes, 6 * MIB);                /* found in the end */
    expect_no_space(&f, digest, G_MAXINT64, bytes, 6 * MIB);        /* nobody has that much */
    varve_lease_free(f.lease);
    varve_content_store_close(f.content);
    close(f.fd);
    g_assert_no_errno(umount(point));
    g_assert_no_errno(g_rmdir(point));
}

#define TEST(name, func) g_test_add("/content/" name, Fixture, NULL, set_up, func, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    TEST("round-trip", test_round_trip);
    TEST("pieces", test_pieces_of_any_size);
    TEST("private", test_private);
    TEST("mismatch", test_mismatch);
    TEST("wrong-size", test_wrong_size_of_what_is_here);
    TEST("bad-digests", test_bad_digests);
    TEST("damaged-on-disk", test_damaged_on_disk);
    TEST("resume", test_resume);
    TEST("resume-of-garbage", test_resume_of_garbage);
    TEST("restart", test_restart);
    TEST("killed-writer", test_killed_writer);
    TEST("same-blob-at-once", test_same_blob_at_once);
    TEST("cancel-while-waiting", test_cancel_while_waiting);
    TEST("collect", test_collect);
    TEST("collect-begun", test_collect_begun);
    TEST("collect-trash", test_collect_trash);
    TEST("collect-beside-operations", test_collect_beside_operations);
    g_test_add_func("/content/full-disk", test_full_disk);
    return g_test_run();
}
