/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_PULL_H
#define VARVE_IMAGE_PULL_H

/*
 * Pulling:
 *
 *     pull.c             the whole: from the name to all that it leads to
 *     pull-blob.c        fetches a blob
 *     pull-unpack.c      fetches the blobs and unpacks the layers at the same time
 *     pull-platforms.c   knows what an index has to offer
 */

#include "image/arrival.h"
#include "image/remote.h"
#include "image/transfer.h"

typedef struct {
    VarveImages *images;
    const VarveImagePull *options;
    VarvePool *pool; /* that it is unpacked into, or NULL */
    VarveRemote remote;
    VarveLease *lease;
    VarveTransfer *transfer;
    VarveArrivals *arrivals; /* of the layers that are unpacked while they come, or NULL */
    GHashTable *unwanted;    /* digests of manifests that are left where they are */
    VarveImageMoved *moved;
    VarveImageUnpacked *unpacked;
} VarvePull;

/* A VarveTransferFunc, whose data is the VarvePull. */
gboolean varve_pull_blob(VarveTransferItem *item, const gint *cancelled, gpointer data,
                         GError **error);

/* Fetches what was noted. */
gboolean varve_pull_blobs(VarvePull *pull, GError **error);

/* Does that and unpacks the image, whose manifest and config are here, into the pool. */
gboolean varve_pull_unpack(VarvePull *pull, const VarveDescriptor *root, GError **error);

/* Which entries of an index are not wanted: adds their digests to unwanted. platforms: ended by
 * NULL, or NULL for this machine's or the only one. Entries of which the index says no platform are
 * wanted, since they may be anything. VARVE_ERROR_NOT_FOUND, telling what there is: nothing in it
 * is for one of the platforms. */
gboolean varve_pull_choose(const VarveManifest *index, const VarvePlatform *const *platforms,
                           GHashTable *unwanted, GError **error);

#endif
