/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/internal.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <varve/error.h>

#define DEFAULT_WORKERS 64
#define EVENTS_AT_ONCE  64
#define MAX_DELIVERIES  8 /* in a row, by one worker */

/* The eventfd is watched edge-triggered: every write to it wakes the loop, no read is needed. */
static void
wakeup_ready(VarveGrpcWatch *watch, guint32 events)
{
}

static void
run_call(gpointer call)
{
    varve_grpc_request_run(call);
}

/* What nghttp2 shall keep and allow. Its other limits (resets per second, continuations) are right
 * as they come. */
static nghttp2_option *
make_option(void)
{
    nghttp2_option *option;
    if (nghttp2_option_new(&option) != 0)
        g_error("out of memory");
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, 256); /* unsent answers to PING and SETTINGS */
    nghttp2_option_set_max_settings(option, 32);
    return option;
}

void
varve_grpc_server_add_methods(VarveGrpcServer *server, const VarveGrpcMethod *methods,
                              gpointer data)
{
    for (const VarveGrpcMethod *m = methods; m->path != NULL; m++) {
        VarveGrpcService *service = g_new(VarveGrpcService, 1);
        *service = (VarveGrpcService){m, data};
        g_hash_table_insert(server->methods, (gpointer)m->path, service);
    }
}

VarveGrpcServer *
varve_grpc_server_new(const VarveGrpcMethod *methods, gpointer data, guint max_workers)
{
    VarveGrpcServer *server = g_new0(VarveGrpcServer, 1);
    server->methods = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
    varve_grpc_server_add_methods(server, methods, data);
    server->workers = varve_workers_new(run_call, max_workers != 0 ? max_workers : DEFAULT_WORKERS);
    if (nghttp2_session_callbacks_new(&server->callbacks) != 0)
        g_error("out of memory");
    varve_grpc_connection_callbacks(server->callbacks);
    server->option = make_option();
    server->listeners = g_ptr_array_new_with_free_func(varve_grpc_listener_free);
    server->input = g_malloc(INPUT_SIZE);
    server->output = g_byte_array_new();
    pthread_condattr_init(&server->monotonic);
    pthread_condattr_setclock(&server->monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&server->lock, NULL);
    pthread_mutex_init(&server->loop, NULL);

    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll < 0)
        server->problem = errno;
    server->wakeup = (VarveGrpcWatch){eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), wakeup_ready};
    if (server->wakeup.fd < 0)
        server->problem = errno;
    return server;
}

static void
free_closed(VarveGrpcServer *server)
{
    GList *link;
    while ((link = g_queue_pop_head_link(&server->closed)) != NULL)
        varve_grpc_connection_free(link->data);
}

static void
close_connections(VarveGrpcServer *server)
{
    while (server->connections.head != NULL)
        varve_grpc_connection_close(server->connections.head->data);
    free_closed(server);
}

void
varve_grpc_server_free(VarveGrpcServer *server)
{
    if (server == NULL)
        return;
    close_connections(server);
    varve_workers_free(server->workers); /* handlers that still run see dead calls, and end */
    g_ptr_array_unref(server->listeners);
    nghttp2_option_del(server->option);
    nghttp2_session_callbacks_del(server->callbacks);
    g_hash_table_unref(server->methods);
    if (server->epoll >= 0)
        close(server->epoll);
    if (server->wakeup.fd >= 0)
        close(server->wakeup.fd);
    pthread_mutex_destroy(&server->loop);
    pthread_mutex_destroy(&server->lock);
    pthread_condattr_destroy(&server->monotonic);
    g_byte_array_unref(server->output);
    g_free(server->input);
    g_free(server);
}

gboolean
varve_grpc_server_hold(VarveGrpcServer *server, gsize bytes)
{
    if (g_atomic_int_add(&server->held, (gint)bytes) <= MAX_HELD - (gint)bytes)
        return TRUE;
    varve_grpc_server_release(server, bytes);
    return FALSE;
}

void
varve_grpc_server_release(VarveGrpcServer *server, gsize bytes)
{
    g_atomic_int_add(&server->held, -(gint)bytes);
}

void
varve_grpc_server_wake(VarveGrpcServer *server)
{
    guint64 one = 1;
    /* It fails only when the counter is at its top; then a wake is due anyway. */
    if (write(server->wakeup.fd, &one, sizeof(one)) < 0)
        return;
}

void
varve_grpc_server_stop(VarveGrpcServer *server, guint grace_ms)
{
    int saved = errno;
    g_atomic_int_set(&server->grace, (gint)MIN(grace_ms, (guint)G_MAXINT));
    g_atomic_int_set(&server->stop, 1);
    varve_grpc_server_wake(server);
    errno = saved;
}

void
varve_grpc_server_stats(VarveGrpcServer *server, VarveGrpcStats *stats)
{
    stats->connections = g_atomic_pointer_get(&server->n_connections);
    stats->calls = g_atomic_pointer_get(&server->n_calls);
    stats->active_calls = g_atomic_pointer_get(&server->n_active);
}

/* --- time ------------------------------------------------------------------------------------ */

static void
sooner(gint64 *time, gint64 other)
{
    if (other != 0 && (*time == 0 || other < *time))
        *time = other;
}

void
varve_grpc_server_time_call(VarveGrpcServer *server, VarveGrpcCall *call)
{
    g_queue_push_tail_link(&server->timed, &call->timed_link);
    call->timed = TRUE;
    sooner(&server->next_deadline, call->deadline);
}

/* Calls come and go much faster than their deadlines, so they are kept unsorted, and looked through
 * when the earliest deadline that was seen has come; its call is probably gone by then. */
