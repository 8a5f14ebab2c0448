/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_GRPC_CLIENT_H
#define TESTS_UNIT_GRPC_CLIENT_H

/*
 * A gRPC client for tests: single-threaded, every byte under control. Starts calls with any headers
 * and any bytes, pumps the connection until something is there, and shows what came.
 */

#include <glib.h>
#include <nghttp2/nghttp2.h>

typedef struct {
    int fd;
    nghttp2_session *session;
    GHashTable *replies; /* stream to GrpcReply* */
    gboolean closed;     /* the server hung up */
    gboolean went_away;  /* GOAWAY came */
    gboolean byte_wise;  /* write each byte on its own */
    gboolean thirsty;    /* TRUE from the start: window updates are sent as data comes */
} GrpcClient;

typedef struct {
    int http, status; /* status -1: none came */
    char *message;    /* as it came, percent-encoded */
    GByteArray *body;
    gboolean done;      /* the stream is closed */
    guint32 error_code; /* with which */
    gsize n_frames;     /* DATA frames */

    GByteArray *request; /* what is to be sent as data */
    gsize sent;
    gboolean more; /* and no end of the stream after it */
} GrpcReply;

typedef struct {
    const char *path, *method, *content_type, *timeout; /* NULL: the right ones, and no timeout */
    gboolean more;
} GrpcOptions;

/* window 0: the protocol's default. thirsty FALSE: windows are never opened again. */
GrpcClient *grpc_client_new(const char *socket_path, guint32 window, gboolean thirsty);
void grpc_client_free(GrpcClient *client);

/* Starts a call whose request has these bytes (prefix and all), and returns its stream. */
gint32 grpc_client_start(GrpcClient *client, const GrpcOptions *options, const void *bytes,
                         gsize n);
void grpc_client_cancel(GrpcClient *client, gint32 stream);
GrpcReply *grpc_client_reply(GrpcClient *client, gint32 stream);

/* Sends and receives for so long, or until the condition holds; returns whether it does. */
typedef gboolean (*GrpcCondition)(GrpcClient *client, gpointer data);
gboolean grpc_client_pump(GrpcClient *client, guint ms, GrpcCondition condition, gpointer data);

/* Pumps until the stream is closed, and fails the test if it is not. */
GrpcReply *grpc_client_wait(GrpcClient *client, gint32 stream);

int grpc_client_connect(const char *socket_path);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(GrpcClient, grpc_client_free)

#endif
