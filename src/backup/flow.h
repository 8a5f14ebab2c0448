/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BACKUP_FLOW_H
#define VARVE_BACKUP_FLOW_H

/* Bytes between who makes them and who takes them, each in a thread of its own: nothing but a
 * bounded ring is between a snapshot and a registry. */

#include "base/stream.h"

typedef struct {
    gboolean (*produce)(gpointer data, VarveSink sink, GError **error);

    /* The source ends when produce has succeeded, not before. */
    gboolean (*consume)(gpointer data, VarveSource source, GError **error);
    gpointer data;
} VarveFlow;

/* The first failure ends both, and is the error. */
gboolean varve_flow_run(const VarveFlow *flow, GError **error);

#endif
