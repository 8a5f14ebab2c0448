/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_STREAM_H
#define VARVE_BASE_STREAM_H

/* Bytes one piece after the other: the public header has all there is. */

#include "base/error.h"
#include <varve/stream.h>

#endif
