/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_TRANSFERRED_H
#define VARVE_DRIVER_TRANSFERRED_H

/* How much of a stream has passed: told to whoever watches, and ended when they wish so. */

#include "base/tree.h"

typedef struct {
    const char *verb;
    const VarveTreeWatch *watch;
    guint64 files, bytes;
    gint64 told; /* when, in monotonic microseconds */
} VarveTransferred;

VARVE_SHARED VarveTransferred varve_transferred_new(const char *verb, const VarveTreeWatch *watch);

/* Counts bytes; files is for the caller to count. Fails with VARVE_ERROR_CANCELLED. */
VARVE_SHARED gboolean varve_transferred_add(VarveTransferred *transferred, guint64 bytes,
                                            GError **error);

#endif
