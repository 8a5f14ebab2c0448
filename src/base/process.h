/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_PROCESS_H
#define VARVE_BASE_PROCESS_H

/* Programs of the system's that are run for what no library does. */

#include "base/error.h"

/* Where a program is: in the directories of the system, whatever PATH says. NULL, with
 * VARVE_ERROR_FAILED_PRECONDITION naming its package, when it is not installed. */
VARVE_SHARED char *varve_process_find(const char *name, const char *package, GError **error);

/* Runs argv, of which the first is a path, without a shell, in the C locale, and waits for it. Its
 * standard output goes to *output, if that is not NULL. When it fails, the error is
 * VARVE_ERROR_INTERNAL and has all that it had to say. */
VARVE_SHARED gboolean varve_process_run(const char *const *argv, char **output, GError **error);

#endif
