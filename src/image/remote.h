/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_REMOTE_H
#define VARVE_IMAGE_REMOTE_H

/* The registry that a pull or push speaks to, set up as its caller wishes. */

#include "image/internal.h"
#include "image/registry/client.h"

typedef struct {
    const VarveRegistryClient *client; /* of the module, which is loaded by then */
    VarveRegistry *registry;
    const VarveReference *name; /* of the image there; stays the caller's */
} VarveRemote;

gboolean varve_remote_open(VarveRemote *remote, const VarveReference *name,
                           const VarveImageRemote *options, GError **error);
void varve_remote_clear(VarveRemote *remote);

/* What the name stands for there. VARVE_ERROR_NOT_FOUND. */
VarveDescriptor *varve_remote_resolve(const VarveRemote *remote, const VarveReference *name,
                                      const gint *cancelled, GError **error);

/* Something else in the name's repository, by its digest. */
static inline VarveReference
varve_remote_at(const VarveRemote *remote, const char *digest)
{
    return (VarveReference){
        .domain = remote->name->domain, .path = remote->name->path, .digest = (char *)digest};
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveRemote, varve_remote_clear)

#endif
