/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_RECEIVE_H
#define VARVE_STREAM_RECEIVE_H

/* Receiving, for those who make more of it than a snapshot. */

#include "snapshot/fill.h"
#include "volume/stream/header.h"

typedef struct {
    /* Called when it is known what comes, which it may rename and relabel, and say what is to be
     * made upon it. Both live until all is done. */
    gboolean (*plan)(VarveStreamHeader *header, VarveFilling *filling, gpointer data,
                     GError **error);
    gpointer data;
} VarveReceiveInto;

/* As varve_snapshot_receive(). */
gboolean varve_stream_receive(VarvePool *pool, VarveSource source,
                              const VarveReceiveOptions *options, const VarveReceiveInto *into,
                              VarveTransfer *transfer, GError **error);

#endif
