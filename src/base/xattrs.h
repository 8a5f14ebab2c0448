/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_XATTRS_H
#define VARVE_BASE_XATTRS_H

/* Extended attributes of files: all that a file has, copied and compared. */

#include "base/attributes.h"

/* Gives to what from has of them. */
gboolean varve_xattrs_copy(VarveFile from, VarveFile to, VarveXattrs which, GError **error);

/* Whether a and b have the same ones with the same values. in_layer: the file stands in a layer of
 * overlayfs, whose own do not count, and whose escaped ones have the names that a mount shows. A
 * file that vanishes meanwhile has none in common with anything. */
gboolean varve_xattrs_equal(VarveFile a, gboolean a_in_layer, VarveFile b, gboolean b_in_layer,
                            gboolean *equal, GError **error);

/* Reads one into a buffer, as getxattr(2) does: its size, or -1 with errno set (ENODATA: it has
 * none of that name). */
ssize_t varve_xattrs_get(VarveFile file, const char *name, void *value, size_t size);

/* Sets one, or with value NULL takes it away, as setxattr(2) and removexattr(2) do: 0, or -1 with
 * errno set. */
int varve_xattrs_set(VarveFile file, const char *name, const void *value, size_t size);

/* All that a file has, but for those that one of another name says again. */
typedef struct {
    char *name;
    guint8 *value;
    gsize size;
} VarveXattr;

/* In the order of their names: GArray of VarveXattr, which frees what is in it. A file that
 * vanishes meanwhile has none. NULL with the error set. */
GArray *varve_xattrs_read(VarveFile file, GError **error);

/* Gives a file these and takes all others away, but for SELinux's label, which is the host's
 * matter. */
gboolean varve_xattrs_replace(VarveFile file, const VarveXattr *wanted, gsize n, GError **error);

#endif
