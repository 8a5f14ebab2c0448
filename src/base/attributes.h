/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_ATTRIBUTES_H
#define VARVE_BASE_ATTRIBUTES_H

/* What a file has beside its content: owner, mode, xattrs (ACLs and file capabilities are some),
 * times. */

#include "base/error.h"
#include <sys/stat.h>

/* A file: name in the directory dirfd, not followed when it is a symbolic link; or, with name NULL,
 * what dirfd is open on. */
typedef struct {
    int dirfd;
    const char *name;
} VarveFile;

typedef enum {
    VARVE_XATTRS_NONE, /* where from is known to have none; it is not looked at */
    VARVE_XATTRS_ALL,
    VARVE_XATTRS_WITHOUT_OVERLAY, /* leave out those that overlayfs keeps its notes in */
} VarveXattrs;

/* Gives to what from has; st is from's, taken before its content was read. Nothing is written that
 * is equal already, except that xattrs which to has alone are kept. */
gboolean varve_attributes_copy(VarveFile from, const struct stat *st, VarveFile to,
                               VarveXattrs which, GError **error);

#endif
