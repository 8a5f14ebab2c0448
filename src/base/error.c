/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#undef varve_error_set
#undef varve_error_set_errno
#include <varve/log.h>

G_DEFINE_QUARK(varve - error - quark, varve_error)

/* The one table: code, name, gRPC status
 * (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md), HTTP status
 * (https://www.rfc-editor.org/rfc/rfc9110#section-15). Exit statuses follow the order of the codes.
 */
static const struct {
    const char *name;
    int grpc, http;
} codes[] = {
    [VARVE_ERROR_INVALID_ARGUMENT] = {"invalid-argument", 3, 400},
    [VARVE_ERROR_NOT_FOUND] = {"not-found", 5, 404},
    [VARVE_ERROR_ALREADY_EXISTS] = {"already-exists", 6, 409},
    [VARVE_ERROR_FAILED_PRECONDITION] = {"failed-precondition", 9, 412},
    [VARVE_ERROR_UNAVAILABLE] = {"unavailable", 14, 503},
    [VARVE_ERROR_NOT_IMPLEMENTED] = {"not-implemented", 12, 501},
    [VARVE_ERROR_PERMISSION_DENIED] = {"permission-denied", 7, 403},
    [VARVE_ERROR_NO_SPACE] = {"no-space", 8, 507},
    [VARVE_ERROR_BUSY] = {"busy", 14, 409},
    [VARVE_ERROR_CORRUPT] = {"corrupt", 15, 422},
    [VARVE_ERROR_CANCELLED] = {"cancelled", 1, 503},
    [VARVE_ERROR_INTERNAL] = {"internal", 13, 500},
};

#define FIRST_EXIT_STATUS 3

static VarveErrorCode
code_of(const GError *error)
{
    if (error->domain != VARVE_ERROR || error->code < 0 || error->code >= (int)G_N_ELEMENTS(codes))
        return VARVE_ERROR_INTERNAL;
    return (VarveErrorCode)error->code;
}

const char *
varve_error_name(const GError *error)
{
    return codes[code_of(error)].name;
}

int
varve_error_grpc_status(const GError *error)
{
    return codes[code_of(error)].grpc;
}

int
varve_error_http_status(const GError *error)
{
    return codes[code_of(error)].http;
}

int
varve_error_exit_status(const GError *error)
{
    return error->domain == VARVE_ERROR ? FIRST_EXIT_STATUS + (int)code_of(error) : 1;
}

VarveErrorCode
varve_error_code_from_errno(int errnum)
{
    switch (errnum) {
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
        return VARVE_ERROR_INVALID_ARGUMENT;
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return VARVE_ERROR_NOT_FOUND;
    case EEXIST:
    case EADDRINUSE:
        return VARVE_ERROR_ALREADY_EXISTS;
    case EROFS:
    case ENOTEMPTY:
        return VARVE_ERROR_FAILED_PRECONDITION;
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return VARVE_ERROR_UNAVAILABLE;
    case ENOSYS:
    case EOPNOTSUPP:
        return VARVE_ERROR_NOT_IMPLEMENTED;
    case EPERM:
    case EACCES:
        return VARVE_ERROR_PERMISSION_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMLINK:
        return VARVE_ERROR_NO_SPACE;
    case EBUSY:
    case ETXTBSY:
        return VARVE_ERROR_BUSY;
    case EUCLEAN:
    case EBADMSG:
        return VARVE_ERROR_CORRUPT;
    case ECANCELED:
        return VARVE_ERROR_CANCELLED;
    default:
        return VARVE_ERROR_INTERNAL;
    }
}

gboolean
varve_error_set(GError **error, VarveErrorCode code, const char *format, ...)
{
    if (error != NULL) {
        va_list args;
        va_start(args, format);
        *error = g_error_new_valist(VARVE_ERROR, (int)code, format, args);
        va_end(args);
    }
    return FALSE;
}

gboolean
varve_error_set_errno(GError **error, int errnum, const char *format, ...)
{
    if (error != NULL) {
        va_list args;
        va_start(args, format);
        g_autofree char *message = g_strdup_vprintf(format, args);
        va_end(args);
        g_set_error(error, VARVE_ERROR, (int)varve_error_code_from_errno(errnum), "%s: %s", message,
                    g_strerror(errnum));
    }
    return FALSE;
}

void
varve_error_log_undo(const char *what, GError *error)
{
    varve_log(VARVE_LOG_WARNING, "undoing failed, something was left behind", "step", what, "error",
              error->message, NULL);
    g_error_free(error);
}

gboolean
varve_check_cancelled(const gint *cancelled, GError **error)
{
    if (cancelled == NULL || !g_atomic_int_get(cancelled))
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_CANCELLED, "interrupted");
}
