/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/daemon.h"
#include "daemon/diff-service.h"
#include "daemon/http.h"
#include "daemon/pools.h"
#include "daemon/signals.h"
#include "daemon/snapshots-service.h"
#include "daemon/socket.h"
#include "daemon/systemd.h"
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/varve/varved.conf"
#define GRACE_MS       30000

typedef struct {
    const VarveDaemonOptions *options;
    VarveConfig *config; /* as it was at the start */
    VarveSocket *socket; /* NULL when systemd handed it over */
    VarveEngine *engine;
    VarvePools *pools;
    VarveVolumes *volumes;
    VarveDiff diff;
    VarveGrpcServer *server;
    VarveHttpApi *http;

    /* Held while a signal is dealt with; guards the two below. Not a GMutex: the thread sanitizer
     * knows pthread's. */
    pthread_mutex_t lock;
    gboolean stopping;
    gboolean closing; /* what is above is going away: not to be used by signals */
} Daemon;

/* --- configuration -------------------------------------------------------------------------- */

/* An option's path is relative to where the daemon was started; the file knows no such place. */
static gboolean
set_path(VarveConfig *config, const char *name, const char *value, GError **error)
{
    g_autofree char *absolute = value != NULL ? g_canonicalize_filename(value, NULL) : NULL;
    return absolute == NULL || varve_config_set(config, name, absolute, error);
}

VarveConfig *
varve_daemon_load(const VarveDaemonOptions *options, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autoptr(VarveConfig) config =
        varve_config_load(options->config != NULL ? options->config : DEFAULT_CONFIG, &cause);
    if (config == NULL && options->config == NULL &&
        g_error_matches(cause, VARVE_ERROR, VARVE_ERROR_NOT_FOUND)) {
        config = varve_config_new();
    } else if (config == NULL) {
        g_propagate_error(error, g_steal_pointer(&cause));
        return NULL;
    }
    if (!set_path(config, "root", options->root, error) ||
        !set_path(config, "socket", options->socket, error) ||
        (options->log_level != NULL &&
         !varve_config_set(config, "log-level", options->log_level, error)) ||
        !varve_pools_check(config, error))
        return NULL;
    return g_steal_pointer(&config);
}

static void
warn_if_changed(const char *setting, const char *before, const char *now)
{
    if (g_strcmp0(before, now) != 0)
        varve_log(VARVE_LOG_WARNING, "a changed setting takes effect after a restart", "setting",
                  setting, "value", before != NULL ? before : "", "configured",
                  now != NULL ? now : "", NULL);
}

static void
warn_if_number_changed(const char *setting, guint before, guint now)
{
    g_autofree char *text_before = g_strdup_printf("%u", before);
    g_autofree char *text_now = g_strdup_printf("%u", now);
    warn_if_changed(setting, text_before, text_now);
}

static void
apply_reloaded(Daemon *daemon, VarveConfig *now)
{
    const VarveConfig *before = daemon->config;
    warn_if_changed("root", before->root, now->root);
    warn_if_changed("socket", before->socket, now->socket);
    warn_if_changed("socket-group", before->socket_group, now->socket_group);
    warn_if_number_changed("workers", before->workers, now->workers);
    warn_if_changed("diff content", before->diff_content, now->diff_content);
    warn_if_changed("diff containerd", before->diff_containerd, now->diff_containerd);
    warn_if_changed("http socket", before->http_socket, now->http_socket);
    warn_if_changed("http socket-group", before->http_socket_group, now->http_socket_group);
    warn_if_changed("http listen", before->http_listen, now->http_listen);
    warn_if_changed("http certificate", before->http_certificate, now->http_certificate);
    warn_if_changed("http key", before->http_key, now->http_key);
    warn_if_changed("http client-ca", before->http_client_ca, now->http_client_ca);
    warn_if_changed("http tokens", before->http_tokens, now->http_tokens);
    warn_if_number_changed("http timeout", before->http_timeout, now->http_timeout);
    warn_if_changed("docker socket", before->docker_socket, now->docker_socket);
    varve_log_set_level(now->log_level);
    varve_pools_apply(daemon->pools, now);
    varve_http_api_set_hosts(daemon->http, now);
}

