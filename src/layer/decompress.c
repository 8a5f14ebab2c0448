/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/compression.h"
#include <isa-l/igzip_lib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#define INPUT_SIZE ((gsize)128 * 1024)
/* ISA-L reads some bytes ahead and hands them back at the end of a member by moving its pointer
 * back, perhaps before the buffer that it was given last: so the end of the one before stands
 * there.
 */
#define HEADROOM ((gsize)16)

/* A window is memory that the layer asks for. RFC 8878 (3.1.1.1.2) asks for 8 MB of all decoders;
 * writers of images have used up to 32. */
#define WINDOW_LOG_MAX 25

struct VarveDecompressor {
    VarveSource source;
    gboolean source_ended, detected;
    guint8 *input; /* HEADROOM + INPUT_SIZE */
    guint8 *next;  /* what was not taken yet */
    gsize left;
    /* Fills the rest of a buffer; returns how much of it is left at the end, or -1. */
    gssize (*fill)(VarveDecompressor *d, guint8 *out, gsize size, GError **error);
    gboolean inside; /* a gzip member or zstd frame */
    struct inflate_state *inflate;
    ZSTD_DCtx *zstd;
};

/* --- input ----------------------------------------------------------------------------------- */

/* Reads the next bytes when there are none left; then left is 0 at the end only. */
static gboolean
need_input(VarveDecompressor *d, GError **error)
{
    if (d->left > 0 || d->source_ended)
        return TRUE;
    guint8 *start = d->input + HEADROOM;
    gsize kept = MIN(HEADROOM, (gsize)(d->next - d->input));
    memmove(start - kept, d->next - kept, kept);
    gssize got = d->source.read(d->source.data, start, INPUT_SIZE, error);
    if (got < 0)
        return FALSE;
    d->next = start;
    d->left = (gsize)got;
    d->source_ended = got == 0;
    return TRUE;
}

static gssize
truncated(GError **error)
{
    varve_error_set(error, VARVE_ERROR_CORRUPT, "the compressed data ends too early");
    return -1;
}

/* --- gzip ------------------------------------------------------------------------------------ */

static gboolean
inflate_failed(int code, GError **error)
{
    static const struct {
        int code;
        const char *text;
    } texts[] = {
        {ISAL_INVALID_BLOCK, "an invalid block"},
        {ISAL_INVALID_SYMBOL, "an invalid symbol"},
        {ISAL_INVALID_LOOKBACK, "a reference to before its beginning"},
        {ISAL_INVALID_WRAPPER, "something else than a gzip member in it or after its end"},
        {ISAL_UNSUPPORTED_METHOD, "an unknown compression method"},
        {ISAL_INCORRECT_CHECKSUM, "a wrong checksum"},
    };
    const char *text = "an error that is not known";
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (texts[i].code == code)
            text = texts[i].text;
    }
    return varve_error_set(error, VARVE_ERROR_CORRUPT, "the gzip data has %s", text);
}

static void
begin_member(VarveDecompressor *d)
{
    isal_inflate_reset(d->inflate);
    d->inflate->crc_flag = ISAL_GZIP;
    d->inside = TRUE;
}

/* Inflates from the input that there is. */
static gboolean
inflate_some(VarveDecompressor *d, GError **error)
{
    struct inflate_state *state = d->inflate;
    guint32 room = state->avail_out;
    gsize had = d->left;
    state->next_in = d->next;
    state->avail_in = (guint32)d->left;
    int code = isal_inflate(state);
    d->next = state->next_in;
    d->left = state->avail_in;
    if (code < 0)
        return inflate_failed(code, error);
    d->inside = state->block_state != ISAL_BLOCK_FINISH;
    gboolean stuck = d->inside && d->left > 0 && d->left == had && room == state->avail_out;
    return !stuck || inflate_failed(ISAL_INVALID_BLOCK, error);
}

static gssize
fill_gzip(VarveDecompressor *d, guint8 *out, gsize size, GError **error)
{
    d->inflate->next_out = out;
    d->inflate->avail_out = (guint32)size;
    while (d->inflate->avail_out > 0) {
        if (!d->inside) {
            if (!need_input(d, error))
                return -1;
            if (d->left == 0)
                break;
            begin_member(d);
        }
        if (!inflate_some(d, error))
            return -1;
        /* Only what could go on gets more, since the bytes that it read ahead are in the input. */
        if (d->inside && d->inflate->avail_out > 0) {
            if (!need_input(d, error))
                return -1;
            if (d->left == 0)
                return truncated(error);
        }
    }
    return d->inflate->avail_out;
}

/* --- zstd ------------------------------------------------------------------------------------ */

