/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_AHEAD_H
#define VARVE_STREAM_AHEAD_H

/* Hands changes on some files late, and meanwhile has the kernel read what they are of. */

#include "base/error.h"
#include <varve/changes.h>

typedef struct VarveStreamAhead VarveStreamAhead;

/* The two trees as for VarveStreamPack; func: where changes go, in the order that they came in. */
VarveStreamAhead *varve_stream_ahead_new(int before, int after, VarveChangeFunc func, gpointer data,
                                         GError **error);
void varve_stream_ahead_free(VarveStreamAhead *ahead);

/* A VarveChangeFunc. */
gboolean varve_stream_ahead_add(const VarveChange *change, gpointer ahead, GError **error);

/* Once, at the end: hands on what is left. */
gboolean varve_stream_ahead_finish(VarveStreamAhead *ahead, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveStreamAhead, varve_stream_ahead_free)

#endif
