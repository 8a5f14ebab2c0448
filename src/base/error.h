/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_ERROR_H
#define VARVE_BASE_ERROR_H

#include <errno.h>
#include <varve/error.h>

/* Internal functions that modules use (base/module.h): seen from outside libvarve, and yet no part
 * of its API. */
#define VARVE_SHARED __attribute__((visibility("default")))

/* The code for an errno value: ENOSPC is VARVE_ERROR_NO_SPACE, EBUSY is VARVE_ERROR_BUSY, ... */
VarveErrorCode varve_error_code_from_errno(int errnum);

/* Sets "MESSAGE: strerror(errnum)" with the matching code. Returns FALSE, so that a caller can
 * return it. */
VARVE_SHARED gboolean varve_error_set_errno(GError **error, int errnum, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* Sets an error of that code. Returns FALSE. */
VARVE_SHARED gboolean varve_error_set(GError **error, VarveErrorCode code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* Logs a failure of an undo step and frees it: the one form for everything that was left behind.
 * what: what was being undone, e.g. "removing snapshot 17 of pool 'fast'". */
VARVE_SHARED void varve_error_log_undo(const char *what, GError *error);

/* Like varve_error_set when *cancelled is set, else returns TRUE. cancelled may be NULL. */
VARVE_SHARED gboolean varve_check_cancelled(const gint *cancelled, GError **error);

/* clang's analyzer does not look into other files, and takes what these return for anything. */
#ifdef __clang_analyzer__
#define varve_error_set(...)       (varve_error_set(__VA_ARGS__), FALSE)
#define varve_error_set_errno(...) (varve_error_set_errno(__VA_ARGS__), FALSE)
#endif

#endif
