/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BACKUP_ARTIFACT_H
#define VARVE_BACKUP_ARTIFACT_H

/*
 * The manifest of a backup: an OCI image manifest whose artifactType says what it is, as
 * https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md#guidelines-for-artifact-usage
 * has it. Its config is the empty one; its layers are streams of snapshots, and what is known of
 * these stands in their annotations.
 *
 * All of it comes from outside. One that was parsed has layers whose bases come before them, no
 * universal id twice, and ids that may be a volume's.
 */

#include "image/oci.h"

#define VARVE_ARTIFACT_TYPE        "application/vnd.varve.volume.v1"
#define VARVE_ARTIFACT_LAYER       "application/vnd.varve.snapshot.stream.v1"
#define VARVE_ARTIFACT_VOLUME      "varve.volume.id"
#define VARVE_ARTIFACT_VOLUME_TYPE "varve.volume.type"
#define VARVE_ARTIFACT_META        "varve.volume.meta."
#define VARVE_ARTIFACT_UUID        "varve.snapshot.uuid"
#define VARVE_ARTIFACT_BASE        "varve.snapshot.base"
#define VARVE_ARTIFACT_ID          "varve.snapshot.id"
#define VARVE_ARTIFACT_OF          "varve.snapshot.of"
#define VARVE_ARTIFACT_PAYLOAD     "varve.snapshot.payload"
#define VARVE_ARTIFACT_CREATED     "org.opencontainers.image.created"

/* The config, as the image specification gives it. */
#define VARVE_EMPTY_TYPE "application/vnd.oci.empty.v1+json"
#define VARVE_EMPTY_JSON "{}"

/* A snapshot. What it says stays the descriptor's. */
typedef struct {
    VarveDescriptor *descriptor;
    const char *uuid;
    const char *base; /* NULL: none */
    const char *id;
    const char *of;  /* NULL: none */
    gint64 created;  /* nanoseconds since the epoch; 0: not told */
    guint64 payload; /* 0: not told */
} VarveArtifactLayer;

typedef struct {
    char *volume;     /* NULL: none */
    char *type;       /* of the volume */
    GHashTable *meta; /* of the volume */
    GPtrArray *layers;
    GHashTable *by_uuid;
} VarveArtifact;

VarveArtifact *varve_artifact_new(void);
void varve_artifact_free(VarveArtifact *artifact);

/* VARVE_ERROR_FAILED_PRECONDITION: it is something else; VARVE_ERROR_INVALID_ARGUMENT: malformed.
 */
VarveArtifact *varve_artifact_parse(const char *text, gsize size, GError **error);

/* As a manifest. VARVE_ERROR_FAILED_PRECONDITION: it has become too large for one. */
GBytes *varve_artifact_format(const VarveArtifact *artifact, GError **error);

/* Adds a layer, whose annotations tell of the snapshot, to the end. The descriptor is taken. */
gboolean varve_artifact_add(VarveArtifact *artifact, VarveDescriptor *descriptor, GError **error);

/* NULL when it is not there. */
const VarveArtifactLayer *varve_artifact_find(const VarveArtifact *artifact, const char *uuid);

/* The layer of a snapshot by id, the newest one of it, or universal id; NULL: the last one.
 * VARVE_ERROR_NOT_FOUND. */
const VarveArtifactLayer *varve_artifact_choose(const VarveArtifact *artifact, const char *snapshot,
                                                GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveArtifact, varve_artifact_free)

#endif