static void
reload(Daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    varve_systemd_reloading();
    g_autoptr(VarveConfig) config = varve_daemon_load(daemon->options, &error);
    if (config == NULL) {
        varve_log(VARVE_LOG_ERROR, "configuration is refused, the one before stays", "error",
                  error->message, NULL);
    } else {
        apply_reloaded(daemon, config);
        varve_log(VARVE_LOG_INFO, "configuration reloaded", "config", config->file, NULL);
    }
    varve_systemd_ready();
}

/* --- signals -------------------------------------------------------------------------------- */

/* The path goes first, while the descriptor still tells that it is ours; a successor may then take
 * it at once. */
static void
remove_socket(Daemon *daemon)
{
    if (daemon->socket != NULL)
        varve_socket_unlink(daemon->socket);
    g_clear_pointer(&daemon->socket, varve_socket_free);
}

static void
stop(Daemon *daemon)
{
    if (!daemon->stopping) {
        daemon->stopping = TRUE;
        varve_log(VARVE_LOG_INFO, "stopping: finishing the calls in flight", NULL);
        varve_systemd_stopping();
        remove_socket(daemon);
        varve_http_api_stop(daemon->http, GRACE_MS);
        varve_grpc_server_stop(daemon->server, GRACE_MS);
        return;
    }
    varve_log(VARVE_LOG_WARNING, "stopping now: what is unfinished is left to the next start",
              NULL);
    if (daemon->closing)
        _exit(0); /* only the freeing of removed snapshots was still waited for */
    varve_engine_cancel(daemon->engine);
    varve_http_api_stop(daemon->http, 0);
    varve_grpc_server_stop(daemon->server, 0);
}

static void
handle_signal(int number, gpointer data)
{
    Daemon *daemon = data;
    pthread_mutex_lock(&daemon->lock);
    if (number != SIGHUP)
        stop(daemon);
    else if (!daemon->stopping)
        reload(daemon);
    pthread_mutex_unlock(&daemon->lock);
}

/* --- life ----------------------------------------------------------------------------------- */

static void
add_listeners(Daemon *daemon, GArray *handed_over)
{
    for (guint i = 0; i < handed_over->len; i++)
        varve_grpc_server_add_listener(daemon->server, g_array_index(handed_over, int, i));
    if (daemon->socket != NULL)
        varve_grpc_server_add_listener(daemon->server, varve_socket_steal_fd(daemon->socket));
    varve_log(VARVE_LOG_INFO, "listening", "socket",
              daemon->socket != NULL ? daemon->config->socket : "handed over by systemd", NULL);
}

/* Volumes that cannot be mounted, which the library logs, do not stop the rest. */
static gboolean
mount_volumes(Daemon *daemon, GError **error)
{
    VarveVolumesResult result;
    daemon->volumes = varve_volumes_open(daemon->engine, error);
    if (daemon->volumes == NULL || !varve_volumes_mount_all(daemon->volumes, &result, error))
        return FALSE;
    g_autofree char *mounted = g_strdup_printf("%" G_GUINT64_FORMAT, result.done);
    g_autofree char *skipped = g_strdup_printf("%" G_GUINT64_FORMAT, result.failed);
    if (result.done + result.failed > 0)
        varve_log(VARVE_LOG_INFO, "volumes are mounted", "mounted", mounted, "skipped", skipped,
                  NULL);
    return TRUE;
}

/* Those that are in use stay: the next start finds them. */
static void
unmount_volumes(Daemon *daemon)
{
    VarveVolumesResult result;
    g_autoptr(GError) error = NULL;
    if (!varve_volumes_unmount_all(daemon->volumes, &result, &error))
        varve_log(VARVE_LOG_WARNING, "volumes are not unmounted", "error", error->message, NULL);
    g_clear_pointer(&daemon->volumes, varve_volumes_close);
}

