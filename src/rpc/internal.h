/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_INTERNAL_H
#define VARVE_RPC_INTERNAL_H

/*
 * The inside of the gRPC server.
 *
 *     server      the loop: one thread, one epoll set, timers, what was posted by workers
 *     listener    takes connections
 *     connection  one peer: its HTTP/2 session, bytes in and out
 *     call        one stream of a connection, from its first header to its status
 *     workers     the threads that run handlers which may block
 *
 * Who owns what. Connections, sessions and the call's place in them belong to the loop's thread
 * ("the loop") alone and need no lock. A call that was handed to a worker is shared: until the
 * worker has finished it, the worker alone may touch its request; the answer passes from worker to
 * loop through the fields that server->lock protects. Whoever is second, the stream's end or the
 * handler's finish, frees the call.
 *
 * Being the loop is a lock, server->loop, which its thread holds whenever it does not sleep. A
 * worker that finishes a call while the loop sleeps takes that lock and sends the answer itself
 * (varve_grpc_server_deliver): to wake the loop's thread for it would take longer than many a call.
 *
 * Locks and conditions are pthread's instead of GLib's: the thread sanitizers understand them.
 */

#include "rpc/arena.h"
#include "rpc/grpc.h"
#include "rpc/packed.h"
#include "rpc/workers.h"
#include <nghttp2/nghttp2.h>
#include <pthread.h>

#define MAX_CONNECTIONS   1024
#define MAX_STREAMS       1024         /* of one connection */
#define MAX_MESSAGE       (16u << 20)  /* bytes of one request */
#define MAX_HELD          (256 << 20)  /* bytes of all requests in memory, encoded or decoded */
#define MAX_BACKLOG       (128u << 10) /* bytes of one answer that wait; then its worker does */
#define MAX_STALL_SECONDS 60           /* after which that worker gives up */

#define INPUT_SIZE (64u << 10) /* of one read */

#define STREAM_WINDOW     (256 << 10)
#define CONNECTION_WINDOW (1 << 20)

typedef struct VarveGrpcConnection VarveGrpcConnection;

/* Something the loop waits for; the first member of what it stands for. */
typedef struct VarveGrpcWatch VarveGrpcWatch;
struct VarveGrpcWatch {
    int fd;
    void (*ready)(VarveGrpcWatch *watch, guint32 events);
};

/* A method, and what its handler gets. */
typedef struct {
    const VarveGrpcMethod *method;
    gpointer data;
} VarveGrpcService;

struct VarveGrpcServer {
    GHashTable *methods; /* path to VarveGrpcService* */
    VarveWorkers *workers;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;

    int epoll;
    VarveGrpcWatch wakeup; /* eventfd: something was posted, or stop was asked for */
    int problem;           /* errno of making one of the two */
    GPtrArray *listeners;  /* of VarveGrpcWatch* */
    gint64 accept_again;   /* when listeners that were muted are heard again; 0: not muted */

    GQueue connections;   /* open ones, oldest first */
    GQueue closed;        /* to be freed when this round of the loop is over */
    GQueue dirty;         /* may have bytes to send */
    GQueue timed;         /* calls that have a deadline */
    gint64 next_deadline; /* not later than the earliest of them; 0: none */
    gint64 stop_at;       /* when to drop what is unfinished; 0: not stopping */
    guint8 *input;        /* scratch for one read */
    GByteArray *output;   /* scratch for one write */

    gint stop, grace;                       /* atomic; what stop() asked for */
    gint held;                              /* atomic; bytes, see MAX_HELD */
    gsize n_connections, n_calls, n_active; /* atomic */

    pthread_condattr_t monotonic; /* for conditions that are waited for with a timeout */
    pthread_mutex_t loop;         /* held by whoever is the loop; taken before lock */
    pthread_mutex_t lock;
    gboolean
        asleep;    /* the loop waits in epoll, or is about to: who posts must deliver or wake it */
    GQueue posted; /* calls with news from their worker */
};

struct VarveGrpcConnection {
    VarveGrpcWatch watch; /* fd -1: closed */
    VarveGrpcServer *server;
    nghttp2_session *session;
    GList link;       /* in server->connections or ->closed */
    GList dirty_link; /* in server->dirty, if dirty */
    gboolean dirty;
    gboolean greeted;   /* a frame has come: the peer does speak HTTP/2 */
    GQueue calls;       /* of all open streams */
    GByteArray *unsent; /* what the socket had no room for; while there is some, nothing is read */
};

struct VarveGrpcCall {
    /* Fixed once the request's headers are in. */
    VarveGrpcServer *server;
    const VarveGrpcMethod *method;
    gpointer data;       /* for its handler */
    GHashTable *headers; /* char* to char*, if the method has them kept */
    gint64 deadline;     /* monotonic time; 0: none */

    /* The loop's. */
    VarveGrpcConnection *connection;
    int32_t stream;
    GList link;       /* in connection->calls */
    GList timed_link; /* in server->timed, if timed */
    char *path;       /* where it names no method */
    gboolean is_post, is_grpc, bad_timeout;
    gboolean timed;    /* in server->timed */
    gboolean complete; /* the peer has sent all */
    gboolean handed;   /* to a worker, whose finish has not been taken yet */
    gboolean started;  /* the answer's headers are submitted, the data flows */
    gboolean answered; /* a status is submitted; nothing more will be */
    gboolean ended;    /* out is all there will be */
    VarveGrpcPackedQueue out;

