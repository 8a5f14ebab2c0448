/* SPDX-License-Identifier: Apache-2.0 */
#include "base/module.h"
#include "image/registry/client.h"

static const VarveRegistryClient client = {
    .open = varve_registry_new,
    .close = varve_registry_free,
    .resolve = varve_registry_resolve,
    .fetch_manifest = varve_registry_fetch_manifest,
    .push_manifest = varve_registry_push_manifest,
    .fetch_blob = varve_registry_fetch_blob,
    .push_blob = varve_registry_push_blob,
    .tags = varve_registry_tags,
    .upload_new = varve_registry_upload_new,
    .upload_write = varve_registry_upload_write,
    .upload_finish = varve_registry_upload_finish,
    .upload_is_lost = varve_registry_upload_is_lost,
    .upload_free = varve_registry_upload_free,
};

VARVE_SHARED const VarveModule varve_module = {VARVE_VERSION, &client};
