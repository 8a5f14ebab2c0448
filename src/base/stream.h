/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_STREAM_H
#define VARVE_BASE_STREAM_H

/* Where bytes come from and where they go, one piece after the other. */

#include "base/error.h"

typedef struct {
    /* Reads some bytes, size at most: how many; 0 at the end; -1 with the error set. */
    gssize (*read)(gpointer data, void *buffer, gsize size, GError **error);
    gpointer data;
} VarveSource;

typedef struct {
    /* Takes all of the bytes. */
    gboolean (*write)(gpointer data, const void *bytes, gsize size, GError **error);
    gpointer data;
} VarveSink;

#endif
