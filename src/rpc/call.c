/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/internal.h"
#include <stdarg.h>
#include <string.h>
#include <time.h>

/* --- birth and death ------------------------------------------------------------------------- */

VarveGrpcCall *
varve_grpc_call_new(VarveGrpcConnection *connection, int32_t stream)
{
    VarveGrpcServer *server = connection->server;
    VarveGrpcCall *call = g_new0(VarveGrpcCall, 1);
    call->server = server;
    call->connection = connection;
    call->stream = stream;
    call->link.data = call->timed_link.data = call->posted_link.data = call;
    varve_arena_init(&call->arena, &server->held, MAX_HELD);
    pthread_cond_init(&call->room, &server->monotonic);

    g_queue_push_tail_link(&connection->calls, &call->link);
    g_atomic_pointer_add(&server->n_calls, 1);
    g_atomic_pointer_add(&server->n_active, 1);
    return call;
}

static void
call_free(VarveGrpcCall *call)
{
    varve_grpc_request_clear(call);
    varve_grpc_packed_drop(&call->out);
    varve_grpc_packed_drop(&call->news);
    g_free(call->first);
    g_free(call->message);
    g_free(call->path);
    g_clear_pointer(&call->headers, g_hash_table_unref);
    pthread_cond_destroy(&call->room);
    g_free(call);
}

static void
untime(VarveGrpcCall *call)
{
    if (call->timed)
        g_queue_unlink(&call->server->timed, &call->timed_link);
    call->timed = FALSE;
}

/* Tells the worker, if one has the call, that nobody waits for the answer. */
static void
kill_call(VarveGrpcCall *call)
{
    g_atomic_int_set(&call->cancelled, TRUE);
    pthread_cond_signal(&call->room);
}

void
varve_grpc_call_detach(VarveGrpcCall *call)
{
    VarveGrpcServer *server = call->server;
    untime(call);
    g_queue_unlink(&call->connection->calls, &call->link);
    call->connection = NULL;
    g_atomic_pointer_add(&server->n_active, -1);
    if (!call->handed || varve_workers_withdraw(server->workers, &call->work)) {
        call_free(call);
        return;
    }

    pthread_mutex_lock(&server->lock);
    gboolean finished = call->finished;
    if (call->is_posted)
        g_queue_unlink(&server->posted, &call->posted_link);
    call->is_posted = FALSE;
    call->detached = TRUE;
    kill_call(call);
    pthread_mutex_unlock(&server->lock);
    if (finished)
        call_free(call);
}

/* --- to the peer (the loop) ------------------------------------------------------------------ */

#define HEADER(name_, value_)                                                                      \
    {                                                                                              \
        (uint8_t *)(name_), (uint8_t *)(value_), strlen(name_), strlen(value_),                    \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                           \
    }

/* A header that lives as short as its text, and differs each time: nothing for the table. */
#define PASSING_HEADER(name_, value_)                                                              \
    {                                                                                              \
        (uint8_t *)(name_), (uint8_t *)(value_), strlen(name_), strlen(value_),                    \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX                                \
    }

/* Submits the trailers that follow the data, once it has been read to its end. */
static void
submit_trailers(VarveGrpcCall *call)
{
    g_autofree char *message =
        call->message != NULL ? varve_grpc_encode_message(call->message) : NULL;
    const nghttp2_nv trailers[] = {
        HEADER("grpc-status", varve_grpc_status_text(call->status)),
        PASSING_HEADER("grpc-message", message != NULL ? message : ""),
    };
    call->answered = TRUE;
    nghttp2_submit_trailer(call->connection->session, call->stream, trailers,
                           message != NULL ? 2 : 1);
}

/* The data source of an answer. */
static ssize_t
read_answer(nghttp2_session *session, int32_t stream, uint8_t *bytes, size_t n, uint32_t *flags,
            nghttp2_data_source *source, void *data)
{
    VarveGrpcCall *call = source->ptr;
    gsize done = varve_grpc_packed_read(&call->out, bytes, n);
    if (call->handed && done > 0) {
        pthread_mutex_lock(&call->server->lock);
        call->backlog -= done;
        if (call->backlog <= MAX_BACKLOG / 2)
            pthread_cond_signal(&call->room);
        pthread_mutex_unlock(&call->server->lock);
    }
    if (call->ended && call->out.head == NULL) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        submit_trailers(call);
    } else if (done == 0) {
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)done;
}