/* The socket comes first: when another daemon has it, nothing else is touched. Who connects from
 * then on waits until the rest is there. */
static gboolean
start(Daemon *daemon, GError **error)
{
    g_autoptr(GArray) handed_over = NULL, http = NULL;
    if (!varve_systemd_listeners(&handed_over, &http, error))
        return FALSE;
    if (handed_over->len == 0) {
        daemon->socket =
            varve_socket_new(daemon->config->socket, daemon->config->socket_group, error);
        if (daemon->socket == NULL)
            return FALSE;
    }
    daemon->http = varve_http_api_new(daemon->config, http, error);
    if (daemon->http == NULL)
        return FALSE;
    daemon->engine = varve_engine_open(daemon->config->root, VARVE_ENGINE_DEFAULT, error);
    if (daemon->engine == NULL)
        return FALSE;
    daemon->pools = varve_pools_new(daemon->engine);
    varve_pools_apply(daemon->pools, daemon->config);
    if (!mount_volumes(daemon, error))
        return FALSE;
    daemon->server =
        varve_grpc_server_new(varve_snapshots_methods, daemon->pools, daemon->config->workers);
    daemon->diff = (VarveDiff){daemon->engine, daemon->config};
    varve_grpc_server_add_methods(daemon->server, varve_diff_methods, &daemon->diff);
    add_listeners(daemon, handed_over);
    return varve_http_api_start(daemon->http, daemon->engine, daemon->volumes, daemon->server,
                                error);
}

static gboolean
serve(Daemon *daemon, GError **error)
{
    g_autoptr(VarveSignals) signals = varve_signals_new(handle_signal, daemon, error);
    if (signals == NULL)
        return FALSE;
    varve_systemd_ready();
    gboolean served = varve_grpc_server_run(daemon->server, error);

    VarveGrpcStats stats;
    varve_grpc_server_stats(daemon->server, &stats);
    if (!served)
        varve_http_api_stop(daemon->http, 0);
    gboolean finished = varve_http_api_finish(daemon->http);
    if (stats.active_calls > 0 || !finished) /* the grace is over, and they still work */
        varve_engine_cancel(daemon->engine);
    pthread_mutex_lock(&daemon->lock);
    daemon->stopping = daemon->closing = TRUE;
    remove_socket(daemon);
    pthread_mutex_unlock(&daemon->lock);

    /* A signal may still come, and ends the process then: closing the engine can take long. */
    g_clear_pointer(&daemon->http, varve_http_api_free);
    g_clear_pointer(&daemon->server, varve_grpc_server_free);
    unmount_volumes(daemon);
    g_clear_pointer(&daemon->pools, varve_pools_free);
    g_clear_pointer(&daemon->engine, varve_engine_close);
    return served;
}

static void
clear(Daemon *daemon)
{
    remove_socket(daemon);
    varve_http_api_free(daemon->http);
    varve_grpc_server_free(daemon->server);
    varve_volumes_close(daemon->volumes);
    varve_pools_free(daemon->pools);
    varve_engine_close(daemon->engine);
    varve_config_free(daemon->config);
    pthread_mutex_destroy(&daemon->lock);
}

gboolean
varve_daemon_run(const VarveDaemonOptions *options, GError **error)
{
    Daemon daemon = {.options = options};
    daemon.config = varve_daemon_load(options, error);
    if (daemon.config == NULL)
        return FALSE;
    pthread_mutex_init(&daemon.lock, NULL);
    varve_log_set_level(daemon.config->log_level);
    varve_log(VARVE_LOG_INFO, "varved starts", "version", VARVE_VERSION, "root",
              daemon.config->root, "config", daemon.config->file, NULL);
    gboolean done = start(&daemon, error) && serve(&daemon, error);
    clear(&daemon);
    if (done)
        varve_log(VARVE_LOG_INFO, "varved ended", NULL);
    return done;
}
