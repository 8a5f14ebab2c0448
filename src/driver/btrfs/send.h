/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_SEND_H
#define VARVE_DRIVER_BTRFS_SEND_H

/* A send stream that the kernel writes while it is read: what makes one subvolume of another one,
 * without file data. Both must be read-only. */

#include "base/error.h"

typedef struct VarveSend VarveSend;

/* after: the root directory of the subvolume to send; before: the number of the one that the
 * receiver has. after must stay open. cancelled may be NULL. */
VarveSend *varve_send_begin(int after, guint64 before, const gint *cancelled, GError **error);

/* A VarveSendReadFunc; data is the VarveSend. */
gssize varve_send_read(gpointer data, guint8 *buffer, gsize n, GError **error);

/* Ends it, wherever it is, and frees it. Returns what the kernel failed with, as an errno value, or
 * 0; that it was not let finish is no failure. */
int varve_send_end(VarveSend *send);

#endif
