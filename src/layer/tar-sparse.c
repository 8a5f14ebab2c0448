/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/tar-internal.h"

/* GNU tar's manual, "Storing Sparse Files". */

enum {
    HEADER_MAP = 386,
    HEADER_SEGMENTS = 4,
    HEADER_MORE = 482,
    HEADER_REAL_SIZE = 483,
    EXTENSION_SEGMENTS = 21,
    EXTENSION_MORE = 504,
    NUMBER_SIZE = 12,
};

static gboolean
bad_map(GError **error)
{
    return varve_error_set(error, VARVE_ERROR_CORRUPT, "its map of a sparse file is not valid");
}

gboolean
varve_tar_sparse_add(GArray *segments, guint64 offset, guint64 size, GError **error)
{
    if (segments->len >= VARVE_TAR_MAX_SEGMENTS)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "its map of a sparse file has more than %u parts",
                               VARVE_TAR_MAX_SEGMENTS);
    VarveTarSegment segment = {offset, size};
    g_array_append_val(segments, segment);
    return TRUE;
}

/* The map ends at its first empty field. */
static gboolean
add_fields(const guint8 *fields, guint n, GArray *segments, GError **error)
{
    for (guint i = 0; i < n; i++, fields += (gsize)2 * NUMBER_SIZE) {
        gint64 offset, size;
        if (fields[0] == '\0')
            return TRUE;
        if (!varve_tar_number(fields, NUMBER_SIZE, &offset) ||
            !varve_tar_number(fields + NUMBER_SIZE, NUMBER_SIZE, &size) || offset < 0 || size < 0)
            return bad_map(error);
        if (!varve_tar_sparse_add(segments, (guint64)offset, (guint64)size, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
varve_tar_sparse_header(const guint8 *block, GArray *segments, guint64 *real_size, gboolean *more,
                        GError **error)
{
    gint64 size;
    if (!varve_tar_number(block + HEADER_REAL_SIZE, NUMBER_SIZE, &size) || size < 0)
        return bad_map(error);
    *real_size = (guint64)size;
    *more = block[HEADER_MORE] != 0;
    return add_fields(block + HEADER_MAP, HEADER_SEGMENTS, segments, error);
}

gboolean
varve_tar_sparse_extension(const guint8 *block, GArray *segments, gboolean *more, GError **error)
{
    *more = block[EXTENSION_MORE] != 0;
    return add_fields(block, EXTENSION_SEGMENTS, segments, error);
}

void
varve_tar_sparse_text_begin(VarveTarSparseText *text)
{
    *text = (VarveTarSparseText){.expected = G_MAXUINT64};
}

/* A number is complete. The first one says how many pairs follow. */
static gboolean
take_number(VarveTarSparseText *text, GArray *segments, GError **error)
{
    guint64 number = text->number;
    text->number = 0;
    text->digits = FALSE;
    if (text->expected == G_MAXUINT64) {
        text->expected = number <= VARVE_TAR_MAX_SEGMENTS ? 2 * number : 0;
        return number <= VARVE_TAR_MAX_SEGMENTS || bad_map(error);
    }
    if (text->seen++ % 2 == 1)
        return varve_tar_sparse_add(segments, text->offset, number, error);
    text->offset = number;
    return TRUE;
}

gboolean
varve_tar_sparse_text(VarveTarSparseText *text, const guint8 *block, GArray *segments,
                      gboolean *more, GError **error)
{
    for (gsize i = 0; i < VARVE_TAR_BLOCK && text->seen < text->expected; i++) {
        if (block[i] == '\n' && text->digits) {
            if (!take_number(text, segments, error))
                return FALSE;
            continue;
        }
        if (!g_ascii_isdigit(block[i]) || !g_uint64_checked_mul(&text->number, text->number, 10) ||
            !g_uint64_checked_add(&text->number, text->number, (guint64)(block[i] - '0')))
            return bad_map(error);
        text->digits = TRUE;
    }
    *more = text->seen < text->expected;
    return TRUE;
}

gboolean
varve_tar_sparse_check(const GArray *segments, guint64 real_size, guint64 stored, GError **error)
{
    guint64 end = 0, sum = 0;
    for (guint i = 0; i < segments->len; i++) {
        const VarveTarSegment *segment = &g_array_index(segments, VarveTarSegment, i);
        if (segment->offset < end || segment->offset > real_size ||
            segment->size > real_size - segment->offset)
            return bad_map(error);
        end = segment->offset + segment->size;
        sum += segment->size;
    }
    return sum == stored || bad_map(error);
}
