/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"
#include <glib.h>
#include <sys/wait.h>
#include <unistd.h>

static void
test_form(void)
{
    g_autofree char *one = varve_uuid_new(), *other = varve_uuid_new();
    g_assert_true(g_uuid_string_is_valid(one));
    g_assert_cmpint(one[14], ==, '4');
    g_assert_cmpstr(one, !=, other);
}

/* Two processes that come from one make different ones. */
static void
test_forked(void)
{
    int ends[2];
    char theirs[37] = "";
    g_free(varve_uuid_new()); /* what there is to seed is seeded */
    g_assert_cmpint(pipe(ends), ==, 0);
    pid_t pid = fork();
    g_autofree char *mine = varve_uuid_new();
    if (pid == 0)
        _exit(write(ends[1], mine, 36) == 36 ? 0 : 1);
    int status;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    g_assert_cmpint(read(ends[0], theirs, 36), ==, 36);
    g_assert_cmpstr(mine, !=, theirs);
    close(ends[0]);
    close(ends[1]);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/uuid/form", test_form);
    g_test_add_func("/uuid/forked", test_forked);
    return g_test_run();
}