/* An answer of headers alone, which are its trailers too. */
static void
submit_status(VarveGrpcCall *call, const char *http_status, int status, const char *message)
{
    g_autofree char *encoded = message != NULL ? varve_grpc_encode_message(message) : NULL;
    const nghttp2_nv headers[] = {
        HEADER(":status", http_status),
        HEADER("content-type", "application/grpc"),
        HEADER("grpc-status", varve_grpc_status_text(status)),
        PASSING_HEADER("grpc-message", encoded != NULL ? encoded : ""),
    };
    call->answered = TRUE;
    nghttp2_submit_response(call->connection->session, call->stream, headers,
                            encoded != NULL ? 4 : 3, NULL);
    varve_grpc_connection_mark_dirty(call->connection);
}

static void
submit_reset(VarveGrpcCall *call)
{
    call->answered = TRUE;
    nghttp2_submit_rst_stream(call->connection->session, NGHTTP2_FLAG_NONE, call->stream,
                              NGHTTP2_CANCEL);
    varve_grpc_connection_mark_dirty(call->connection);
}

/* Submits what there is of an answer. */
static void
submit_answer(VarveGrpcCall *call)
{
    static const nghttp2_nv headers[] = {
        {(uint8_t *)":status", (uint8_t *)"200", 7, 3,
         NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE},
        {(uint8_t *)"content-type", (uint8_t *)"application/grpc", 12, 16,
         NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE},
    };
    nghttp2_session *session = call->connection->session;
    const nghttp2_data_provider provider = {{.ptr = call}, read_answer};

    if (call->started) {
        nghttp2_session_resume_data(session, call->stream);
    } else if (call->ended && call->out.head == NULL && call->status != VARVE_GRPC_OK) {
        submit_status(call, "200", call->status, call->message);
        return;
    } else {
        call->started = TRUE;
        nghttp2_submit_response(session, call->stream, headers, G_N_ELEMENTS(headers), &provider);
    }
    varve_grpc_connection_mark_dirty(call->connection);
}

void
varve_grpc_call_refuse(VarveGrpcCall *call, const char *http_status, int status, const char *format,
                       ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    submit_status(call, http_status, status, message);
}

/* Ends a call whose deadline has passed, or whose peer did not take the answer for too long. */
static void
give_up(VarveGrpcCall *call)
{
    varve_grpc_packed_drop(&call->out);
    if (call->started)
        submit_reset(call);
    else
        varve_grpc_call_refuse(call, "200", VARVE_GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
}

void
varve_grpc_call_expire(VarveGrpcCall *call)
{
    untime(call);
    if (call->answered || call->ended)
        return; /* the answer is on its way */
    if (call->handed && varve_workers_withdraw(call->server->workers, &call->work))
        call->handed = FALSE;
    pthread_mutex_lock(&call->server->lock);
    kill_call(call);
    pthread_mutex_unlock(&call->server->lock);
    give_up(call);
}

/* --- from the workers ------------------------------------------------------------------------ */

/* Takes over what the worker has posted for one call. It may have seen a deadline pass before the
 * loop did: then its answer does not count. */
static void
take_news(VarveGrpcCall *call)
{
    if (call->answered)
        varve_grpc_packed_drop(&call->out);
    else if (!varve_grpc_call_alive(call))
        give_up(call);
    else
        submit_answer(call);
}

/* Also ends the loop's sleep. Takes what is there when it comes, not what is posted meanwhile. */
void
varve_grpc_server_take_posted(VarveGrpcServer *server)
{
    pthread_mutex_lock(&server->lock);
    server->asleep = FALSE;
    for (guint n = server->posted.length; n > 0; n--) {
        VarveGrpcCall *call = g_queue_pop_head_link(&server->posted)->data;
        call->is_posted = FALSE;
        varve_grpc_packed_move(&call->news, &call->out);
        if (call->finished) {
            call->handed = FALSE;
            call->ended = TRUE;
        }
        pthread_mutex_unlock(&server->lock);
        take_news(call);
        pthread_mutex_lock(&server->lock);
    }
    pthread_mutex_unlock(&server->lock);
}

/* Puts the call where the loop finds it. Under the lock; returns whether the loop must be woken,
 * which is one poster's task. */
static gboolean
post(VarveGrpcCall *call)
{
    VarveGrpcServer *server = call->server;
    if (!call->is_posted)
        g_queue_push_tail_link(&server->posted, &call->posted_link);
    call->is_posted = TRUE;
    gboolean asleep = server->asleep;
    server->asleep = FALSE;
    return asleep;
}

/* Returns when the peer has taken enough of what was sent, or wants no more. */
static void
wait_for_room(VarveGrpcCall *call)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += MAX_STALL_SECONDS;
    int result = 0;
    pthread_mutex_lock(&call->server->lock);
    while (call->backlog >= MAX_BACKLOG && !g_atomic_int_get(&call->cancelled) && result == 0)
        result = pthread_cond_timedwait(&call->room, &call->server->lock, &until);
    if (call->backlog >= MAX_BACKLOG)
        g_atomic_int_set(&call->cancelled, TRUE);
    pthread_mutex_unlock(&call->server->lock);
}

