/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_REGISTRY_PUSH_H
#define VARVE_IMAGE_REGISTRY_PUSH_H

/* The requests that a blob's upload consists of: push.c has them, and sends blobs that are known;
 * upload.c those that become known while they go. */

#include "image/registry/internal.h"

typedef struct {
    VarveRegistry *registry;
    const VarveReference *name;
    const VarveRegistryDescriptor *blob;
    const VarveRegistryContent *content;
    const char *from;
    const VarveRegistryWatch *watch;
    VarveRegistryPushed how;

    char *scope;
    char *location;    /* of the upload; NULL: there is none */
    guint64 offset;    /* what the registry has of it */
    guint64 furthest;  /* the most that it ever had */
    guint64 chunk;     /* 0: whole */
    guint64 min_chunk; /* the registry's wish */
    gboolean looked;   /* whether it is there was asked */
    gboolean unsure;   /* it may have come although the answer did not */
} VarveRegistryPush;

/* Whether the blob is there. */
gboolean varve_registry_push_look(VarveRegistryPush *push, VarveRegistryEndpoint *endpoint,
                                  gboolean *there, VarveRegistryFailure *failure, GError **error);

/* Begins an upload, or mounts the blob from another repository (NULL: none), which is *done then.
 */
gboolean varve_registry_push_post(VarveRegistryPush *push, VarveRegistryEndpoint *endpoint,
                                  const char *from, gboolean *done, VarveRegistryFailure *failure,
                                  GError **error);

/* How much the registry has of the upload. FALSE without an error, and no upload any more, when it
 * does not know it. */
gboolean varve_registry_push_ask(VarveRegistryPush *push, VarveRegistryEndpoint *endpoint,
                                 VarveRegistryFailure *failure, GError **error);

/* Sends what follows offset, as much as a chunk holds. */
gboolean varve_registry_push_chunk(VarveRegistryPush *push, VarveRegistryEndpoint *endpoint,
                                   VarveRegistryFailure *failure, GError **error);

/* The last request: with what follows offset. */
gboolean varve_registry_push_put(VarveRegistryPush *push, VarveRegistryEndpoint *endpoint,
                                 VarveRegistryFailure *failure, GError **error);

#endif
