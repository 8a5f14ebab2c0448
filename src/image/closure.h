/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_CLOSURE_H
#define VARVE_IMAGE_CLOSURE_H

/*
 * All that an image consists of: a walk from its manifest or index to every blob that is named
 * there. Each blob is met once, a manifest before what it names.
 */

#include "image/content.h"
#include "image/oci.h"

typedef struct {
    /* A blob is met: says whether it is here, having fetched it if that is the visitor's way. */
    gboolean (*blob)(const VarveDescriptor *descriptor, gpointer data, gboolean *present,
                     GError **error);
    /* A manifest (no index) is behind us; complete: all that it names is here, but for layers that
     * are not to be given on. May be NULL. */
    gboolean (*manifest)(const VarveDescriptor *descriptor, const VarveManifest *manifest,
                         gboolean complete, gpointer data, GError **error);
    /* A manifest that cannot be read is logged and passed over. */
    gboolean tolerant;
    gpointer data;
} VarveClosureVisitor;

typedef struct {
    gboolean complete; /* a manifest and all that it names is here; of an index, one such */
    char *missing;     /* a blob that is named by a manifest that is here, and is not; or NULL */
} VarveClosure;

void varve_closure_clear(VarveClosure *closure);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveClosure, varve_closure_clear)

gboolean varve_closure_walk(VarveContentStore *content, const VarveDescriptor *root,
                            const VarveClosureVisitor *visitor, VarveClosure *closure,
                            GError **error);

/* Reads and parses the manifest or index that a descriptor points at. */
VarveManifest *varve_manifest_read(VarveContentStore *content, const VarveDescriptor *descriptor,
                                   GError **error);

#endif
