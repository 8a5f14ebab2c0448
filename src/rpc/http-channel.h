/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_HTTP_CHANNEL_H
#define VARVE_RPC_HTTP_CHANNEL_H

/* Bytes from one thread to another, of which only so many wait. */

#include <glib.h>

typedef struct VarveHttpChannel VarveHttpChannel;

VarveHttpChannel *varve_http_channel_new(gsize capacity);
void varve_http_channel_free(VarveHttpChannel *self);

/* Waits for room. FALSE: nobody reads any more. */
gboolean varve_http_channel_write(VarveHttpChannel *self, const void *bytes, gsize size);
/* There comes no more: because that was all, or not. */
void varve_http_channel_end(VarveHttpChannel *self, gboolean complete);

/* Waits for some bytes: how many; 0: that was all; -1: it was not. */
gssize varve_http_channel_read(VarveHttpChannel *self, void *buffer, gsize size);
/* Waits until there are some, or the end; FALSE: it has failed, and there is nothing to read. */
gboolean varve_http_channel_wait(VarveHttpChannel *self);
/* Nobody reads any more. */
void varve_http_channel_abandon(VarveHttpChannel *self);

#endif
