/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/http.h"
#include "daemon/http-hosts.h"
#include "daemon/http-tcp.h"
#include "daemon/socket.h"
#include <string.h>
#include <unistd.h>

struct VarveHttpApi {
    VarveHttpContext context;
    VarveSocket *socket; /* NULL: it is systemd's, or there is none */
    GArray *fds;         /* unix sockets that are not served yet */
    int tcp;             /* the same; -1: none */
    VarveHttpAuth *auth;
    VarveHttpServer *docker; /* NULL: there is none */
    VarveSocket *docker_socket;
};

static const VarveHttpRoute *const services[] = {
    varve_http_system_routes, varve_http_metrics_routes, varve_http_pool_routes,
    varve_http_volume_routes, varve_http_image_routes,
};

/* --- sockets -------------------------------------------------------------------------------- */

/* "/run/varve/varved.sock" gives "/run/varve/varved-http.sock". */
static char *
socket_path(const VarveConfig *config)
{
    if (config->http_socket != NULL)
        return g_strdup(config->http_socket);
    const char *other = config->socket;
    gsize stem = strlen(other) - (g_str_has_suffix(other, ".sock") ? strlen(".sock") : 0);
    return g_strdup_printf("%.*s-http.sock", (int)stem, other);
}

static gboolean
make_socket(VarveHttpApi *self, const VarveConfig *config, GError **error)
{
    if (self->fds->len > 0 || g_strcmp0(config->http_socket, "none") == 0)
        return TRUE;
    g_autofree char *path = socket_path(config);
    self->socket = varve_socket_new(path, config->http_socket_group, error);
    if (self->socket == NULL) {
        g_prefix_error(error, "HTTP API: ");
        return FALSE;
    }
    int fd = varve_socket_steal_fd(self->socket);
    g_array_append_val(self->fds, fd);
    varve_log(VARVE_LOG_INFO, "HTTP API", "socket", path, NULL);
    return TRUE;
}

/* A server of its own: none of its routes is to be had by the API's sockets. */
static gboolean
make_docker(VarveHttpApi *self, const VarveConfig *config, GError **error)
{
    const VarveHttpLimits limits = {0};
    if (config->docker_socket == NULL)
        return TRUE;
    self->docker_socket = varve_socket_new(config->docker_socket, NULL, error);
    if (self->docker_socket == NULL) {
        g_prefix_error(error, "section [docker]: ");
        return FALSE;
    }
    self->docker = varve_http_server_new(&limits);
    varve_log(VARVE_LOG_INFO, "docker's volume plugin", "socket", config->docker_socket, NULL);
    return TRUE;
}

static gboolean
make_tcp(VarveHttpApi *self, const VarveConfig *config, GError **error)
{
    gboolean local = FALSE;
    const VarveHttpAuthFiles files = {.certificate = config->http_certificate,
                                      .key = config->http_key,
                                      .client_ca = config->http_client_ca,
                                      .tokens = config->http_tokens};
    if (config->http_listen == NULL)
        return TRUE;
    self->auth = varve_http_auth_new(&files, error);
    if (self->auth == NULL)
        return FALSE;
    self->tcp = varve_http_tcp_listen(config->http_listen, &local, error);
    if (self->tcp < 0)
        return FALSE;
    if (!local && files.certificate == NULL) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                    "tokens would go over the network to %s as plain text: set certificate and key",
                    config->http_listen);
        return FALSE;
    }
    varve_log(VARVE_LOG_INFO, "HTTP API", "listen", config->http_listen, NULL);
    return TRUE;
}

VarveHttpApi *
varve_http_api_new(VarveConfig *config, GArray *handed_over, GError **error)
{
    VarveHttpApi *self = g_new0(VarveHttpApi, 1);
    const VarveHttpLimits limits = {.idle_seconds = config->http_timeout};
    self->fds = g_array_ref(handed_over);
    self->tcp = -1;
    self->context.server = varve_http_server_new(&limits);
    self->context.hosts = varve_http_hosts_new();
    varve_http_hosts_set(self->context.hosts, config);
    if (!make_socket(self, config, error) || !make_tcp(self, config, error))
        g_prefix_error(error, "section [http]: ");
    else if (make_docker(self, config, error))
        return self;
    varve_http_api_free(self);
    return NULL;
}

/* --- life ----------------------------------------------------------------------------------- */

static gboolean
listen_all(VarveHttpApi *self, GError **error)
{
    VarveHttpServer *server = self->context.server;
    while (self->fds->len > 0) {
        int fd = g_array_index(self->fds, int, self->fds->len - 1);
        g_array_set_size(self->fds, self->fds->len - 1);
        if (!varve_http_server_listen(server, fd, NULL, error))
            return FALSE;
    }
    if (self->docker != NULL &&
        !varve_http_server_listen(self->docker, varve_socket_steal_fd(self->docker_socket), NULL,
                                  error))
        return FALSE;
    if (self->tcp < 0)
        return TRUE;
    int fd = self->tcp;
    self->tcp = -1;
    return varve_http_server_listen(server, fd, g_steal_pointer(&self->auth), error);
}

gboolean
varve_http_api_start(VarveHttpApi *self, VarveEngine *engine, VarveVolumes *volumes,
                     VarveGrpcServer *grpc, GError **error)
{
    VarveHttpContext *context = &self->context;
    context->engine = engine;
    context->volumes = volumes;
    context->grpc = grpc;
    context->started = g_get_monotonic_time();
    context->images = varve_images_open(engine, error);
    if (context->images == NULL)
        return FALSE;
    context->volume_events = varve_http_server_add_hub(context->server);
    for (gsize i = 0; i < G_N_ELEMENTS(services); i++)
        varve_http_server_add_routes(context->server, services[i], context);
    if (self->docker != NULL)
        varve_http_server_add_routes(self->docker, varve_docker_routes, context);
    if (listen_all(self, error))
        return TRUE;
    g_prefix_error(error, "section [http]: ");
    return FALSE;
}

static void
remove_socket(VarveSocket **socket)
{
    if (*socket != NULL)
        varve_socket_unlink(*socket);
    g_clear_pointer(socket, varve_socket_free);
}

void
varve_http_api_set_hosts(VarveHttpApi *self, VarveConfig *config)
{
    varve_http_hosts_set(self->context.hosts, config);
}

void
varve_http_api_stop(VarveHttpApi *self, guint grace_ms)
{
    remove_socket(&self->socket);
    remove_socket(&self->docker_socket);
    varve_http_server_stop(self->context.server, grace_ms);
    if (self->docker != NULL)
        varve_http_server_stop(self->docker, grace_ms);
}

gboolean
varve_http_api_finish(VarveHttpApi *self)
{
    gboolean finished = self->docker == NULL || varve_http_server_finish(self->docker);
    return varve_http_server_finish(self->context.server) && finished;
}

void
varve_http_api_free(VarveHttpApi *self)
{
    if (self == NULL)
        return;
    remove_socket(&self->socket);
    remove_socket(&self->docker_socket);
    g_clear_pointer(&self->docker, varve_http_server_free);
    varve_http_server_free(self->context.server);
    for (guint i = 0; i < self->fds->len; i++)
        close(g_array_index(self->fds, int, i));
    if (self->tcp >= 0)
        close(self->tcp);
    g_array_unref(self->fds);
    varve_http_auth_free(self->auth);
    varve_http_hosts_free(self->context.hosts);
    if (self->context.images != NULL)
        varve_images_close(self->context.images);
    g_free(self);
}
