/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_H
#define VARVE_STREAM_H

/* Where bytes come from and where they go, one piece after the other. */

#include <varve/error.h>

G_BEGIN_DECLS

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

G_END_DECLS

#endif
