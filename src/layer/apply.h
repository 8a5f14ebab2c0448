/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_APPLY_H
#define VARVE_LAYER_APPLY_H

/*
 * Applies a layer, as OCI's image specification (layer.md) and Docker have it, to a directory tree.
 *
 * Whatever a layer holds, nothing outside the tree is changed or read. Names are taken relative to
 * the tree's root, absolute ones too; those with ".." are refused. A symbolic link in the place of
 * a directory is resolved inside the root, as after chroot(2). What is in the way of an entry is
 * replaced, except that directories are merged.
 */

#include "base/stream.h"
#include "base/tree.h"
#include "layer/settle.h"

typedef enum {
    /* root holds all that the layers below had; what a whiteout names is removed. */
    VARVE_WHITEOUTS_REMOVE,
    /* root is to be a layer of overlayfs: whiteouts and opaque directories are made (Linux,
     * Documentation/filesystems/overlayfs.rst). */
    VARVE_WHITEOUTS_OVERLAY,
} VarveWhiteouts;

typedef struct {
    guint64 entries; /* 0: no limit */
    guint64 bytes;   /* of the archive, decompressed; 0: no limit */
} VarveLayerLimits;

typedef struct {
    int root; /* the directory that becomes the layer's root; nobody else may change it meanwhile */
    /* With VARVE_WHITEOUTS_OVERLAY: the tree that the layers below make together, or -1.
     * Directories that the layer has entries in without having them itself take their attributes
     * from there, and symbolic links to directories are those of both. */
    int parent;
    /* Not NULL: with VARVE_WHITEOUTS_OVERLAY, the layers below are not there yet; what depends on
     * them is noted here. */
    VarveUnsettled *unsettled;
    VarveWhiteouts whiteouts;
    gboolean fresh; /* nothing is in root yet */
    /* What the compressed bytes and the archive must be; NULL: anything. */
    const char *digest, *diff_id;
    /* The source comes to its end only if its bytes are those of the digest: they need not be
     * hashed once more. */
    gboolean verified;
    VarveLayerLimits limits;
    VarveTreeWatch watch;
} VarveLayerTarget;

typedef struct {
    char *digest, *diff_id;    /* of what was read, and of it decompressed */
    guint64 compressed, plain; /* bytes */
    guint64 entries;
    guint64 xattrs_dropped; /* that the file system cannot have */
} VarveLayerInfo;

void varve_layer_info_clear(VarveLayerInfo *info);

/* Reads the source to its end, in the calling thread; everything else is done in threads that end
 * before it returns. On failure an unfinished tree is left, which is the caller's to remove. info
 * is set on success. */
gboolean varve_layer_apply(VarveSource source, const VarveLayerTarget *target, VarveLayerInfo *info,
                           GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveLayerInfo, varve_layer_info_clear)

#endif
