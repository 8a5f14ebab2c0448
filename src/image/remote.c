/* SPDX-License-Identifier: Apache-2.0 */
#include "image/remote.h"
#include "base/module.h"
#include <string.h>

/* The host of "https://HOST/PATH", where the scheme and the path may be missing. */
static char *
host_of_mirror(const char *mirror)
{
    const char *rest = strstr(mirror, "://");
    rest = rest != NULL ? rest + strlen("://") : mirror;
    return g_strndup(rest, strcspn(rest, "/"));
}

/* What holds for the registry holds for its mirrors, but for who one is there. */
static void
add_mirrors(GArray *hosts, const VarveImageRemote *options, GPtrArray *names)
{
    const char *const *mirror = options->mirrors;
    for (; mirror != NULL && *mirror != NULL; mirror++) {
        char *name = host_of_mirror(*mirror);
        const VarveRegistryHost host = {
            .name = name, .plain_http = options->plain_http, .ca_file = options->ca_file};
        g_ptr_array_add(names, name);
        g_array_append_val(hosts, host);
    }
}

static gboolean
open_registry(VarveRemote *remote, const VarveImageRemote *options, GError **error)
{
    g_autoptr(GArray) hosts = g_array_new(FALSE, FALSE, sizeof(VarveRegistryHost));
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const VarveRegistryHost own = {
        .name = remote->name->domain,
        .mirrors = options->mirrors,
        .plain_http = options->plain_http,
        .ca_file = options->ca_file,
        .username = options->username,
        .password = options->password,
    };
    g_array_append_val(hosts, own);
    add_mirrors(hosts, options, names);
    const VarveRegistrySettings settings = {
        .hosts = (const VarveRegistryHost *)hosts->data,
        .n_hosts = hosts->len,
        .certificates_dir = options->certificates_dir,
        .auth_file = options->auth_file,
        .retries = options->retries < 0 ? VARVE_REGISTRY_NO_RETRIES : (guint)options->retries,
    };
    remote->registry = remote->client->open(&settings, error);
    return remote->registry != NULL;
}

gboolean
varve_remote_open(VarveRemote *remote, const VarveReference *name, const VarveImageRemote *options,
                  GError **error)
{
    *remote = (VarveRemote){.name = name};
    remote->client = varve_module_load(
        "registry", "the part that speaks to registries, libvarve-registry,", error);
    return remote->client != NULL && open_registry(remote, options, error);
}

void
varve_remote_clear(VarveRemote *remote)
{
    if (remote->registry != NULL)
        remote->client->close(remote->registry);
    *remote = (VarveRemote){0};
}

VarveDescriptor *
varve_remote_resolve(const VarveRemote *remote, const VarveReference *name, const gint *cancelled,
                     GError **error)
{
    const VarveRegistryWatch watch = {.cancelled = cancelled};
    VarveRegistryDescriptor found = {0};
    if (!remote->client->resolve(remote->registry, name, &found, &watch, error))
        return NULL;
    VarveDescriptor *descriptor = varve_descriptor_new(
        found.media_type != NULL ? found.media_type : "", found.digest, found.size);
    g_free(found.media_type);
    g_free(found.digest);
    return descriptor;
}
