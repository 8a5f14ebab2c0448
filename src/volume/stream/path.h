/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_PATH_H
#define VARVE_STREAM_PATH_H

/* Paths in a stream: from the snapshot's root, "/", by names that a directory can have. */

#include "base/error.h"

/* VARVE_ERROR_CORRUPT: it is none. */
gboolean varve_stream_path_check(const char *path, GError **error);

/* Printable, and not too long for a message. */
char *varve_stream_path_show(const char *path);

/* Whether it is in the directory, or is it. */
gboolean varve_stream_path_is_within(const char *path, const char *directory);

#endif
