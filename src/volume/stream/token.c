/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/token.h"
#include "snapshot/identity.h"
#include "stream.pb-c.h"
#include "volume/stream/frame-format.h"
#include <string.h>

/* A message, and its checksum, as base64url without padding (RFC 4648, section 5). */

#define PREFIX   "varve1."
#define MAX_TEXT 2048

void
varve_resume_token_clear(VarveResumeToken *token)
{
    g_clear_pointer(&token->uuid, g_free);
    g_clear_pointer(&token->format, g_free);
    g_clear_pointer(&token->base, g_free);
}

/* --- writing ---------------------------------------------------------------------------------- */

static char *
encode(const guint8 *bytes, gsize size)
{
    g_autofree char *text = g_base64_encode(bytes, size);
    g_strdelimit(text, "+", '-');
    g_strdelimit(text, "/", '_');
    text[strcspn(text, "=")] = '\0';
    return g_strconcat(PREFIX, text, NULL);
}

char *
varve_resume_token_write(const VarveStreamHeader *header, const VarveFramePlace *place)
{
    Varve__Stream__ResumeToken message = VARVE__STREAM__RESUME_TOKEN__INIT;
    message.uuid = header->uuid;
    message.since = header->base;
    message.format = header->format;
    message.plain = header->plain;
    message.expected = header->expected;
    message.bytes = place->bytes;
    message.crc = place->crc;
    gsize size = varve__stream__resume_token__get_packed_size(&message);
    g_autofree guint8 *bytes = g_malloc(size + sizeof(guint32));
    varve__stream__resume_token__pack(&message, bytes);
    const guint32 crc = GUINT32_TO_LE(varve_frame_checksum(0, bytes, size));
    memcpy(bytes + size, &crc, sizeof crc);
    return encode(bytes, size + sizeof crc);
}

/* --- reading ---------------------------------------------------------------------------------- */

static guint8 *
decode(const char *text, gsize *size)
{
    gsize length = strnlen(text, MAX_TEXT + 1);
    if (length > MAX_TEXT || !g_str_has_prefix(text, PREFIX))
        return NULL;
    text += strlen(PREFIX);
    if (text[strspn(text, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_")] != '\0')
        return NULL;
    static const char *const padding[] = {"", "", "==", "="};
    g_autofree char *padded = g_strconcat(text, padding[strlen(text) % 4], NULL);
    g_strdelimit(padded, "-", '+');
    g_strdelimit(padded, "_", '/');
    return g_base64_decode(padded, size);
}

static gboolean
check(const VarveResumeToken *token)
{
    return varve_uuid_check(token->uuid, NULL) &&
           (token->base[0] == '\0' || varve_uuid_check(token->base, NULL)) &&
           token->format[0] != '\0' && token->place.bytes > 0 && token->place.bytes <= G_MAXINT64;
}

static gboolean
take(const Varve__Stream__ResumeToken *message, VarveResumeToken *token)
{
    *token = (VarveResumeToken){
        .uuid = g_strdup(message->uuid),
        .format = g_strdup(message->format),
        .base = g_strdup(message->since),
        .plain = message->plain,
        .expected = message->expected,
        .place = {message->bytes, message->crc},
    };
    return check(token);
}

static gboolean
unpack(const guint8 *bytes, gsize size, VarveResumeToken *token)
{
    guint32 crc;
    if (size < sizeof crc)
        return FALSE;
    size -= sizeof crc;
    memcpy(&crc, bytes + size, sizeof crc);
    if (GUINT32_FROM_LE(crc) != varve_frame_checksum(0, bytes, size))
        return FALSE;
    Varve__Stream__ResumeToken *message = varve__stream__resume_token__unpack(NULL, size, bytes);
    if (message == NULL)
        return FALSE;
    gboolean ok = take(message, token);
    varve__stream__resume_token__free_unpacked(message, NULL);
    return ok;
}

gboolean
varve_resume_token_read(const char *text, VarveResumeToken *token, GError **error)
{
    gsize size = 0;
    g_autofree guint8 *bytes = decode(text, &size);
    g_autofree char *same = bytes != NULL ? encode(bytes, size) : NULL;
    *token = (VarveResumeToken){.uuid = NULL};
    return (bytes != NULL && g_str_equal(same, text) && unpack(bytes, size, token)) ||
           varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "that is no token of a transfer that broke off, or not all of it");
}
