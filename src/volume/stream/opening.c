/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/opening.h"
#include "snapshot/identity.h"
#include "volume/stream/frame-format.h"
#include <string.h>

G_STATIC_ASSERT(sizeof((VarveStreamOpening *)0)->first == sizeof(VarveFramePreamble));
G_STATIC_ASSERT(sizeof(VarveFrameResumption) > sizeof(VarveFramePreamble));

static gboolean
read_all(VarveSource source, guint8 *buffer, gsize size, gsize *got, GError **error)
{
    for (*got = 0; *got < size;) {
        gssize n = source.read(source.data, buffer + *got, size - *got, error);
        if (n <= 0)
            return n == 0;
        *got += (gsize)n;
    }
    return TRUE;
}

static gboolean
take_resumption(VarveStreamOpening *opening, const VarveFrameResumption *resumption, GError **error)
{
    guint32 version = GUINT32_FROM_LE(resumption->version);
    guint32 crc = varve_frame_checksum(0, resumption, offsetof(VarveFrameResumption, crc));
    if (GUINT32_FROM_LE(resumption->crc) != crc)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "the stream's first bytes are damaged");
    if (version != VARVE_FRAME_RESUME_VERSION)
        return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                               "the stream goes on with another one in version %u, this Varve "
                               "knows version %d",
                               version, VARVE_FRAME_RESUME_VERSION);
    memcpy(opening->uuid, resumption->uuid, sizeof resumption->uuid);
    opening->place =
        (VarveFramePlace){GUINT64_FROM_LE(resumption->bytes), GUINT32_FROM_LE(resumption->chain)};
    opening->goes_on = TRUE;
    return (varve_uuid_check(opening->uuid, NULL) && opening->place.bytes > 0 &&
            opening->place.bytes <= G_MAXINT64) ||
           varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the stream goes on with something that cannot be");
}

gboolean
varve_stream_opening_read(VarveStreamOpening *opening, VarveSource source, GError **error)
{
    VarveFrameResumption resumption;
    gsize got;
    *opening = (VarveStreamOpening){.rest = source};
    if (!read_all(source, opening->first, sizeof opening->first, &opening->n_first, error))
        return FALSE;
    if (opening->n_first < sizeof opening->first ||
        memcmp(opening->first, VARVE_FRAME_RESUME_MAGIC, sizeof resumption.magic) != 0)
        return TRUE;
    memcpy(&resumption, opening->first, opening->n_first);
    gsize left = sizeof resumption - opening->n_first;
    if (!read_all(source, (guint8 *)&resumption + opening->n_first, left, &got, error))
        return FALSE;
    if (got < left)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the stream is cut off: it did not arrive whole");
    return take_resumption(opening, &resumption, error);
}

static gssize
read_stream(gpointer data, void *buffer, gsize size, GError **error)
{
    VarveStreamOpening *opening = data;
    if (!opening->goes_on && opening->at < opening->n_first) {
        gsize n = MIN(size, opening->n_first - opening->at);
        memcpy(buffer, opening->first + opening->at, n);
        opening->at += n;
        return (gssize)n;
    }
    gssize n = opening->goes_on ? opening->kept.read(opening->kept.data, buffer, size, error) : 0;
    return n != 0 ? n : opening->rest.read(opening->rest.data, buffer, size, error);
}

VarveSource
varve_stream_opening_source(VarveStreamOpening *opening)
{
    return (VarveSource){read_stream, opening};
}
