/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_LAYER_SCRATCH_H
#define VARVE_TESTS_LAYER_SCRATCH_H

/* A directory with a root to apply layers to, "root", and beside it "outside", which no layer may
 * change: a file, a directory and a symbolic link, of which there is a copy to compare with. */

#include "layer/apply.h"
#include "scratch.h"

typedef struct {
    Scratch *scratch;
    VarveLayerTarget target; /* of "root": fresh, whiteouts remove */
    int root, outside, copy;
    char *outside_path;
    gsize piece; /* how much a source gives at once; 0: all */
} LayerScratch;

LayerScratch *layer_scratch_new(void);

/* Checks that nothing outside has changed. */
void layer_scratch_free(LayerScratch *layers);

gboolean layer_apply(LayerScratch *layers, const GByteArray *layer, VarveLayerInfo *info,
                     GError **error);

/* The same, and must succeed; frees the layer. */
void layer_apply_ok(LayerScratch *layers, GByteArray *layer);

/* Must fail with that in its message. */
void layer_apply_fails(LayerScratch *layers, GByteArray *layer, const char *message);

/* Checks for what is in the root: a file's content (NULL: the path must not be there), and as text
 * "MODE UID GID MTIME.NS" in octal and decimal. */
void layer_assert_file(LayerScratch *layers, const char *path, const char *content);
void layer_assert_attributes(LayerScratch *layers, const char *path, const char *attributes);
gboolean layer_same(LayerScratch *layers, const char *a, const char *b);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(LayerScratch, layer_scratch_free)

#endif