static gssize
fill_zstd(VarveDecompressor *d, guint8 *out, gsize size, GError **error)
{
    ZSTD_outBuffer output = {out, size, 0};
    while (output.pos < size) {
        ZSTD_inBuffer input = {d->next, d->left, 0};
        gsize before = output.pos;
        gsize hint = ZSTD_decompressStream(d->zstd, &output, &input);
        if (ZSTD_getErrorCode(hint) == ZSTD_error_frameParameter_windowTooLarge) {
            varve_error_set(error, VARVE_ERROR_CORRUPT,
                            "decompressing the zstd data takes a window of more than %d MB",
                            1 << (WINDOW_LOG_MAX - 20));
            return -1;
        }
        if (ZSTD_isError(hint)) {
            varve_error_set(error, VARVE_ERROR_CORRUPT, "the zstd data is not valid: %s",
                            ZSTD_getErrorName(hint));
            return -1;
        }
        d->next += input.pos;
        d->left -= input.pos;
        if (input.pos > 0 || output.pos > before)
            d->inside = hint != 0;
        if (d->left > 0 || output.pos == size)
            continue;
        if (!need_input(d, error))
            return -1;
        if (d->left > 0)
            continue;
        if (d->inside)
            return truncated(error);
        break;
    }
    return (gssize)(size - output.pos);
}

/* --- neither --------------------------------------------------------------------------------- */

static gssize
fill_plain(VarveDecompressor *d, guint8 *out, gsize size, GError **error)
{
    gsize done = 0;
    while (done < size) {
        if (!need_input(d, error))
            return -1;
        if (d->left == 0)
            break;
        gsize n = MIN(d->left, size - done);
        memcpy(out + done, d->next, n);
        d->next += n;
        d->left -= n;
        done += n;
    }
    return (gssize)(size - done);
}

/* --- which one ------------------------------------------------------------------------------- */

#define MAGIC_SIZE 4

VarveCompression
varve_compression_detect(const guint8 *bytes, gsize size)
{
    if (size >= 3 && bytes[0] == 0x1f && bytes[1] == 0x8b && bytes[2] == 8)
        return VARVE_COMPRESSION_GZIP;
    if (size < MAGIC_SIZE)
        return VARVE_COMPRESSION_NONE;
    guint32 magic = (guint32)bytes[0] | (guint32)bytes[1] << 8 | (guint32)bytes[2] << 16 |
                    (guint32)bytes[3] << 24;
    gboolean skippable = (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
    return magic == ZSTD_MAGICNUMBER || skippable ? VARVE_COMPRESSION_ZSTD : VARVE_COMPRESSION_NONE;
}

static void
begin_gzip(VarveDecompressor *d)
{
    d->inflate = g_new(struct inflate_state, 1);
    isal_inflate_init(d->inflate);
    d->fill = fill_gzip;
}

static void
begin_zstd(VarveDecompressor *d)
{
    d->zstd = ZSTD_createDCtx();
    if (d->zstd == NULL)
        g_error("no memory for libzstd");
    ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    d->fill = fill_zstd;
}

/* Sources may give single bytes. */
static gboolean
read_magic(VarveDecompressor *d, GError **error)
{
    guint8 *start = d->input + HEADROOM;
    d->next = start;
    while (d->left < MAGIC_SIZE && !d->source_ended) {
        gssize got = d->source.read(d->source.data, start + d->left, INPUT_SIZE - d->left, error);
        if (got < 0)
            return FALSE;
        d->left += (gsize)got;
        d->source_ended = got == 0;
    }
    return TRUE;
}

static gboolean
detect(VarveDecompressor *d, GError **error)
{
    if (!read_magic(d, error))
        return FALSE;
    switch (varve_compression_detect(d->next, d->left)) {
    case VARVE_COMPRESSION_GZIP:
        begin_gzip(d);
        break;
    case VARVE_COMPRESSION_ZSTD:
        begin_zstd(d);
        break;
    case VARVE_COMPRESSION_NONE:
        d->fill = fill_plain;
        break;
    }
    d->detected = TRUE;
    return TRUE;
}

VarveDecompressor *
varve_decompressor_new(VarveSource source)
{
    VarveDecompressor *d = g_new0(VarveDecompressor, 1);
    d->source = source;
    d->input = g_malloc0(HEADROOM + INPUT_SIZE);
    return d;
}

void
varve_decompressor_free(VarveDecompressor *d)
{
    if (d == NULL)
        return;
    ZSTD_freeDCtx(d->zstd);
    g_free(d->inflate);
    g_free(d->input);
    g_free(d);
}

gssize
varve_decompressor_read(VarveDecompressor *d, void *buffer, gsize size, GError **error)
{
    g_return_val_if_fail(size <= G_MAXINT32, -1);
    if (!d->detected && !detect(d, error))
        return -1;
    gssize rest = d->fill(d, buffer, size, error);
    return rest < 0 ? -1 : (gssize)size - rest;
}
