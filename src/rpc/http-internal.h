/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_HTTP_INTERNAL_H
#define VARVE_RPC_HTTP_INTERNAL_H

/*
 * Who does what in the HTTP server:
 *
 *     http-server.c       its life, its sockets, its figures
 *     http-peers.c        its connections, and the end of those that are too slow
 *     http-exchange.c     a request from its first byte to its end, as libmicrohttpd calls
 *     http-request.c      what a handler asks it
 *     http-reply.c        what a handler answers
 *     http-stream.c       bodies that are written while they are sent
 *     http-hub.c          events
 *     http-parse.c, http-auth.c, http-channel.c    the parts, which know no server
 */

#include "rpc/http-channel.h"
#include "rpc/http.h"
#include <microhttpd.h>
#include <pthread.h>

typedef struct {
    const VarveHttpRoute *route;
    gpointer data;
    VarveHttpRouteStats stats; /* under the server's lock */
} VarveHttpService;

typedef struct {
    VarveHttpServer *server;
    struct MHD_Daemon *daemon;
    VarveHttpAuth *auth; /* NULL: whoever connects is let in */
} VarveHttpPort;

/* A connection; all under the server's lock. */
typedef struct {
    int fd;          /* libmicrohttpd's, who closes it after we forget it */
    gint64 deadline; /* what is awaited must have come by then; 0: nothing is */
} VarveHttpPeer;

struct VarveHttpServer {
    VarveHttpLimits limits;
    GPtrArray *services; /* of VarveHttpService* */
    GPtrArray *ports;    /* of VarveHttpPort* */
    GPtrArray *hubs;     /* of VarveHttpHub* */

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    GHashTable *peers; /* a set of VarveHttpPeer* */
    GThread *watch;    /* of http-peers.c */
    gboolean stopping, ending;
    gint64 stop_by;
    VarveHttpStats stats;
};

struct VarveHttpRequest {
    VarveHttpServer *server;
    VarveHttpPort *port;
    VarveHttpPeer *peer;
    struct MHD_Connection *connection;
    VarveHttpService *service; /* NULL: there is no such route */
    GHashTable *params, *query;
    GString *body;
    gint64 begun;
    gboolean malformed;       /* its JSON is none */
    gboolean listening;       /* it gets events: nothing that a stop would wait for */
    VarveHttpChannel *upload; /* NULL: its body is collected */
    GThread *uploading;       /* the handler's thread then */

    guint status;
    struct MHD_Response *response; /* NULL: there is none yet */
};

#define VARVE_HTTP_CHANNEL (256 * 1024)

/* libmicrohttpd's callbacks. */
enum MHD_Result varve_http_exchange(void *port, struct MHD_Connection *connection, const char *url,
                                    const char *method, const char *version, const char *data,
                                    size_t *size, void **request);
void varve_http_exchange_ended(void *port, struct MHD_Connection *connection, void **request,
                               enum MHD_RequestTerminationCode how);
void varve_http_peer_changed(void *port, struct MHD_Connection *connection, void **peer,
                             enum MHD_ConnectionNotificationCode how);

/* Gives a peer this long from now to send what is awaited; 0: nothing is. */
void varve_http_peer_expect(VarveHttpServer *server, VarveHttpPeer *peer, guint seconds);
/* Cuts off those that are too late, in a thread, until the server is ending. */
void varve_http_peers_watch(VarveHttpServer *server);

/* Replies with an error that has no code of ours. */
void varve_http_reply_problem(VarveHttpRequest *request, guint status, const char *code,
                              const char *message);
/* Takes the response. */
void varve_http_reply_response(VarveHttpRequest *request, guint status, const char *type,
                               struct MHD_Response *response);

VarveHttpHub *varve_http_hub_new(VarveHttpServer *server);
void varve_http_hub_close(VarveHttpHub *hub);
void varve_http_hub_free(gpointer hub);

#endif
