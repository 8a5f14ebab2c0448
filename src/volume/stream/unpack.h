/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_UNPACK_H
#define VARVE_STREAM_UNPACK_H

/*
 * Makes what a portable payload tells of in a tree. Whatever is in it, nothing outside the tree is
 * changed or read.
 */

#include "base/stream.h"
#include "base/tree.h"

/* Reads the source to its end. No descriptor in the tree is open afterwards. On failure the tree is
 * left unfinished. */
gboolean varve_stream_unpack(int root, VarveSource source, const VarveTreeWatch *watch,
                             guint64 *entries, GError **error);

#endif
