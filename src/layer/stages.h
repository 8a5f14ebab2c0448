/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_STAGES_H
#define VARVE_LAYER_STAGES_H

/* The stages of a pipeline, each in a thread of its own, with rings between them (ring.h). */

#include "base/error.h"

typedef struct {
    const char *name; /* of the thread */
    gboolean (*work)(gpointer data, GError **error);
} VarveStage;

/* Runs all of them at the same time, the first one in the calling thread, until all have ended.
 * When one fails, or cannot be started, stop is called, which has the others end too; the first
 * failure is the error. */
gboolean varve_stages_run(const VarveStage *stages, gsize n, void (*stop)(gpointer data),
                          gpointer data, GError **error);

/* The error of a stage that ends because another one has failed. Returns FALSE. */
gboolean varve_stage_stopped(GError **error);

#endif
