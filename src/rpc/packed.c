/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/packed.h"
#include <string.h>

VarveGrpcPacked *
varve_grpc_pack(const ProtobufCMessage *message)
{
    gsize size = protobuf_c_message_get_packed_size(message);
    g_assert(size <= G_MAXUINT32);
    VarveGrpcPacked *packed = g_malloc(sizeof(VarveGrpcPacked) + PREFIX + size);
    packed->next = NULL;
    packed->size = PREFIX + size;
    packed->bytes[0] = 0; /* not compressed */
    packed->bytes[1] = (guint8)(size >> 24);
    packed->bytes[2] = (guint8)(size >> 16);
    packed->bytes[3] = (guint8)(size >> 8);
    packed->bytes[4] = (guint8)size;
    protobuf_c_message_pack(message, packed->bytes + PREFIX);
    return packed;
}

void
varve_grpc_packed_push(VarveGrpcPackedQueue *queue, VarveGrpcPacked *packed)
{
    if (queue->head == NULL)
        queue->head = packed;
    else
        queue->last->next = packed;
    queue->last = packed;
}

void
varve_grpc_packed_move(VarveGrpcPackedQueue *from, VarveGrpcPackedQueue *to)
{
    if (from->head == NULL)
        return;
    varve_grpc_packed_push(to, from->head);
    to->last = from->last;
    from->head = from->last = NULL;
}

gsize
varve_grpc_packed_read(VarveGrpcPackedQueue *queue, guint8 *bytes, gsize n)
{
    gsize done = 0;
    while (done < n && queue->head != NULL) {
        VarveGrpcPacked *head = queue->head;
        gsize part = MIN(n - done, head->size - queue->offset);
        memcpy(bytes + done, head->bytes + queue->offset, part);
        done += part;
        queue->offset += part;
        if (queue->offset == head->size) {
            queue->head = head->next;
            queue->offset = 0;
            g_free(head);
        }
    }
    return done;
}

void
varve_grpc_packed_drop(VarveGrpcPackedQueue *queue)
{
    while (queue->head != NULL) {
        VarveGrpcPacked *head = queue->head;
        queue->head = head->next;
        g_free(head);
    }
    queue->offset = 0;
}
