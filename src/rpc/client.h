/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_CLIENT_H
#define VARVE_RPC_CLIENT_H

/*
 * A small gRPC client on a unix stream socket, for a thread that can wait: one connection, on which
 * one call is made after the other. A call is begun; messages are sent and received in whatever
 * order its method wants, which makes unary and streaming calls the same thing; it is over when the
 * peer has given its status.
 *
 * A peer that sends and takes nothing for a minute is given up, and a wish to cancel is heeded
 * within a tenth of a second. Memory is bounded: by one message (16 MiB) in each direction, and
 * nothing is read beyond the message that is waited for. Errors have the code that the peer's
 * status stands for and name the method. After one, the client is good for nothing but another
 * call, which says so if the connection is gone.
 *
 * Not to be used by two threads at the same time.
 */

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

typedef struct VarveGrpcClient VarveGrpcClient;

/* cancelled may be NULL; else it outlives the client, and ends every waiting once it is set. */
VarveGrpcClient *varve_grpc_client_new(const char *socket, const gint *cancelled, GError **error);
void varve_grpc_client_free(VarveGrpcClient *client);

/* Has a header sent with the calls that are begun from now on; a value of NULL: without it. */
void varve_grpc_client_set_header(VarveGrpcClient *client, const char *name, const char *value);

/* Begins a call; path is as in VarveGrpcMethod. What is left of the one before is dropped. */
gboolean varve_grpc_client_begin(VarveGrpcClient *client, const char *path, GError **error);

/* Sends a message, and waits until the peer has room for it. last: it is the call's last one. */
gboolean varve_grpc_client_send(VarveGrpcClient *client, const ProtobufCMessage *message,
                                gboolean last, GError **error);

/* Waits for the next message, which the caller frees (protobuf_c_message_free_unpacked). NULL
 * without an error: the call has ended, and well. */
ProtobufCMessage *varve_grpc_client_receive(VarveGrpcClient *client,
                                            const ProtobufCMessageDescriptor *type, GError **error);

/* A whole unary call. */
ProtobufCMessage *varve_grpc_client_call(VarveGrpcClient *client, const char *path,
                                         const ProtobufCMessage *request,
                                         const ProtobufCMessageDescriptor *type, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveGrpcClient, varve_grpc_client_free)

#endif
