/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_LAYER_H
#define VARVE_CLI_LAYER_H

/* What the verbs that make layers have in common. */

#include "cli/json.h"
#include <varve/layer.h>

/* Reads --compression: gzip when it is not given (NULL). */
gboolean cli_layer_compression(const char *text, VarveLayerCompression *compression,
                               GError **error);

/* Adds what is known of a layer to an object. */
void cli_layer_to_json(json_t *object, const VarveLayer *layer);

/* A line about a layer on stderr, and one if files changed while they were read. */
void cli_layer_report(const VarveLayer *layer);

#endif