/* Under the lock. */
static void
push_news(VarveGrpcCall *call, VarveGrpcPacked *packed)
{
    call->backlog += packed->size;
    varve_grpc_packed_push(&call->news, packed);
}

static gboolean
send_from_worker(VarveGrpcCall *call, VarveGrpcPacked *packed)
{
    VarveGrpcServer *server = call->server;
    if (!call->streaming && call->first == NULL) {
        call->first = packed;
        return TRUE;
    }
    call->streaming = TRUE;
    pthread_mutex_lock(&server->lock);
    if (call->first != NULL)
        push_news(call, g_steal_pointer(&call->first));
    push_news(call, packed);
    gboolean wake = !call->detached && post(call);
    gboolean full = call->backlog >= MAX_BACKLOG;
    pthread_mutex_unlock(&server->lock);
    if (wake)
        varve_grpc_server_wake(server);
    if (full)
        wait_for_room(call);
    return varve_grpc_call_alive(call);
}

static void
finish_from_worker(VarveGrpcCall *call, int status, const char *message)
{
    VarveGrpcServer *server = call->server;
    call->status = status;
    call->message = g_strdup(message);
    pthread_mutex_lock(&server->lock);
    if (call->first != NULL)
        push_news(call, g_steal_pointer(&call->first));
    call->finished = TRUE;
    gboolean detached = call->detached;
    gboolean wake = !detached && post(call);
    pthread_mutex_unlock(&server->lock);
    /* Unless it is detached the call is the loop's now. */
    if (detached)
        call_free(call);
    else if (wake)
        varve_grpc_server_deliver(server);
}

/* --- for handlers ---------------------------------------------------------------------------- */

gboolean
varve_grpc_call_alive(VarveGrpcCall *call)
{
    return !g_atomic_int_get(&call->cancelled) &&
           (call->deadline == 0 || g_get_monotonic_time() < call->deadline);
}

const gint *
varve_grpc_call_cancelled(VarveGrpcCall *call)
{
    return &call->cancelled;
}

const char *
varve_grpc_call_header(VarveGrpcCall *call, const char *name)
{
    return call->headers != NULL ? g_hash_table_lookup(call->headers, name) : NULL;
}

gboolean
varve_grpc_call_send(VarveGrpcCall *call, const ProtobufCMessage *message)
{
    if (!varve_grpc_call_alive(call))
        return FALSE;
    VarveGrpcPacked *packed = varve_grpc_pack(message);
    if (!call->method->inline_)
        return send_from_worker(call, packed);
    varve_grpc_packed_push(&call->out, packed);
    return TRUE;
}

void
varve_grpc_call_finish(VarveGrpcCall *call, int status, const char *message)
{
    if (status == VARVE_GRPC_OK)
        message = NULL;
    varve_grpc_request_clear(call);
    if (!call->method->inline_) {
        finish_from_worker(call, status, message);
        return;
    }
    call->status = status;
    call->message = g_strdup(message);
    call->ended = TRUE;
    submit_answer(call);
}
