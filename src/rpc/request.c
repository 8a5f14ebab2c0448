/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/internal.h"
#include <string.h>

#define FIRST_ROOM 4096u

/* --- headers --------------------------------------------------------------------------------- */

static void
header_path(VarveGrpcCall *call, const char *value)
{
    const VarveGrpcService *service = g_hash_table_lookup(call->server->methods, value);
    call->method = service != NULL ? service->method : NULL;
    call->data = service != NULL ? service->data : NULL;
    g_free(call->path);
    call->path = call->method == NULL ? g_strdup(value) : NULL;
}

static void
header_method(VarveGrpcCall *call, const char *value)
{
    call->is_post = strcmp(value, "POST") == 0;
}

static void
header_content_type(VarveGrpcCall *call, const char *value)
{
    call->is_grpc = varve_grpc_is_content_type(value);
}

static void
header_timeout(VarveGrpcCall *call, const char *value)
{
    gint64 usec;
    if (varve_grpc_parse_timeout(value, &usec))
        call->deadline = g_get_monotonic_time() + usec;
    else
        call->bad_timeout = TRUE;
}

/* Names and values end with a NUL. :path comes before what is kept; the size of all headers is
 * nghttp2's to bound. */
static void
keep_header(VarveGrpcCall *call, const char *name, const char *value)
{
    if (call->method == NULL || !call->method->headers || *name == ':')
        return;
    if (call->headers == NULL)
        call->headers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_hash_table_replace(call->headers, g_strdup(name), g_strdup(value));
}

void
varve_grpc_request_header(VarveGrpcCall *call, const guint8 *name, gsize name_size,
                          const guint8 *value, gsize value_size)
{
    static const struct {
        const char *name;
        gsize size;
        void (*take)(VarveGrpcCall *call, const char *value);
    } known[] = {
        {":path", 5, header_path},
        {":method", 7, header_method},
        {"content-type", 12, header_content_type},
        {"grpc-timeout", 12, header_timeout},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(known); i++) {
        if (known[i].size == name_size && memcmp(known[i].name, name, name_size) == 0) {
            known[i].take(call, (const char *)value);
            return;
        }
    }
    keep_header(call, (const char *)name, (const char *)value);
}

void
varve_grpc_request_headers_end(VarveGrpcCall *call)
{
    if (!call->is_post)
        varve_grpc_call_refuse(call, "405", VARVE_GRPC_INTERNAL, "gRPC calls are POST requests");
    else if (!call->is_grpc)
        varve_grpc_call_refuse(call, "415", VARVE_GRPC_INTERNAL,
                               "the content-type must be application/grpc");
    else if (call->bad_timeout)
        varve_grpc_call_refuse(call, "200", VARVE_GRPC_INTERNAL, "malformed grpc-timeout");
    else if (call->method == NULL)
        varve_grpc_call_refuse(call, "200", VARVE_GRPC_UNIMPLEMENTED, "unknown method %s",
                               call->path != NULL ? call->path : "");
    else if (call->deadline != 0)
        varve_grpc_server_time_call(call->server, call);
}

/* --- the message ----------------------------------------------------------------------------- */

static guint32
announced_length(const VarveGrpcCall *call)
{
    const guint8 *p = call->prefix;
    return (guint32)p[1] << 24 | (guint32)p[2] << 16 | (guint32)p[3] << 8 | p[4];
}

static void
take_prefix(VarveGrpcCall *call)
{
    call->body_length = announced_length(call);
    if (call->prefix[0] == 1)
        varve_grpc_call_refuse(call, "200", VARVE_GRPC_UNIMPLEMENTED,
                               "compressed messages are not supported");
    else if (call->prefix[0] != 0)
        varve_grpc_call_refuse(call, "200", VARVE_GRPC_INTERNAL,
                               "the message's compressed flag is neither 0 nor 1");
    else if (call->body_length > MAX_MESSAGE)
        varve_grpc_call_refuse(call, "200", VARVE_GRPC_RESOURCE_EXHAUSTED,
                               "the message has %" G_GSIZE_FORMAT " bytes, allowed are %u",
                               call->body_length, MAX_MESSAGE);
}

