/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <varve/log.h>

#define ACCEPT_AT_ONCE 16
#define MUTE_TIME      G_USEC_PER_SEC

typedef struct {
    VarveGrpcWatch watch;
    VarveGrpcServer *server;
} Listener;

void
varve_grpc_listener_free(gpointer listener)
{
    close(((Listener *)listener)->watch.fd);
    g_free(listener);
}

static gboolean
watch_listener(Listener *self, int operation, guint32 events)
{
    struct epoll_event event = {.events = events, .data.ptr = &self->watch};
    return epoll_ctl(self->server->epoll, operation, self->watch.fd, &event) == 0;
}

/* While there is no descriptor or no room for another connection, a waiting one would wake the loop
 * over and over. */
void
varve_grpc_listeners_mute(VarveGrpcServer *server)
{
    server->accept_again = g_get_monotonic_time() + MUTE_TIME;
    for (guint i = 0; i < server->listeners->len; i++)
        watch_listener(server->listeners->pdata[i], EPOLL_CTL_MOD, 0);
}

void
varve_grpc_listeners_unmute(VarveGrpcServer *server)
{
    server->accept_again = 0;
    for (guint i = 0; i < server->listeners->len; i++)
        watch_listener(server->listeners->pdata[i], EPOLL_CTL_MOD, EPOLLIN);
}

/* When all places are taken, those who never said a word must leave theirs. */
static gboolean
make_room(VarveGrpcServer *server)
{
    if (server->connections.length < MAX_CONNECTIONS)
        return TRUE;
    for (GList *l = server->connections.head; l != NULL; l = l->next) {
        VarveGrpcConnection *connection = l->data;
        if (!connection->greeted) {
            varve_grpc_connection_close(connection);
            return TRUE;
        }
    }
    return FALSE;
}

/* Returns whether there may be another one. */
static gboolean
accept_one(Listener *self)
{
    /* cppcheck-suppress nullPointer ; accept4(2) takes NULL for no address */
    int fd = accept4(self->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        varve_grpc_connection_new(self->server, fd);
        return TRUE;
    }
    switch (errno) {
    case EINTR:
    case ECONNABORTED:
        return TRUE;
    case EAGAIN:
        return FALSE;
    default:
        varve_log(VARVE_LOG_WARNING, "accepting a connection", "error", g_strerror(errno), NULL);
        varve_grpc_listeners_mute(self->server);
        return FALSE;
    }
}

static void
listener_ready(VarveGrpcWatch *watch, guint32 events)
{
    Listener *self = (Listener *)watch;
    for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
        if (!make_room(self->server)) {
            varve_grpc_listeners_mute(self->server);
            return;
        }
        if (!accept_one(self))
            return;
    }
}

void
varve_grpc_server_add_listener(VarveGrpcServer *server, int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    Listener *listener = g_new0(Listener, 1);
    listener->watch = (VarveGrpcWatch){fd, listener_ready};
    listener->server = server;
    g_ptr_array_add(server->listeners, listener);
}

gboolean
varve_grpc_listeners_start(VarveGrpcServer *server, GError **error)
{
    for (guint i = 0; i < server->listeners->len; i++) {
        Listener *listener = server->listeners->pdata[i];
        if (!watch_listener(listener, EPOLL_CTL_ADD, EPOLLIN)) {
            g_set_error(error, VARVE_ERROR, VARVE_ERROR_INTERNAL, "watching listener %d: %s",
                        listener->watch.fd, g_strerror(errno));
            return FALSE;
        }
    }
    return TRUE;
}
