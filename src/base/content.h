/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_CONTENT_H
#define VARVE_BASE_CONTENT_H

/* Copies of files' content, in the cheapest way that the two file systems have. */

#include "base/error.h"

typedef struct VarveContent VarveContent;

/* Called after each part that was copied; FALSE, with the error set, ends the copy. */
typedef gboolean (*VarveContentFunc)(guint64 bytes, gpointer data, GError **error);

/* A copier between two file systems, which learns what they cannot do. */
VarveContent *varve_content_new(VarveContentFunc func, gpointer data);
void varve_content_free(VarveContent *content);

/* Copies size bytes from the beginning of src to dst, which is empty: shares the blocks (FICLONE),
 * else copies the data and leaves the holes. */
gboolean varve_content_copy(VarveContent *content, int src, int dst, off_t size, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveContent, varve_content_free)

#endif
