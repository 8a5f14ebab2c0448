/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/http-hosts.h"
#include <pthread.h>

struct VarveHttpHosts {
    pthread_mutex_t lock;
    VarveHosts *hosts;
};

VarveHttpHosts *
varve_http_hosts_new(void)
{
    VarveHttpHosts *self = g_new0(VarveHttpHosts, 1);
    pthread_mutex_init(&self->lock, NULL);
    self->hosts = varve_hosts_new();
    return self;
}

void
varve_http_hosts_free(VarveHttpHosts *self)
{
    if (self == NULL)
        return;
    varve_hosts_free(self->hosts);
    pthread_mutex_destroy(&self->lock);
    g_free(self);
}

void
varve_http_hosts_set(VarveHttpHosts *self, VarveConfig *config)
{
    VarveHosts *hosts = g_steal_pointer(&config->hosts);
    pthread_mutex_lock(&self->lock);
    VarveHosts *before = self->hosts;
    self->hosts = hosts;
    pthread_mutex_unlock(&self->lock);
    varve_hosts_free(before);
}

VarveHost *
varve_http_hosts_open(VarveHttpHosts *self, const char *name, VarveEngine *engine, GError **error)
{
    pthread_mutex_lock(&self->lock);
    VarveHost *host = varve_host_open(self->hosts, name, engine, error);
    pthread_mutex_unlock(&self->lock);
    return host;
}
