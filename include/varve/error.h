/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_ERROR_H
#define VARVE_ERROR_H

/*
 * Errors of libvarve.
 *
 * Every function that can fail takes a GError** last, and returns FALSE or NULL when it has set
 * one. The domain is always VARVE_ERROR; the codes are containerd's error kinds, so that a client
 * on the other side of the gRPC socket gets back exactly the kind that was raised here.
 *
 * A message says what was being done to what, outermost first:
 *
 *     committing 'web-3' in pool 'fast': syncing snapshot 17: No space left on device
 */

#include <glib.h>

G_BEGIN_DECLS

#if defined(__GNUC__)
#define VARVE_PUBLIC __attribute__((visibility("default")))
#else
#define VARVE_PUBLIC
#endif

#define VARVE_ERROR (varve_error_quark())

typedef enum {
    VARVE_ERROR_INVALID_ARGUMENT,    /* the request itself is wrong; do not repeat it */
    VARVE_ERROR_NOT_FOUND,           /* the thing named does not exist */
    VARVE_ERROR_ALREADY_EXISTS,      /* the name is taken */
    VARVE_ERROR_FAILED_PRECONDITION, /* the thing is not in the state that this needs */
    VARVE_ERROR_UNAVAILABLE,         /* try again later */
    VARVE_ERROR_NOT_IMPLEMENTED,     /* not supported by this driver, host or build */
    VARVE_ERROR_PERMISSION_DENIED,   /* the caller may not do this */
    VARVE_ERROR_NO_SPACE,            /* disk, quota or inodes are used up */
    VARVE_ERROR_BUSY,                /* in use: unmount it, or end who uses it, and repeat */
    VARVE_ERROR_CORRUPT,             /* what is on disk is not what it must be */
    VARVE_ERROR_CANCELLED,           /* interrupted on request; nothing was left half-made */
    VARVE_ERROR_INTERNAL,            /* none of the above, or a bug */
} VarveErrorCode;

VARVE_PUBLIC GQuark varve_error_quark(void);

/* The code's name in lower case with dashes, e.g. "already-exists"; never NULL. For logs and JSON.
 * Errors of other domains are "internal". */
VARVE_PUBLIC const char *varve_error_name(const GError *error);

/* The code as a gRPC status, as containerd's errdefs maps it
 * (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md). */
VARVE_PUBLIC int varve_error_grpc_status(const GError *error);

/* The code as an HTTP status (https://www.rfc-editor.org/rfc/rfc9110#section-15). */
VARVE_PUBLIC int varve_error_http_status(const GError *error);

/* The code as a process exit status: 3 and up, one per code; 1 for errors of other domains
 * (2 is kept for wrong usage of the command line). */
VARVE_PUBLIC int varve_error_exit_status(const GError *error);

G_END_DECLS

#endif
