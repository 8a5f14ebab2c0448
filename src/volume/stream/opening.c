/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/opening.h"
#include "base/stream.h"
#include "snapshot/identity.h"
#include "volume/stream/frame-format.h"
#include <string.h>

G_STATIC_ASSERT(sizeof((VarveStreamOpening *)0)->first == sizeof(VarveFramePreamble));
G_STATIC_ASSERT(sizeof(VarveFrameResumption) > sizeof(VarveFramePreamble));

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
    *opening = (VarveStreamOpening){.rest = source};
    gssize got = varve_source_fill(source, opening->first, sizeof opening->first, error);
    if (got < 0)
        return FALSE;
    opening->n_first = (gsize)got;
    if (opening->n_first < sizeof opening->first ||
        memcmp(opening->first, VARVE_FRAME_RESUME_MAGIC, sizeof resumption.magic) != 0)
        return TRUE;
    memcpy(&resumption, opening->first, opening->n_first);
    gsize left = sizeof resumption - opening->n_first;
    got = varve_source_fill(source, (guint8 *)&resumption + opening->n_first, left, error);
    if (got < 0)
        return FALSE;
    if ((gsize)got < left)
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