/* Room grows with what has come, not with what was announced. */
static gboolean
make_room(VarveGrpcCall *call, gsize size)
{
    if (size <= call->body_room)
        return TRUE;
    gsize room = MAX(size, MAX(call->body_room * 2, FIRST_ROOM));
    room = MIN(room, call->body_length);
    if (!varve_grpc_server_hold(call->server, room - call->body_room)) {
        varve_grpc_call_refuse(call, "200", VARVE_GRPC_RESOURCE_EXHAUSTED,
                               "too many bytes of requests are in memory");
        return FALSE;
    }
    call->body = g_realloc(call->body, room);
    call->body_room = room;
    return TRUE;
}

static gsize
take(guint8 *to, gsize *have, gsize want, const guint8 *bytes, gsize n)
{
    gsize part = MIN(n, want - *have);
    memcpy(to + *have, bytes, part);
    *have += part;
    return part;
}

void
varve_grpc_request_data(VarveGrpcCall *call, const guint8 *bytes, gsize n)
{
    gsize used = 0;
    if (call->answered)
        return;
    if (call->prefix_size < PREFIX) {
        used = take(call->prefix, &call->prefix_size, PREFIX, bytes, n);
        if (call->prefix_size == PREFIX)
            take_prefix(call);
    }
    if (call->answered || used == n)
        return;

    gsize rest = MIN(n - used, call->body_length - call->body_size);
    if (rest > 0) {
        if (!make_room(call, call->body_size + rest))
            return;
        used += take(call->body, &call->body_size, call->body_length, bytes + used, rest);
    }
    if (used < n)
        varve_grpc_call_refuse(call, "200", VARVE_GRPC_INTERNAL,
                               "the request goes on after its message");
}

void
varve_grpc_request_clear(VarveGrpcCall *call)
{
    varve_arena_clear(&call->arena);
    varve_grpc_server_release(call->server, call->body_room);
    g_clear_pointer(&call->body, g_free);
    call->body_room = 0;
}

/* --- to the handler -------------------------------------------------------------------------- */

void
varve_grpc_request_run(VarveGrpcCall *call)
{
    if (!varve_grpc_call_alive(call)) {
        varve_grpc_call_finish(call, VARVE_GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
        return;
    }
    if (!varve_grpc_strings_whole(call->method->request, call->body, call->body_length)) {
        varve_grpc_call_finish(call, VARVE_GRPC_INVALID_ARGUMENT,
                               "a string of the request has a NUL byte in it");
        return;
    }
    const ProtobufCMessage *request = protobuf_c_message_unpack(
        call->method->request, &call->arena.allocator, call->body_length, call->body);
    if (request == NULL && call->arena.exhausted)
        varve_grpc_call_finish(call, VARVE_GRPC_RESOURCE_EXHAUSTED,
                               "the decoded request needs too much memory");
    else if (request == NULL)
        varve_grpc_call_finish(call, VARVE_GRPC_INTERNAL, "the request cannot be decoded");
    else
        call->method->handler(call, request, call->data);
}

void
varve_grpc_request_end(VarveGrpcCall *call)
{
    call->complete = TRUE;
    if (call->answered)
        return;
    if (call->prefix_size == 0) {
        varve_grpc_call_refuse(call, "200", VARVE_GRPC_INTERNAL, "the request has no message");
    } else if (call->prefix_size < PREFIX || call->body_size < call->body_length) {
        varve_grpc_call_refuse(call, "200", VARVE_GRPC_INTERNAL,
                               "the request ends within its message");
    } else if (call->method->inline_) {
        varve_grpc_request_run(call);
    } else {
        call->handed = TRUE;
        if (!varve_workers_push(call->server->workers, &call->work, call)) {
            call->handed = FALSE;
            varve_grpc_call_refuse(call, "200", VARVE_GRPC_RESOURCE_EXHAUSTED,
                                   "no thread can be started");
        }
    }
}
