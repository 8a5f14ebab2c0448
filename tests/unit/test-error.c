/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

static void
test_errno(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(varve_error_set_errno(&error, ENOSPC, "syncing snapshot %d", 17));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
    g_assert_cmpstr(error->message, ==, "syncing snapshot 17: No space left on device");
    g_assert_cmpstr(varve_error_name(error), ==, "no-space");
    g_assert_cmpint(varve_error_grpc_status(error), ==, 8);
}

static void
test_exit_statuses(void)
{
    for (int code = 0; code <= VARVE_ERROR_INTERNAL; code++) {
        g_autoptr(GError) error = g_error_new_literal(VARVE_ERROR, code, "x");
        g_assert_cmpint(varve_error_exit_status(error), ==, 3 + code);
    }
    g_autoptr(GError) foreign = g_error_new_literal(G_OPTION_ERROR, 0, "x");
    g_assert_cmpint(varve_error_exit_status(foreign), ==, 1);
    g_assert_cmpstr(varve_error_name(foreign), ==, "internal");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/errno", test_errno);
    g_test_add_func("/error/exit-statuses", test_exit_statuses);
    return g_test_run();
}
