/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http-internal.h"
#include <sys/socket.h>

#define LOOK_EVERY 1 /* seconds */

void
varve_http_peer_expect(VarveHttpServer *server, VarveHttpPeer *peer, guint seconds)
{
    if (peer == NULL)
        return;
    pthread_mutex_lock(&server->lock);
    peer->deadline = seconds > 0 ? g_get_monotonic_time() + seconds * G_USEC_PER_SEC : 0;
    pthread_mutex_unlock(&server->lock);
}

static VarveHttpPeer *
add_peer(VarveHttpServer *server, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    VarveHttpPeer *peer = g_new0(VarveHttpPeer, 1);
    peer->fd = info != NULL ? info->connect_fd : -1;
    pthread_mutex_lock(&server->lock);
    g_hash_table_add(server->peers, peer);
    server->stats.connections++;
    server->stats.accepted++;
    pthread_mutex_unlock(&server->lock);
    varve_http_peer_expect(server, peer, server->limits.request_seconds);
    return peer;
}

static void
remove_peer(VarveHttpServer *server, VarveHttpPeer *peer)
{
    pthread_mutex_lock(&server->lock);
    g_hash_table_remove(server->peers, peer);
    server->stats.connections--;
    pthread_mutex_unlock(&server->lock);
}

void
varve_http_peer_changed(void *port, struct MHD_Connection *connection, void **peer,
                        enum MHD_ConnectionNotificationCode how)
{
    VarveHttpServer *server = ((VarveHttpPort *)port)->server;
    if (how == MHD_CONNECTION_NOTIFY_STARTED) {
        *peer = add_peer(server, connection);
    } else if (*peer != NULL) {
        remove_peer(server, *peer);
        *peer = NULL;
    }
}

/* With the lock held, which keeps the descriptors open: a peer is forgotten before. */
static void
cut_late(VarveHttpServer *server)
{
    GHashTableIter i;
    gpointer key;
    gint64 now = g_get_monotonic_time();
    g_hash_table_iter_init(&i, server->peers);
    while (g_hash_table_iter_next(&i, &key, NULL)) {
        VarveHttpPeer *peer = key;
        if (peer->deadline == 0 || now < peer->deadline || peer->fd < 0)
            continue;
        shutdown(peer->fd, SHUT_RDWR);
        peer->deadline = 0;
        server->stats.cut++;
    }
}

static gpointer
watch(gpointer data)
{
    VarveHttpServer *server = data;
    pthread_mutex_lock(&server->lock);
    while (!server->ending) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += LOOK_EVERY;
        pthread_cond_timedwait(&server->changed, &server->lock, &until);
        cut_late(server);
    }
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

void
varve_http_peers_watch(VarveHttpServer *server)
{
    if (server->watch == NULL)
        server->watch = g_thread_new("http-peers", watch, server);
}
