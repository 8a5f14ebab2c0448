/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_COMMIT_H
#define VARVE_IMAGE_COMMIT_H

/* Images of snapshots: commit.c does it, commit-base.c finds the image that the snapshot stands on,
 * commit-config.c writes the new image's JSON. */

#include "image/internal.h"

/* What an image is made on. */
typedef struct {
    json_t *config;        /* of the new image, as far as it is that of the old one */
    VarveManifest *layers; /* NULL: there are none */
} VarveCommitBase;

void varve_commit_base_clear(VarveCommitBase *base);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveCommitBase, varve_commit_base_clear)

/* Finds the image whose ChainID is that of the snapshot's parent ("": nothing), which is the one
 * called from, if that is not NULL; holds its layers, all of which are here. */
gboolean varve_commit_find_base(VarveImages *images, VarveLease *lease, const char *chain_id,
                                const char *from, VarveCommitBase *base, GError **error);

/* Adds the layer to the config: its DiffID, and how it came. */
void varve_commit_extend_config(json_t *config, const VarveImageCommit *options,
                                const char *diff_id);

/* The manifest of the config and the layers. To be released by the caller. */
json_t *varve_commit_make_manifest(const VarveManifest *below, const VarveDescriptor *config,
                                   const VarveLayer *layer);

#endif
