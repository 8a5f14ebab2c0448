/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_STREAM_H
#define VARVE_BASE_STREAM_H

/* Bytes one piece after the other: what those are, the public header tells. */

#include "base/error.h"
#include <varve/stream.h>

/* Reads until the buffer is full or the end comes; returns how much there is, or -1. */
VARVE_SHARED gssize varve_source_fill(VarveSource source, void *buffer, gsize size, GError **error);

#endif