static void
expire_calls(VarveGrpcServer *server, gint64 now)
{
    if (server->next_deadline == 0 || now < server->next_deadline)
        return;
    server->next_deadline = 0;
    for (GList *l = server->timed.head, *next; l != NULL; l = next) {
        next = l->next;
        VarveGrpcCall *call = l->data;
        if (call->deadline <= now)
            varve_grpc_call_expire(call);
        else
            sooner(&server->next_deadline, call->deadline);
    }
}

/* Does what is due; returns how long, in milliseconds, there is nothing more to do. */
static int
run_timers(VarveGrpcServer *server)
{
    if (server->next_deadline == 0 && server->accept_again == 0 && server->stop_at == 0)
        return -1;
    gint64 now = g_get_monotonic_time(), next = server->stop_at;
    expire_calls(server, now);
    if (server->accept_again != 0 && now >= server->accept_again)
        varve_grpc_listeners_unmute(server);
    sooner(&next, server->next_deadline);
    sooner(&next, server->accept_again);
    if (next == 0)
        return -1;
    return next <= now ? 0 : (int)MIN((next - now + 999) / 1000, 60000);
}

/* --- the loop -------------------------------------------------------------------------------- */

static gboolean
start(VarveGrpcServer *server, GError **error)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = &server->wakeup};
    if (server->problem == 0 &&
        epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->wakeup.fd, &event) < 0)
        server->problem = errno;
    if (server->problem != 0) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INTERNAL, "making the server's event queue: %s",
                    g_strerror(server->problem));
        return FALSE;
    }
    return varve_grpc_listeners_start(server, error);
}

/* Follows a wish to stop, as often as one is uttered: the shortest grace holds. */
static void
check_stop(VarveGrpcServer *server)
{
    if (!g_atomic_int_compare_and_exchange(&server->stop, 1, 0))
        return;
    if (server->stop_at == 0) {
        g_ptr_array_set_size(server->listeners, 0);
        server->accept_again = 0;
        for (GList *l = server->connections.head; l != NULL; l = l->next)
            varve_grpc_connection_go_away(l->data);
    }
    sooner(&server->stop_at,
           g_get_monotonic_time() + (gint64)g_atomic_int_get(&server->grace) * 1000);
}

/* One write for each connection that has something to say. */
static void
flush(VarveGrpcServer *server)
{
    for (guint n = server->dirty.length; n > 0 && server->dirty.head != NULL; n--) {
        VarveGrpcConnection *connection = server->dirty.head->data;
        g_queue_unlink(&server->dirty, &connection->dirty_link);
        connection->dirty = FALSE;
        varve_grpc_connection_flush(connection);
    }
}

/* Under the loop's lock: FALSE when there is something posted, else who posts next must deliver. */
static gboolean
fall_asleep(VarveGrpcServer *server)
{
    pthread_mutex_lock(&server->lock);
    gboolean asleep = server->posted.length == 0;
    server->asleep = asleep;
    pthread_mutex_unlock(&server->lock);
    return asleep;
}

/* The loop's thread may have woken meanwhile and wait for its lock; then it does some of this once
 * more, and finds nothing to do. What only it does (timers, freeing, ending) it is woken for. */
void
varve_grpc_server_deliver(VarveGrpcServer *server)
{
    if (pthread_mutex_trylock(&server->loop) != 0) {
        varve_grpc_server_wake(server);
        return;
    }
    gboolean done = FALSE;
    for (int round = 0; round < MAX_DELIVERIES && !done; round++) {
        varve_grpc_server_take_posted(server);
        flush(server);
        done = fall_asleep(server);
    }
    done = done && server->dirty.length == 0 && server->closed.length == 0 && server->stop_at == 0;
    pthread_mutex_unlock(&server->loop);
    if (!done)
        varve_grpc_server_wake(server);
}

/* Sleeps until something happens. A worker that posts after this has looked sees asleep. */
static int
wait_for_events(VarveGrpcServer *server, struct epoll_event *events, int timeout)
{
    if (server->dirty.length > 0)
        timeout = 0;
    if (timeout != 0 && !fall_asleep(server))
        timeout = 0;
    pthread_mutex_unlock(&server->loop);
    int n = epoll_wait(server->epoll, events, EVENTS_AT_ONCE, timeout);
    pthread_mutex_lock(&server->loop);
    return n;
}

static gboolean
is_over(VarveGrpcServer *server)
{
    return server->stop_at != 0 &&
           (server->connections.length == 0 || g_get_monotonic_time() >= server->stop_at);
}

static gboolean
run_loop(VarveGrpcServer *server, GError **error)
{
    struct epoll_event events[EVENTS_AT_ONCE];

    while (TRUE) {
        check_stop(server);
        int timeout = run_timers(server);
        flush(server);
        free_closed(server);
        if (is_over(server))
            break;

        int n = wait_for_events(server, events, timeout);
        if (n < 0 && errno != EINTR) {
            g_set_error(error, VARVE_ERROR, VARVE_ERROR_INTERNAL, "waiting for requests: %s",
                        g_strerror(errno));
            return FALSE;
        }
        for (int i = 0; i < n; i++) {
            VarveGrpcWatch *watch = events[i].data.ptr;
            watch->ready(watch, events[i].events);
        }
        varve_grpc_server_take_posted(server);
    }
    return TRUE;
}

gboolean
varve_grpc_server_run(VarveGrpcServer *server, GError **error)
{
    if (!start(server, error))
        return FALSE;
    pthread_mutex_lock(&server->loop);
    gboolean ok = run_loop(server, error);
    close_connections(server);
    pthread_mutex_unlock(&server->loop);
    return ok;
}
