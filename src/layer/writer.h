/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_WRITER_H
#define VARVE_LAYER_WRITER_H

/* Makes a layer's entries in a directory tree, one after the other. */

#include "layer/apply.h"
#include "layer/tar.h"

typedef struct VarveWriter VarveWriter;

/* exact_modes: the thread's umask is 0. target must outlive it. */
VarveWriter *varve_writer_new(const VarveLayerTarget *target, gboolean exact_modes, GError **error);
void varve_writer_free(VarveWriter *writer);

/* Makes an entry of an archive, and reads its content. */
gboolean varve_writer_add(VarveWriter *writer, VarveTar *tar, const VarveTarEntry *entry,
                          GError **error);

/* At the end: gives directories their times. */
gboolean varve_writer_finish(VarveWriter *writer, GError **error);

guint64 varve_writer_xattrs_dropped(const VarveWriter *writer);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveWriter, varve_writer_free)

#endif
