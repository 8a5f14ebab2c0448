/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_PACKED_H
#define VARVE_RPC_PACKED_H

/* Messages as they go over the wire, and queues of them that are read as one stream of bytes. */

#include <glib.h>
#include <protobuf-c/protobuf-c.h>

#define PREFIX 5 /* bytes before each message: a compressed flag and the length, big-endian */

typedef struct VarveGrpcPacked VarveGrpcPacked;
struct VarveGrpcPacked {
    VarveGrpcPacked *next;
    gsize size;
    guint8 bytes[]; /* prefix included */
};

typedef struct {
    VarveGrpcPacked *head, *last;
    gsize offset; /* how much of head was read already */
} VarveGrpcPackedQueue;

VarveGrpcPacked *varve_grpc_pack(const ProtobufCMessage *message);

/* Takes packed. */
void varve_grpc_packed_push(VarveGrpcPackedQueue *queue, VarveGrpcPacked *packed);

/* Moves all of from, which was not read from yet, to the end of to. */
void varve_grpc_packed_move(VarveGrpcPackedQueue *from, VarveGrpcPackedQueue *to);

/* Takes up to n bytes; returns how many. */
gsize varve_grpc_packed_read(VarveGrpcPackedQueue *queue, guint8 *bytes, gsize n);

void varve_grpc_packed_drop(VarveGrpcPackedQueue *queue);

#endif
