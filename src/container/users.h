/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CONTAINER_USERS_H
#define VARVE_CONTAINER_USERS_H

/*
 * Who a container's process is: "USER[:GROUP]", each a name or a number, as the container's own
 * /etc/passwd and /etc/group have them. These files are the image's, thus anything: they are looked
 * up beneath the root file system, whatever links are on the way, must be regular files of bounded
 * size, and lines that are malformed are passed over.
 */

#include "base/error.h"

typedef struct {
    guint32 uid, gid;
    GArray *groups; /* of guint32: the others that it is in */
    char *home;     /* "/" where it is not known */
} VarveUser;

/* Looks up a user in the texts of passwd and group, "" when there is none. user NULL or "": root.
 * VARVE_ERROR_NOT_FOUND, VARVE_ERROR_INVALID_ARGUMENT. */
gboolean varve_user_resolve(const char *passwd, const char *group, const char *user,
                            VarveUser *result, GError **error);
void varve_user_clear(VarveUser *user);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveUser, varve_user_clear)

/* --- root.c -------------------------------------------------------------------------------- */

/* Reads a file beneath a container's root, following links as if that was the root; it is "" when
 * there is none. A NUL byte in it ends a line. VARVE_ERROR_INVALID_ARGUMENT: it is no regular file,
 * or longer than max. */
char *varve_root_read(int rootfd, const char *path, gsize max, GError **error);

/* Reads an open file, which must be a regular one of at most max bytes. */
char *varve_root_read_all(int fd, const char *name, gsize max, gsize *size, GError **error);

#endif
