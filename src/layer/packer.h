/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_PACKER_H
#define VARVE_LAYER_PACKER_H

/* Makes the entries of a layer from a tree's changes: for package.c, which see. */

#include "layer/package.h"
#include "layer/tar-writer.h"

typedef struct VarvePacker VarvePacker;

/* Counts into info. NULL with the error set. */
VarvePacker *varve_packer_new(const VarvePackage *package, VarveSink sink, VarvePackageInfo *info,
                              GError **error);
void varve_packer_free(VarvePacker *packer);

/* Adds a change. A VarveChangeFunc; they come in their order. */
gboolean varve_packer_add(const VarveChange *change, gpointer packer, GError **error);

gboolean varve_packer_finish(VarvePacker *packer, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarvePacker, varve_packer_free)

#endif
