/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_MEDIA_TYPES_H
#define VARVE_IMAGE_MEDIA_TYPES_H

/* What blobs are called: OCI's media types (media-types.md of the image specification) and Docker's
 * (image-manifest v2, schema 2) beside them. */

#include <glib.h>

#define VARVE_MEDIA_OCI_INDEX    "application/vnd.oci.image.index.v1+json"
#define VARVE_MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define VARVE_MEDIA_OCI_CONFIG   "application/vnd.oci.image.config.v1+json"
#define VARVE_MEDIA_OCI_LAYER    "application/vnd.oci.image.layer.v1.tar"

#define VARVE_ANNOTATION_REF_NAME   "org.opencontainers.image.ref.name"
#define VARVE_ANNOTATION_IMAGE_NAME "io.containerd.image.name"

typedef enum {
    VARVE_MEDIA_OTHER, /* an artifact's business */
    VARVE_MEDIA_INDEX,
    VARVE_MEDIA_MANIFEST,
    VARVE_MEDIA_ARTIFACT, /* a manifest that names blobs, of OCI 1.1's drafts */
    VARVE_MEDIA_SCHEMA1,  /* Docker's manifests of before 2016, which are not supported */
    VARVE_MEDIA_CONFIG,
    VARVE_MEDIA_LAYER,
    VARVE_MEDIA_FOREIGN_LAYER, /* one that is not to be given on, so it may be missing */
} VarveMediaKind;

/* NULL is VARVE_MEDIA_OTHER. */
VarveMediaKind varve_media_kind(const char *media_type);

/* What OCI calls a layer that Docker has another word for; others are called as they are. */
char *varve_media_oci_layer(const char *media_type);

/* Whether it names other blobs: an index or a manifest. */
gboolean varve_media_is_manifest(const char *media_type);

#endif
