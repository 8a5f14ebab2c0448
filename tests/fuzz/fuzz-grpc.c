/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Feeds the input to the gRPC server as what one peer sends, without a socket. The first byte
 * picks how: its lowest bit puts the client's preface and an empty SETTINGS frame in front, so that
 * inputs begin where the interesting part does; the others say how large the pieces are. Then the
 * connection goes away in whatever state it is.
 *
 * The methods are inline, so that a run depends on nothing but the input.
 */

#include "diff.pb-c.h"
#include "rpc/internal.h"
#include "snapshots.pb-c.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void
echo(VarveGrpcCall *call, const ProtobufCMessage *request, gpointer data)
{
    varve_grpc_call_send(call, request);
    varve_grpc_call_finish(call, VARVE_GRPC_OK, NULL);
}

static void
fail(VarveGrpcCall *call, const ProtobufCMessage *request, gpointer data)
{
    const Containerd__Services__Snapshots__V1__KeyRequest *key = (const void *)request;
    varve_grpc_call_finish(call, 5, key->key);
}

static void
tell_header(VarveGrpcCall *call, const ProtobufCMessage *request, gpointer data)
{
    varve_grpc_call_send(call, request);
    varve_grpc_call_finish(call, 5, varve_grpc_call_header(call, "containerd-namespace"));
}

static const VarveGrpcMethod methods[] = {
    {"/a", &containerd__services__snapshots__v1__prepare_request__descriptor, echo, TRUE},
    {"/b", &containerd__services__snapshots__v1__key_request__descriptor, fail, TRUE},
    {"/c", &containerd__services__snapshots__v1__update_request__descriptor, echo, TRUE},
    {"/d", &containerd__services__diff__v1__apply_request__descriptor, tell_header, TRUE, TRUE},
    {"/e", &containerd__services__diff__v1__diff_request__descriptor, tell_header, TRUE, TRUE},
    {NULL},
};

static VarveGrpcServer *server;

/* Feeds all in pieces, and collects what is answered in between. */
static gboolean
feed(VarveGrpcConnection *connection, const guint8 *bytes, gsize n, gsize piece)
{
    g_autoptr(GByteArray) answer = g_byte_array_new();
    for (gsize done = 0; done < n; done += piece) {
        g_byte_array_set_size(answer, 0);
        if (!varve_grpc_connection_feed(connection, bytes + done, MIN(piece, n - done)) ||
            !varve_grpc_connection_collect(connection, answer, 1 << 20))
            return FALSE;
    }
    return TRUE;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";

    if (size == 0)
        return 0;
    if (server == NULL)
        server = varve_grpc_server_new(methods, NULL, 1);
    VarveGrpcConnection *connection = varve_grpc_connection_new(server, -1);
    gsize piece = (data[0] >> 1) == 0 ? size : data[0] >> 1;
    if (!(data[0] & 1) ||
        feed(connection, (const guint8 *)preface, sizeof(preface), sizeof(preface)))
        feed(connection, data + 1, size - 1, piece);

    varve_grpc_connection_close(connection);
    g_assert(g_queue_pop_head_link(&server->closed) == &connection->link);
    varve_grpc_connection_free(connection);
    VarveGrpcStats stats;
    varve_grpc_server_stats(server, &stats);
    g_assert(stats.connections == 0 && stats.active_calls == 0 && server->held == 0);
    return 0;
}
