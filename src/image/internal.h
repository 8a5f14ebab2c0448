/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_INTERNAL_H
#define VARVE_IMAGE_INTERNAL_H

/*
 * Images from inside. Who does what:
 *
 *     reference.c, platform.c, media-types.c, chain.c   words: names, platforms, kinds, ChainIDs
 *     descriptor.c, manifest.c, config.c                 the JSON of images (oci.h)
 *     content.c, ingest*.c, lease.c, collect.c           the content store (content.h)
 *     closure.c                                          from an image to all its blobs
 *     names.c                                            names in the metadata store
 *     images.c, inspect.c, prune.c                       the API
 *     unpack.c and unpack-*.c, turn.c                    layers into snapshots
 *     package.c                                          snapshots into layers
 *     commit.c, commit-base.c, commit-config.c, instructions.c
 *                                                        snapshots into images
 *     import.c and import-*.c                            archives in
 *     export.c and export-*.c                            archives out
 *     pull.c and pull-*.c                                from registries
 *     push.c                                             to them
 *     remote.c, transfer.c, registry/                    what both use
 *     arrival.c                                          blobs that are read while they come
 *     progress.c                                         who is told of it
 */

#include "base/fd.h"
#include "image/closure.h"
#include "image/platform.h"
#include "snapshot/internal.h"

struct VarveImages {
    VarveEngine *engine;
    VarveContentStore *content;
    VarveTreeWatch watch; /* the engine's wishes */
    GMutex progress_lock;
    VarveImageProgressFunc progress; /* or NULL */
    gpointer progress_data;
};

/* --- progress.c ---------------------------------------------------------------------------- */

/* An item that is fetched and unpacked at the same time, by threads that have a VarveProgressItem
 * each: what they say is told of as one. It is fetched until it is there, and then unpacked. */
typedef enum {
    VARVE_PROGRESS_FETCH,
    VARVE_PROGRESS_UNPACK,
    VARVE_PROGRESS_HALVES
} VarveProgressHalf;

/* All zeros in the beginning; changed under the images' lock. */
typedef struct {
    gboolean joined[VARVE_PROGRESS_HALVES];
    VarveImageStage stages[VARVE_PROGRESS_HALVES];
    guint64 done[VARVE_PROGRESS_HALVES];
    VarveImageStage stage; /* told last */
} VarveProgressPair;

/* An item while an operation works on it. */
typedef struct {
    VarveProgressPair *pair; /* NULL: it is told of alone */
    VarveProgressHalf half;
    VarveImages *images;
    const char *item, *kind; /* stay the caller's */
    guint64 total;
    VarveImageStage stage; /* told last; */
    gint64 told;           /* when */
} VarveProgressItem;

/* What the blob that a descriptor points at is, for VarveImageProgress. */
const char *varve_progress_kind(const VarveDescriptor *descriptor);

void varve_progress_init(VarveProgressItem *item, VarveImages *images,
                         const VarveDescriptor *descriptor);

/* Makes an item a half of a pair, which may be NULL, if nobody is that half yet. */
void varve_progress_join(VarveProgressItem *item, VarveProgressPair *pair, VarveProgressHalf half);

/* Tells of an item, if its stage is a new one or it was not told of for a while. */
void varve_progress_tell(VarveProgressItem *item, VarveImageStage stage, guint64 done);

/* --- names.c ------------------------------------------------------------------------------- */

/* A name, and what it is to lead to. */
typedef struct {
    char *name; /* whole */
    VarveDescriptor *target;
} VarveNaming;

VarveNaming *varve_naming_new(const char *name, const VarveDescriptor *target);
void varve_naming_free(VarveNaming *naming);

/* Leads names (VarveNaming*) to what must be in the content store, and held by a lease until this
 * returns: all of them, durably, or none. */
gboolean varve_names_publish(VarveImages *images, GPtrArray *namings, GError **error);

/* The record of a name, digest or part of one, as varve_images_find() takes them.
 * VARVE_ERROR_NOT_FOUND. */
VarveImageRecord *varve_names_look_up(VarveImages *images, const char *name, GError **error);

/* All records: GPtrArray of VarveImageRecord*. */
GPtrArray *varve_names_list(VarveImages *images, GError **error);

VarveDescriptor *varve_names_target(const VarveImageRecord *record);

/* --- images.c ------------------------------------------------------------------------------ */

/* Holds a blob and looks whether it is here; VARVE_ERROR_CORRUPT when it has another size. */
gboolean varve_images_hold(VarveImages *images, VarveLease *lease,
                           const VarveDescriptor *descriptor, gboolean *present, GError **error);

VarveImageInfo *varve_image_info_new(VarveImages *images, const VarveImageRecord *record,
                                     GError **error);

/* --- inspect.c ----------------------------------------------------------------------------- */

/* The platform of a manifest: what the index says, else its config; NULL for what is no image. */
VarvePlatform *varve_image_platform(VarveImages *images, const VarveDescriptor *descriptor,
                                    const VarveManifest *manifest);

/* What the manifest that a descriptor points at says, and its config; without a name. */
VarveImageDetails *varve_image_describe(VarveImages *images, const VarveDescriptor *descriptor,
                                        GError **error);

/* The manifest of the image for a platform, which may be NULL, as varve_images_inspect() takes it.
 */
VarveDescriptor *varve_image_choose(VarveImages *images, const VarveDescriptor *root,
                                    const VarvePlatform *platform, GError **error);

/* --- prune.c ------------------------------------------------------------------------------- */

/* Deletes those of the blobs (char*: digests) that no name leads to. What fails is logged. */
void varve_images_drop(VarveImages *images, GPtrArray *digests);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveNaming, varve_naming_free)

#endif
