/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/internal.h"
#include <string.h>

/*
 * protobuf allows NUL bytes in strings, C ends strings at them: a handler would see less than what
 * was sent, and "a\0b" would be taken for "a". So such messages are found before they are decoded,
 * by a walk over the wire format (https://protobuf.dev/programming-guides/encoding/) that looks at
 * nothing else; what is malformed is left to the decoder.
 */

#define MAX_NESTING 32

typedef struct {
    const guint8 *at, *end;
} Wire;

enum { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_LENGTH = 2, WIRE_32BIT = 5 };

static gboolean
read_varint(Wire *wire, guint64 *value)
{
    *value = 0;
    for (guint shift = 0; wire->at < wire->end && shift < 64; shift += 7) {
        guint8 byte = *wire->at++;
        *value |= (guint64)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return TRUE;
    }
    return FALSE;
}

/* Takes the field's content off the wire; FALSE at its end or where it is malformed. */
static gboolean
read_field(Wire *wire, guint32 *number, Wire *content)
{
    guint64 tag, size;
    if (!read_varint(wire, &tag))
        return FALSE;
    *number = (guint32)(tag >> 3);
    *content = (Wire){NULL, NULL};
    switch (tag & 7) {
    case WIRE_VARINT:
        return read_varint(wire, &size);
    case WIRE_64BIT:
        size = 8;
        break;
    case WIRE_32BIT:
        size = 4;
        break;
    case WIRE_LENGTH:
        if (!read_varint(wire, &size))
            return FALSE;
        content->at = wire->at;
        break;
    default:
        return FALSE;
    }
    if (size > (gsize)(wire->end - wire->at))
        return FALSE;
    wire->at += size;
    content->end = content->at != NULL ? wire->at : NULL;
    return TRUE;
}

static gboolean
whole(const ProtobufCMessageDescriptor *type, Wire wire, guint nesting)
{
    guint32 number;
    Wire content;
    while (read_field(&wire, &number, &content)) {
        const ProtobufCFieldDescriptor *field =
            content.at != NULL ? protobuf_c_message_descriptor_get_field(type, number) : NULL;
        if (field == NULL)
            continue;
        if (field->type == PROTOBUF_C_TYPE_STRING &&
            memchr(content.at, 0, (gsize)(content.end - content.at)) != NULL)
            return FALSE;
        if (field->type == PROTOBUF_C_TYPE_MESSAGE && nesting < MAX_NESTING &&
            !whole(field->descriptor, content, nesting + 1))
            return FALSE;
    }
    return TRUE;
}

gboolean
varve_grpc_strings_whole(const ProtobufCMessageDescriptor *type, const guint8 *bytes, gsize n)
{
    return n == 0 || memchr(bytes, 0, n) == NULL || whole(type, (Wire){bytes, bytes + n}, 0);
}
