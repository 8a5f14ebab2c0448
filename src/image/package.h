/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_PACKAGE_H
#define VARVE_IMAGE_PACKAGE_H

#include "layer/package.h"
#include "snapshot/trees.h"
#include <varve/layer.h>

/* Packages, with the options put in; they may be NULL. */
gboolean varve_package_layer(VarvePackage what, const VarveLayerOptions *options, VarveSink sink,
                             VarveLayer *layer, GError **error);

/* What VarvePackage's changes are where two trees are all that is known: VarveDriverTrees. */
gboolean varve_package_differences(gpointer trees, VarveChangeFunc func, gpointer data,
                                   GError **error);

/* Packages the changes of a snapshot that was opened. options may be NULL. */
gboolean varve_trees_package(const VarveTrees *trees, const VarveLayerOptions *options,
                             VarveSink sink, VarveLayer *layer, GError **error);

#endif
