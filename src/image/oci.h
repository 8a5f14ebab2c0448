/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_OCI_H
#define VARVE_IMAGE_OCI_H

/*
 * The JSON of images: descriptors, manifests, indexes and configs, as the OCI image specification
 * (version 1.1) and Docker's image manifest v2, schema 2, have them.
 *
 * Only what is needed is read. The blobs stay as they are, so unknown fields are never lost. All
 * comes from outside: sizes, counts and depths are bounded, duplicate keys and wrong types are
 * refused with VARVE_ERROR_INVALID_ARGUMENT and the way to the field.
 */

#include "base/json.h"
#include <varve/image.h>

#define VARVE_MAX_MANIFEST ((gsize)4 << 20) /* what registries allow */
#define VARVE_MAX_CONFIG   ((gsize)8 << 20)
#define VARVE_MAX_LAYERS   4096
#define VARVE_MAX_INDEX    16384 /* manifests of an index */

/* Points at a blob. */
typedef struct {
    char *media_type;
    char *digest;
    guint64 size;
    char *artifact_type;     /* "" for none */
    VarvePlatform *platform; /* or NULL */
    GHashTable *annotations; /* never NULL */
    char **urls;             /* or NULL */
} VarveDescriptor;

VarveDescriptor *varve_descriptor_new(const char *media_type, const char *digest, guint64 size);
VarveDescriptor *varve_descriptor_copy(const VarveDescriptor *descriptor);
void varve_descriptor_free(VarveDescriptor *descriptor);

/* An object in a manifest or index. */
VarveDescriptor *varve_descriptor_parse(const json_t *object, GError **error);

/* The same as JSON, to be released by the caller. */
json_t *varve_descriptor_to_json(const VarveDescriptor *descriptor);

const char *varve_descriptor_annotation(const VarveDescriptor *descriptor, const char *key);

/* A manifest or an index. */
typedef struct {
    gboolean is_index;
    char *media_type;
    char *artifact_type;      /* "" for none */
    VarveDescriptor *config;  /* of a manifest; NULL in artifact manifests */
    GPtrArray *blobs;         /* VarveDescriptor*: layers of a manifest, manifests of an index */
    VarveDescriptor *subject; /* what it speaks about, or NULL; it need not be anywhere */
    GHashTable *annotations;
} VarveManifest;

/* media_type: what the descriptor says, or NULL; must be that of the manifest. */
VarveManifest *varve_manifest_parse(const char *text, gsize size, const char *media_type,
                                    GError **error);
void varve_manifest_free(VarveManifest *manifest);

/* The config of an image that can be run. */
VarveImageConfig *varve_image_config_parse(const char *text, gsize size, GError **error);
void varve_image_config_free(VarveImageConfig *config);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveDescriptor, varve_descriptor_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveManifest, varve_manifest_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveImageConfig, varve_image_config_free)

#endif