    /* The request: the loop's until the call is handed to a worker, then the worker's. */
    guint8 prefix[PREFIX];
    gsize prefix_size;
    guint8 *body;
    gsize body_size, body_room, body_length; /* there, allocated, announced */
    VarveArena arena;                        /* holds the decoded request */

    VarveWork work; /* the workers' */

    /* The handler's. The first message is kept back until the next one or the end is there, so
     * that an answer of one message is posted once and written at once. */
    VarveGrpcPacked *first;
    gboolean streaming; /* there was a second message */

    /* Under server->lock from the handing over on; before, and for inline calls, the loop's. */
    GList posted_link; /* in server->posted, if is_posted */
    gboolean is_posted;
    gboolean detached; /* the stream is gone: finish frees the call */
    gboolean finished;
    VarveGrpcPackedQueue news; /* not yet in out */
    gsize backlog;             /* bytes in news and out */
    pthread_cond_t room;       /* backlog shrank, or nobody wants the answer */
    int status;
    char *message;

    gint cancelled; /* atomic; no answer is wanted any more */
};

/* server.c */
gboolean varve_grpc_server_hold(VarveGrpcServer *server, gsize bytes);
void varve_grpc_server_release(VarveGrpcServer *server, gsize bytes);
void varve_grpc_server_wake(VarveGrpcServer *server);
void varve_grpc_server_deliver(VarveGrpcServer *server); /* what is posted, from a worker */
void varve_grpc_server_time_call(VarveGrpcServer *server, VarveGrpcCall *call);

/* listener.c */
gboolean varve_grpc_listeners_start(VarveGrpcServer *server, GError **error);
void varve_grpc_listeners_mute(VarveGrpcServer *server);
void varve_grpc_listeners_unmute(VarveGrpcServer *server);
void varve_grpc_listener_free(gpointer listener);

/* connection.c */
void varve_grpc_connection_callbacks(nghttp2_session_callbacks *callbacks);

/* Takes fd (-1: none, for tests that feed and collect by hand). NULL: out of memory. */
VarveGrpcConnection *varve_grpc_connection_new(VarveGrpcServer *server, int fd);
void varve_grpc_connection_close(VarveGrpcConnection *connection);
void varve_grpc_connection_free(VarveGrpcConnection *connection);

/* Hands received bytes to the session. FALSE: the peer does not speak HTTP/2, or abuses it. */
gboolean varve_grpc_connection_feed(VarveGrpcConnection *connection, const guint8 *bytes, gsize n);

/* Appends what the session has to send, until limit is passed. FALSE: the session is broken. */
gboolean varve_grpc_connection_collect(VarveGrpcConnection *connection, GByteArray *bytes,
                                       gsize limit);

/* Writes once. */
void varve_grpc_connection_flush(VarveGrpcConnection *connection);
void varve_grpc_connection_mark_dirty(VarveGrpcConnection *connection);

/* Tells the peer that no further call will be taken. */
void varve_grpc_connection_go_away(VarveGrpcConnection *connection);

/* call.c: the life of a call, and its answer */
VarveGrpcCall *varve_grpc_call_new(VarveGrpcConnection *connection, int32_t stream);
void varve_grpc_call_detach(VarveGrpcCall *call); /* the stream is gone */
void varve_grpc_call_expire(VarveGrpcCall *call); /* the deadline has passed */
void varve_grpc_server_take_posted(VarveGrpcServer *server);

/* Answers a call of which no handler knows. http_status must be static. */
void varve_grpc_call_refuse(VarveGrpcCall *call, const char *http_status, int status,
                            const char *format, ...) G_GNUC_PRINTF(4, 5);

/* request.c: what the peer sends */
void varve_grpc_request_header(VarveGrpcCall *call, const guint8 *name, gsize name_size,
                               const guint8 *value, gsize value_size);
void varve_grpc_request_headers_end(VarveGrpcCall *call);
void varve_grpc_request_data(VarveGrpcCall *call, const guint8 *bytes, gsize n);
void varve_grpc_request_end(VarveGrpcCall *call);
void varve_grpc_request_clear(VarveGrpcCall *call);
void varve_grpc_request_run(VarveGrpcCall *call); /* decodes it and calls the handler */

/* protocol.c */

/* Whether no string in the packed message has a NUL byte in it (strings.c). */
gboolean varve_grpc_strings_whole(const ProtobufCMessageDescriptor *type, const guint8 *bytes,
                                  gsize n);

/* "15S" and the like to microseconds. FALSE: not of the protocol's form. */
gboolean varve_grpc_parse_timeout(const char *text, gint64 *usec);

/* Whether a content-type is gRPC with protobuf messages. */
gboolean varve_grpc_is_content_type(const char *text);

/* A status message as it goes into grpc-message. */
char *varve_grpc_encode_message(const char *message);

/* A status as it goes into grpc-status; static. */
const char *varve_grpc_status_text(int status);

#endif
