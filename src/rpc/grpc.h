/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_GRPC_H
#define VARVE_RPC_GRPC_H

/*
 * A small gRPC server on unix stream sockets: nghttp2 below, protobuf-c messages above.
 *
 * Implements the server side of gRPC over HTTP/2 as
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md tells it: unary and
 * server-streaming methods, uncompressed messages, deadlines (grpc-timeout), status in trailers.
 *
 * One thread runs all connections (epoll, non-blocking). It parses requests and writes answers, as
 * many as are ready with one system call. A method marked inline is answered by that thread, so it
 * must never block (a read from the store is fine); the others run on worker threads, of which
 * there are as many as calls wait, up to a limit. Memory is bounded: by the size of a message, the
 * number of streams of a connection and what may wait unsent on one.
 *
 * A peer that breaks the protocol loses its connection; the server goes on.
 */

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

typedef struct VarveGrpcServer VarveGrpcServer;
typedef struct VarveGrpcCall VarveGrpcCall;

/* Answers one call. request is the decoded message, valid until the call is finished. The handler
 * must finish the call before it returns, with varve_grpc_call_finish(), after one
 * varve_grpc_call_send() (unary) or any number (streaming). */
typedef void (*VarveGrpcHandler)(VarveGrpcCall *call, const ProtobufCMessage *request,
                                 gpointer data);

typedef struct {
    const char *path; /* "/containerd.services.snapshots.v1.Snapshots/Stat" */
    const ProtobufCMessageDescriptor *request;
    VarveGrpcHandler handler;
    gboolean inline_; /* runs on the connections' thread; must not block */
    gboolean headers; /* the request's are kept, see varve_grpc_call_header() */
} VarveGrpcMethod;

/* Status codes, https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
enum {
    VARVE_GRPC_OK = 0,
    VARVE_GRPC_CANCELLED = 1,
    VARVE_GRPC_INVALID_ARGUMENT = 3,
    VARVE_GRPC_DEADLINE_EXCEEDED = 4,
    VARVE_GRPC_RESOURCE_EXHAUSTED = 8,
    VARVE_GRPC_UNIMPLEMENTED = 12,
    VARVE_GRPC_INTERNAL = 13,
    VARVE_GRPC_UNAVAILABLE = 14,
};

/* methods is ended by an entry with a NULL path and must outlive the server. data goes to every
 * handler. max_workers: 0 picks 64. */
VarveGrpcServer *varve_grpc_server_new(const VarveGrpcMethod *methods, gpointer data,
                                       guint max_workers);
void varve_grpc_server_free(VarveGrpcServer *server);

/* Adds the methods of another service, whose handlers get data of their own. Before run. */
void varve_grpc_server_add_methods(VarveGrpcServer *server, const VarveGrpcMethod *methods,
                                   gpointer data);

/* Serves a listening unix stream socket, which the server then owns. Callable several times before
 * run. Sets the descriptor non-blocking. */
void varve_grpc_server_add_listener(VarveGrpcServer *server, int fd);

/* Serves until varve_grpc_server_stop(): then no new connection or call is taken (GOAWAY), calls in
 * flight are answered, and it returns; whatever is unfinished after grace_ms is dropped. FALSE with
 * the error set when the server could not run. */
gboolean varve_grpc_server_run(VarveGrpcServer *server, GError **error);

/* Asks run to end. Safe from a signal handler and from any thread. */
void varve_grpc_server_stop(VarveGrpcServer *server, guint grace_ms);

/* Queues one message of the answer. On a worker thread it waits while the peer does not take what
 * was sent before (flow control). FALSE when nobody waits for the answer any more: the peer
 * cancelled, went away or let the deadline pass; then stop working and finish. */
gboolean varve_grpc_call_send(VarveGrpcCall *call, const ProtobufCMessage *message);

/* Ends the call with a status and, when it is not OK, a message of UTF-8 text (percent-encoded as
 * the protocol wants; other bytes are replaced; NULL: none). Frees the call. */
void varve_grpc_call_finish(VarveGrpcCall *call, int status, const char *message);

/* Whether an answer is still wanted. */
gboolean varve_grpc_call_alive(VarveGrpcCall *call);

/* The same for long work that watches a flag: it is set, atomically, once nobody wants the answer,
 * and lives until the call is finished. */
const gint *varve_grpc_call_cancelled(VarveGrpcCall *call);

/* A header of the request of a method that has them kept; NULL: there is none. */
const char *varve_grpc_call_header(VarveGrpcCall *call, const char *name);

typedef struct {
    guint64 connections, calls, active_calls;
} VarveGrpcStats;
void varve_grpc_server_stats(VarveGrpcServer *server, VarveGrpcStats *stats);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveGrpcServer, varve_grpc_server_free)

#endif
