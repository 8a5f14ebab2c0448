/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_DOCKER_ARCHIVE_H
#define VARVE_IMAGE_DOCKER_ARCHIVE_H

/*
 * What 'docker save' writes ("Combined Image JSON + Filesystem Changeset Format" in Docker's image
 * specification v1.2): a tar with
 *
 *     manifest.json      [{"Config": "HEX.json", "RepoTags": ["debian:12"],
 *                          "Layers": ["ID/layer.tar", ...]}, ...]
 *     HEX.json           configs
 *     ID/layer.tar       layers, plain or compressed; links to one another where they are equal
 *
 * There are no manifests in it in the sense of registries, so one is made for each image. It is
 * OCI's, and depends on nothing but the blobs.
 */

#include "image/import.h"

#define VARVE_DOCKER_MANIFEST "manifest.json"
#define VARVE_DOCKER_MAX      VARVE_MAX_MANIFEST

/* Finds the blob that a path in the archive leads to; NULL with the error set. */
typedef const char *(*VarveDockerResolve)(const char *path, gpointer data, GError **error);

/* Makes the manifests of the images in manifest.json: GPtrArray of VarveOffer*. */
GPtrArray *varve_docker_parse(VarveImport *import, const char *text, gsize size,
                              VarveDockerResolve resolve, gpointer data, GError **error);

#endif
