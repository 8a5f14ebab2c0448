/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tree.h"
#include "store/inflight.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    char *dir;
    int dirfd;
    VarveInflight *inflight;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    f->dir = g_dir_make_tmp("varve-inflight-XXXXXX", NULL);
    f->dirfd = open(f->dir, O_RDONLY | O_DIRECTORY);
    f->inflight = varve_inflight_open(f->dirfd, "inflight", 100, &error);
    g_assert_no_error(error);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    varve_inflight_close(f->inflight);
    close(f->dirfd);
    varve_tree_remove(AT_FDCWD, f->dir, NULL, NULL);
    g_free(f->dir);
}

static void
test_ids(Fixture *f, gconstpointer data)
{
    g_assert_cmpuint(varve_inflight_new_id(f->inflight), ==, 101);
    g_assert_cmpuint(varve_inflight_new_id(f->inflight), ==, 102);
    varve_inflight_close(f->inflight);
    f->inflight = varve_inflight_open(f->dirfd, "inflight", 50, NULL);
    g_assert_cmpuint(varve_inflight_new_id(f->inflight), ==, 103);
}

static void
test_exclusion(Fixture *f, gconstpointer data)
{
    guint slot, other;
    g_assert_true(varve_inflight_begin(f->inflight, 1, 5, &slot));
    g_assert_true(varve_inflight_holds(f->inflight, 1, 5));
    g_assert_false(varve_inflight_holds(f->inflight, 2, 5));
    g_assert_false(varve_inflight_begin(f->inflight, 1, 5, &other));
    g_assert_true(varve_inflight_begin(f->inflight, 2, 5, &other));
    varve_inflight_end(f->inflight, slot);
    varve_inflight_end(f->inflight, other);
    g_assert_false(varve_inflight_holds(f->inflight, 1, 5));
    g_assert_true(varve_inflight_begin(f->inflight, 1, 5, &slot));
    varve_inflight_end(f->inflight, slot);
}

/* Runs body in another process, which tells through the pipe when it is there and then either waits
 * to be killed or goes on. */
static pid_t
start_worker(Fixture *f)
{
    int ready[2];
    char byte;
    g_assert_cmpint(pipe(ready), ==, 0);
    pid_t pid = fork();
    if (pid == 0) {
        guint slot;
        VarveInflight *mine = varve_inflight_open(f->dirfd, "inflight", 0, NULL);
        gboolean ok = mine != NULL && varve_inflight_begin(mine, 3, 77, &slot) &&
                      varve_inflight_begin(mine, 3, 78, &slot);
        if (!ok || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
    close(ready[0]);
    return pid;
}

static void
note(guint32 pool, guint64 id, gpointer data)
{
    g_assert_cmpuint(pool, ==, 3);
    *(guint64 *)data += id;
}

/* What a living process works on is left alone; what a dead one did is reported once. */
static void
test_reap(Fixture *f, gconstpointer data)
{
    guint64 sum = 0;
    guint slot;
    pid_t pid = start_worker(f);
    g_assert_true(varve_inflight_holds(f->inflight, 3, 77));
    g_assert_false(varve_inflight_begin(f->inflight, 3, 77, &slot));
    varve_inflight_reap(f->inflight, note, &sum);
    g_assert_cmpuint(sum, ==, 0);

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    varve_inflight_reap(f->inflight, note, &sum);
    g_assert_cmpuint(sum, ==, 77 + 78);
    g_assert_false(varve_inflight_holds(f->inflight, 3, 77));
    varve_inflight_reap(f->inflight, note, &sum);
    g_assert_cmpuint(sum, ==, 77 + 78);
}

/* After a boot nothing that the file says is true any more, but ids stay used. */
static void
test_new_boot(Fixture *f, gconstpointer data)
{
    g_assert_true(varve_inflight_search_due(f->inflight)); /* a new file knows nothing either */
    varve_inflight_search_done(f->inflight);
    g_assert_false(varve_inflight_search_due(f->inflight));
    guint slot;
    varve_inflight_begin(f->inflight, 1, varve_inflight_new_id(f->inflight), &slot);
    g_clear_pointer(&f->inflight, varve_inflight_close);

    int fd = openat(f->dirfd, "inflight", O_WRONLY);
    g_assert_cmpint(pwrite(fd, "another-boot", 12, 8), ==, 12);
    close(fd);
    f->inflight = varve_inflight_open(f->dirfd, "inflight", 0, NULL);
    g_assert_true(varve_inflight_search_due(f->inflight));
    g_assert_false(varve_inflight_holds(f->inflight, 1, 101));
    g_assert_cmpuint(varve_inflight_new_id(f->inflight), ==, 102);
}

#define TEST(name, func) g_test_add("/inflight/" name, Fixture, NULL, set_up, func, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("ids", test_ids);
    TEST("exclusion", test_exclusion);
    TEST("reap", test_reap);
    TEST("new-boot", test_new_boot);
    return g_test_run();
}
