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
};

VARVE_SHARED const VarveModule varve_module = {VARVE_VERSION, &client};
