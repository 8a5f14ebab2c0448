/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_REGISTRY_CLIENT_H
#define VARVE_IMAGE_REGISTRY_CLIENT_H

/*
 * What libvarve uses of registry.h, as the module libvarve-registry.so offers it: libcurl, and all
 * that it is made of, is loaded by those only who speak to a registry.
 */

#include "image/registry/registry.h"

typedef struct {
    VarveRegistry *(*open)(const VarveRegistrySettings *settings, GError **error);
    void (*close)(VarveRegistry *registry);
    gboolean (*resolve)(VarveRegistry *registry, const VarveReference *name,
                        VarveRegistryDescriptor *descriptor, const VarveRegistryWatch *watch,
                        GError **error);
    GBytes *(*fetch_manifest)(VarveRegistry *registry, const VarveReference *name,
                              VarveRegistryDescriptor *descriptor, const VarveRegistryWatch *watch,
                              GError **error);
    gboolean (*push_manifest)(VarveRegistry *registry, const VarveReference *name,
                              const char *media_type, GBytes *bytes,
                              VarveRegistryDescriptor *descriptor, const VarveRegistryWatch *watch,
                              GError **error);
    gboolean (*fetch_blob)(VarveRegistry *registry, const VarveReference *name,
                           const VarveRegistryDescriptor *blob, guint64 offset,
                           const VarveRegistryReceiver *receiver, const VarveRegistryWatch *watch,
                           GError **error);
    gboolean (*push_blob)(VarveRegistry *registry, const VarveReference *name,
                          const VarveRegistryDescriptor *blob, const VarveRegistryContent *content,
                          const char *from, VarveRegistryPushed *how,
                          const VarveRegistryWatch *watch, GError **error);
    GPtrArray *(*tags)(VarveRegistry *registry, const VarveReference *name,
                       const VarveRegistryWatch *watch, GError **error);
    VarveRegistryUpload *(*upload_new)(VarveRegistry *registry, const VarveReference *name,
                                       const VarveRegistryWatch *watch);
    gboolean (*upload_write)(VarveRegistryUpload *upload, const void *bytes, gsize size,
                             GError **error);
    gboolean (*upload_finish)(VarveRegistryUpload *upload, VarveRegistryDescriptor *blob,
                              VarveRegistryPushed *how, GError **error);
    gboolean (*upload_is_lost)(const VarveRegistryUpload *upload);
    void (*upload_free)(VarveRegistryUpload *upload);
} VarveRegistryClient;

#endif
