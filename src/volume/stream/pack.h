/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_PACK_H
#define VARVE_STREAM_PACK_H

/*
 * Writes the portable payload: what makes one tree of another. Which paths may differ is told; what
 * is there is looked at in both, so a path too many does no harm. One tree and one set of paths
 * give the same bytes.
 */

#include "base/stream.h"
#include "base/tree.h"
#include <varve/changes.h>

typedef struct {
    int before; /* -1: nothing */
    int after;
    /* A path that is told as modified has the content that it had unless it is told so. */
    gboolean trust_content;
    VarveTreeWatch watch;
} VarveStreamPack;

typedef struct VarveStreamPacker VarveStreamPacker;

/* pack and sink must outlive it. */
VarveStreamPacker *varve_stream_packer_new(const VarveStreamPack *pack, const VarveSink *sink,
                                           GError **error);
void varve_stream_packer_free(VarveStreamPacker *packer);

/* A VarveChangeFunc: paths in their order, none of them renamed. */
gboolean varve_stream_packer_add(const VarveChange *change, gpointer packer, GError **error);

/* Once, at the end. */
gboolean varve_stream_packer_finish(VarveStreamPacker *packer, GError **error);
guint64 varve_stream_packer_entries(const VarveStreamPacker *packer);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveStreamPacker, varve_stream_packer_free)

#endif
