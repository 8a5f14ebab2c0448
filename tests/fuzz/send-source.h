/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_FUZZ_SEND_SOURCE_H
#define VARVE_FUZZ_SEND_SOURCE_H

/* A fuzzer's input as a btrfs send stream. */

#include <glib.h>

typedef struct {
    guint8 *bytes;
    gsize length, at, piece;
} SendSource;

/* A VarveSendReadFunc. */
gssize send_source_read(gpointer data, guint8 *buffer, gsize n, GError **error);

/* Sets the checksums of all commands right, so that what is behind them is reached. */
void send_source_set_checksums(SendSource *source);

#endif
