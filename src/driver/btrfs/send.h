/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_SEND_H
#define VARVE_DRIVER_BTRFS_SEND_H

/* A send stream that the kernel writes while it is read: what makes one subvolume of another one,
 * or of nothing. Both must be read-only. */

#include "base/stream.h"
#include "base/tree.h"

typedef struct VarveSend VarveSend;

typedef struct {
    int after;      /* the root directory of the subvolume to send; must stay open */
    guint64 before; /* the number of the one that the receiver has; 0: none */
    gboolean data;  /* with what is in files; data that is compressed on disk stays compressed */
} VarveSendWhat;

/* cancelled may be NULL. */
VarveSend *varve_send_begin(const VarveSendWhat *what, const gint *cancelled, GError **error);

/* A VarveSendReadFunc; data is the VarveSend. */
gssize varve_send_read(gpointer data, guint8 *buffer, gsize n, GError **error);

/* Ends it, wherever it is, and frees it. Returns what the kernel failed with, as an errno value, or
 * 0; that it was not let finish is no failure. */
int varve_send_end(VarveSend *send);

/* All of it, to a sink. */
gboolean varve_send_all(const VarveSendWhat *what, const VarveSink *sink,
                        const VarveTreeWatch *watch, GError **error);

#endif
