/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http-internal.h"
#include <string.h>
#include <unistd.h>

#define CONNECTION_MEMORY (64 * 1024) /* a request's head must fit */
#define CIPHERS           "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

const gint64 varve_http_buckets[VARVE_HTTP_BUCKETS] = {500,    1000,   2500,    5000,    10000,
                                                       100000, 500000, 1000000, 5000000, 30000000};

static void
free_port(gpointer data)
{
    VarveHttpPort *port = data;
    if (port->daemon != NULL)
        MHD_stop_daemon(port->daemon);
    varve_http_auth_free(port->auth);
    g_free(port);
}

VarveHttpServer *
varve_http_server_new(const VarveHttpLimits *limits)
{
    pthread_condattr_t monotonic;
    VarveHttpServer *self = g_new0(VarveHttpServer, 1);
    self->limits = (VarveHttpLimits){
        .body = limits->body > 0 ? limits->body : 1024 * 1024,
        .connections = limits->connections > 0 ? limits->connections : 512,
        .request_seconds = limits->request_seconds > 0 ? limits->request_seconds : 20,
        .idle_seconds = limits->idle_seconds > 0 ? limits->idle_seconds : 60,
    };
    self->services = g_ptr_array_new_with_free_func(g_free);
    self->ports = g_ptr_array_new_with_free_func(free_port);
    self->hubs = g_ptr_array_new_with_free_func(varve_http_hub_free);
    self->peers = g_hash_table_new_full(NULL, NULL, g_free, NULL);
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&self->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return self;
}

void
varve_http_server_add_routes(VarveHttpServer *self, const VarveHttpRoute *routes, gpointer data)
{
    for (; routes->method != NULL; routes++) {
        VarveHttpService *service = g_new0(VarveHttpService, 1);
        service->route = routes;
        service->data = data;
        service->stats.method = routes->method;
        service->stats.pattern = routes->pattern;
        g_ptr_array_add(self->services, service);
    }
}

VarveHttpHub *
varve_http_server_add_hub(VarveHttpServer *self)
{
    VarveHttpHub *hub = varve_http_hub_new(self);
    g_ptr_array_add(self->hubs, hub);
    return hub;
}

/* --- sockets -------------------------------------------------------------------------------- */

/* Paths and queries come as they are: what is decoded first can no longer be told apart. */
static size_t
leave_escaped(void *data, struct MHD_Connection *connection, char *text)
{
    return strlen(text);
}

static void
add_tls(GArray *options, const VarveHttpAuth *auth)
{
    const struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)varve_http_auth_certificate(auth)},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)varve_http_auth_key(auth)},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)CIPHERS},
        {MHD_OPTION_HTTPS_MEM_TRUST, 0, (void *)varve_http_auth_client_ca(auth)},
    };
    guint n = tls[3].ptr_value != NULL ? 4 : 3;
    g_array_append_vals(options, tls, n);
}

static struct MHD_Daemon *
start_daemon(VarveHttpPort *port, int fd)
{
    const VarveHttpLimits *limits = &port->server->limits;
    guint flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
                  MHD_USE_ITC;
    const struct MHD_OptionItem end = {MHD_OPTION_END, 0, NULL};
    g_autoptr(GArray) options = g_array_new(FALSE, FALSE, sizeof(struct MHD_OptionItem));
    if (port->auth != NULL && varve_http_auth_certificate(port->auth) != NULL) {
        flags |= MHD_USE_TLS;
        add_tls(options, port->auth);
    }
    g_array_append_val(options, end);
    /* Who comes from anywhere may take half of the places. */
    guint per_address = port->auth != NULL ? MAX(limits->connections / 2, 1) : 0;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, varve_http_exchange, port, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, limits->connections, MHD_OPTION_CONNECTION_TIMEOUT,
        limits->idle_seconds, MHD_OPTION_PER_IP_CONNECTION_LIMIT, per_address,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_UNESCAPE_CALLBACK,
        leave_escaped, NULL, MHD_OPTION_NOTIFY_CONNECTION, varve_http_peer_changed, port,
        MHD_OPTION_NOTIFY_COMPLETED, varve_http_exchange_ended, port, MHD_OPTION_ARRAY,
        options->data, MHD_OPTION_END);
}

gboolean
varve_http_server_listen(VarveHttpServer *self, int fd, VarveHttpAuth *auth, GError **error)
{
    VarveHttpPort *port = g_new0(VarveHttpPort, 1);
    port->server = self;
    port->auth = auth;
    varve_http_peers_watch(self);
    port->daemon = start_daemon(port, fd);
    if (port->daemon != NULL) {
        g_ptr_array_add(self->ports, port);
        return TRUE;
    }
    close(fd);
    free_port(port);
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "HTTP cannot be served: is the certificate right, and its key?");
}

/* --- the end -------------------------------------------------------------------------------- */

/* Who connects from now on waits for a successor, if the socket has one. */
static void
stop_accepting(VarveHttpServer *self)
{
    for (guint i = 0; i < self->ports->len; i++) {
        int fd = MHD_quiesce_daemon(((VarveHttpPort *)self->ports->pdata[i])->daemon);
        if (fd >= 0)
            close(fd);
    }
    for (guint i = 0; i < self->hubs->len; i++)
        varve_http_hub_close(self->hubs->pdata[i]);
}

void
varve_http_server_stop(VarveHttpServer *self, guint grace_ms)
{
    pthread_mutex_lock(&self->lock);
    gboolean first = !self->stopping;
    self->stopping = TRUE;
    self->stop_by = g_get_monotonic_time() + (gint64)grace_ms * 1000;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
    if (first)
        stop_accepting(self);
}

gboolean
varve_http_server_finish(VarveHttpServer *self)
{
    pthread_mutex_lock(&self->lock);
    while (self->stats.active > 0 && g_get_monotonic_time() < self->stop_by) {
        struct timespec until = {.tv_sec = self->stop_by / G_USEC_PER_SEC,
                                 .tv_nsec = self->stop_by % G_USEC_PER_SEC * 1000};
        pthread_cond_timedwait(&self->changed, &self->lock, &until);
    }
    gboolean done = self->stats.active == 0;
    pthread_mutex_unlock(&self->lock);
    return done;
}

void
varve_http_server_free(VarveHttpServer *self)
{
    if (self == NULL)
        return;
    varve_http_server_stop(self, 0);
    g_ptr_array_unref(self->ports); /* waits for their threads */
    pthread_mutex_lock(&self->lock);
    self->ending = TRUE;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
    if (self->watch != NULL)
        g_thread_join(self->watch);
    g_ptr_array_unref(self->hubs);
    g_ptr_array_unref(self->services);
    g_hash_table_unref(self->peers);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    g_free(self);
}

/* --- figures -------------------------------------------------------------------------------- */

void
varve_http_server_stats(VarveHttpServer *self, VarveHttpStats *stats)
{
    pthread_mutex_lock(&self->lock);
    *stats = self->stats;
    pthread_mutex_unlock(&self->lock);
}

GArray *
varve_http_server_route_stats(VarveHttpServer *self)
{
    GArray *all = g_array_new(FALSE, FALSE, sizeof(VarveHttpRouteStats));
    pthread_mutex_lock(&self->lock);
    for (guint i = 0; i < self->services->len; i++) {
        const VarveHttpService *service = self->services->pdata[i];
        guint64 answered = 0;
        for (gsize j = 0; j < G_N_ELEMENTS(service->stats.statuses); j++)
            answered += service->stats.statuses[j];
        if (answered > 0)
            g_array_append_val(all, service->stats);
    }
    pthread_mutex_unlock(&self->lock);
    return all;
}
