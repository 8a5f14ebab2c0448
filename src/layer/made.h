/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_MADE_H
#define VARVE_LAYER_MADE_H

/*
 * A set of hashes, of which there may be any number: some are in memory, the others in a file
 * without a name, as sorted runs of equal length. To look for one costs a read per run.
 */

#include "base/error.h"

typedef struct VarveMade VarveMade;

/* dirfd: a directory on the file system that is to have the file, if one is needed. */
VarveMade *varve_made_new(int dirfd);
void varve_made_free(VarveMade *made);

gboolean varve_made_add(VarveMade *made, gsize hash, GError **error);
gboolean varve_made_has(VarveMade *made, gsize hash, gboolean *has, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveMade, varve_made_free)

#endif
