/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_HTTP_H
#define VARVE_RPC_HTTP_H

/*
 * A small HTTP/1.1 server for JSON: libmicrohttpd below, routes and handlers above.
 *
 *     route      a method and a pattern ("GET", "/volumes/:id"), and the handler that answers
 *     request    what came: parameters, query, headers, and the whole body, bounded; or, on a route
 *                for uploads, a source that hands the body on as it comes
 *     reply      what goes back: JSON, an error, bytes; or a stream that is written while it is
 *                sent; or events
 *     hub        what publishes events to any number of listeners, none of which it waits for
 *
 * A life: the server gets its routes and its listening sockets, and serves each connection in a
 * thread of its own, so a handler may block. A handler replies exactly once and returns. stop takes
 * no more requests, finish waits for those that are left, free ends the threads.
 *
 * Whoever connects to a unix socket is let in: its mode says who can. On TCP a request is let in
 * with a certificate of the right authority, or with a token (http-auth.h).
 *
 * Bounded are: the connections of a listener, a request's head and body, the time that a head and a
 * body may take to come, the time in which a reader takes nothing, and what waits for a reader.
 */

#include "base/json.h"
#include "rpc/http-auth.h"
#include <varve/stream.h>

typedef struct VarveHttpServer VarveHttpServer;
typedef struct VarveHttpRequest VarveHttpRequest;
typedef struct VarveHttpHub VarveHttpHub;

/* --- routes --------------------------------------------------------------------------------- */

typedef void (*VarveHttpHandler)(VarveHttpRequest *request, gpointer data);

typedef enum {
    VARVE_HTTP_DEFAULT = 0,
    VARVE_HTTP_UNGUARDED = 1 << 0, /* for everybody: what a load balancer asks */
    VARVE_HTTP_UPLOAD = 1 << 1,    /* the body is of any size: varve_http_request_source() */
} VarveHttpFlags;

typedef struct {
    const char *method, *pattern;
    VarveHttpHandler handler;
    VarveHttpFlags flags;
} VarveHttpRoute;

/* --- the server ----------------------------------------------------------------------------- */

/* What is 0 is a default. */
typedef struct {
    gsize body;            /* bytes of a body that is collected; 1 MiB */
    guint connections;     /* of each listener; 512 */
    guint request_seconds; /* in which a head, and then a body, must have come; 20 */
    guint idle_seconds;    /* in which something must be sent or taken; 60 */
} VarveHttpLimits;

VarveHttpServer *varve_http_server_new(const VarveHttpLimits *limits);

/* routes is ended by an entry without a method and must outlive the server. Before listen. */
void varve_http_server_add_routes(VarveHttpServer *server, const VarveHttpRoute *routes,
                                  gpointer data);

/* Serves a listening stream socket, which the server then owns, whatever comes of it. auth NULL: it
 * is a unix socket. */
gboolean varve_http_server_listen(VarveHttpServer *server, int fd, VarveHttpAuth *auth,
                                  GError **error);

/* From now on requests are refused, and events end; those in flight have that long. Can be said
 * again. Safe in any thread. */
void varve_http_server_stop(VarveHttpServer *server, guint grace_ms);

/* After stop: waits until all are answered; FALSE: until their time was over. */
gboolean varve_http_server_finish(VarveHttpServer *server);

/* Cuts all connections, and waits for the handlers that still run. */
void varve_http_server_free(VarveHttpServer *server);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveHttpServer, varve_http_server_free)

/* Upper bounds of the buckets of latencies, in microseconds; what is over all is in none. */
#define VARVE_HTTP_BUCKETS 10
extern const gint64 varve_http_buckets[VARVE_HTTP_BUCKETS];

typedef struct {
    const char *method, *pattern;
    guint64 statuses[6]; /* [4]: how many were answered with 4xx */
    guint64 buckets[VARVE_HTTP_BUCKETS];
    guint64 microseconds; /* in sum, until the reply was begun */
} VarveHttpRouteStats;

typedef struct {
    guint64 connections, active;              /* now */
    guint64 accepted;                         /* connections, ever */
    guint64 bytes_in, bytes_out;              /* of bodies */
    guint64 cut;                              /* connections that were too slow */
    guint64 listeners, events, lost;          /* of hubs: now; sent and dropped, ever */
    guint64 errors[VARVE_ERROR_INTERNAL + 1]; /* by code */
    guint64 refused;                          /* without a certificate or token */
} VarveHttpStats;

void varve_http_server_stats(VarveHttpServer *server, VarveHttpStats *stats);
/* GArray of VarveHttpRouteStats: those that were asked for. */
GArray *varve_http_server_route_stats(VarveHttpServer *server);

/* --- requests ------------------------------------------------------------------------------- */

/* A parameter of the route's pattern. */
const char *varve_http_request_param(VarveHttpRequest *request, const char *name);

/* A value of the query, NULL when it is not there: "?name=value". */
const char *varve_http_request_query(VarveHttpRequest *request, const char *name);

/* Whether the Accept header names this type. */
gboolean varve_http_request_accepts(VarveHttpRequest *request, const char *type);

/* The body as JSON of that type (JSON_OBJECT, JSON_ARRAY); one that is empty is an empty one. */
json_t *varve_http_request_json(VarveHttpRequest *request, json_type type, GError **error);

/* What JSON the body begins as: JSON_ARRAY or JSON_OBJECT. */
json_type varve_http_request_json_type(VarveHttpRequest *request);

/* The body of a route for uploads. Reading fails with VARVE_ERROR_UNAVAILABLE when the peer goes
 * away before its end. */
VarveSource varve_http_request_source(VarveHttpRequest *request);

/* --- replies -------------------------------------------------------------------------------- */

/* All take what they are given. value NULL: status alone. */
void varve_http_reply_json(VarveHttpRequest *request, guint status, json_t *value);
void varve_http_reply_text(VarveHttpRequest *request, const char *type, char *text);

/* {"code", "message", "detail", "retry"}, with the status that the error's code stands for. */
void varve_http_reply_error(VarveHttpRequest *request, GError *error);

/* A body that func writes, in a thread of its own; it fails with VARVE_ERROR_CANCELLED when the
 * peer is gone. What func does before it first writes may still fail with an error as a reply; when
 * it fails later, the body is cut off, which the peer can tell from its end. */
typedef gboolean (*VarveHttpProduce)(VarveSink sink, gpointer data, GError **error);
void varve_http_reply_stream(VarveHttpRequest *request, const char *type, VarveHttpProduce func,
                             gpointer data, GDestroyNotify free_data);

/* --- events --------------------------------------------------------------------------------- */

/* Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). A hub
 * belongs to its server. */
VarveHttpHub *varve_http_server_add_hub(VarveHttpServer *server);

/* Sends value, which is taken, to all that listen now. Never waits: a listener that has not taken
 * the last ones loses it, and is told how many it lost ("event: lost") before the next. */
void varve_http_hub_publish(VarveHttpHub *hub, json_t *value);

/* Replies with events, until the peer goes away: first those of an array, or NULL, which is taken;
 * then those that are published from the moment on when the listener was made. */
typedef struct VarveHttpListener VarveHttpListener;
VarveHttpListener *varve_http_hub_listen(VarveHttpHub *hub);
void varve_http_reply_events(VarveHttpRequest *request, VarveHttpListener *listener, json_t *first);
void varve_http_listener_free(VarveHttpListener *listener);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveHttpListener, varve_http_listener_free)

#endif
