/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads the input as a snapshot's stream. The first byte picks how: as frames, as what was kept of
 * them and what goes on with that, as a token, or as the portable payload, which is unpacked to a
 * directory on a tmpfs of its own, beside another one that must stay as it is. Checksums are made
 * right, since nothing would be found behind them otherwise.
 */

#include "base/fd.h"
#include "outside.h"
#include "volume/stream/frames.h"
#include "volume/stream/header.h"
#include "volume/stream/opening.h"
#include "volume/stream/token.h"
#include "volume/stream/unpack.h"
#include <isa-l/crc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

#define PREAMBLE   16
#define RESUMPTION 64
#define CHAIN      56 /* in it: the checksum of the last frame before */
#define HEAD       24

typedef struct {
    guint8 *bytes;
    gsize length, at, piece;
} Input;

static gssize
read_input(gpointer data, void *buffer, gsize size, GError **error)
{
    Input *input = data;
    gsize n = MIN(MIN(size, input->piece), input->length - input->at);
    if (n > 0)
        memcpy(buffer, input->bytes + input->at, n);
    input->at += n;
    return (gssize)n;
}

static guint32
set_checksum(guint32 crc, guint8 *head, gsize length, const guint8 *follows, gsize size)
{
    crc = ~crc32_iscsi(head, (int)length, ~crc);
    if (size > 0)
        crc = ~crc32_iscsi((guint8 *)follows, (int)size, ~crc);
    const guint32 stored = GUINT32_TO_LE(crc);
    memcpy(head + length, &stored, sizeof stored);
    return crc;
}

/* Those of all frames from there on; returns the last one. */
static guint32
set_frame_checksums(const Input *input, gsize at, guint32 crc)
{
    for (gsize size; at + HEAD <= input->length; at += HEAD + size) {
        guint32 length;
        memcpy(&length, input->bytes + at + 12, sizeof length);
        size = GUINT32_FROM_LE(length);
        if (size > input->length - at - HEAD)
            break;
        crc = set_checksum(crc, input->bytes + at, HEAD - 4, input->bytes + at + HEAD, size);
    }
    return crc;
}

static guint32
set_checksums(const Input *input)
{
    if (input->length < PREAMBLE)
        return 0;
    return set_frame_checksums(input, PREAMBLE,
                               set_checksum(0, input->bytes, PREAMBLE - 4, NULL, 0));
}

static gboolean
keep(gpointer data, const void *bytes, gsize size, GError **error)
{
    g_byte_array_append(data, bytes, (guint)size);
    return TRUE;
}

/* What is kept is a beginning of what was read, and can be read itself. */
static void
check_kept(GByteArray *kept, const VarveFramePlace *place)
{
    const guint8 *bytes = (const guint8 *)"";
    gsize size;
    g_auto(VarveStreamHeader) header = {0};
    Input input = {kept->data, kept->len, 0, G_MAXSIZE};
    g_autoptr(VarveFrameReader) reader = varve_frame_reader_new((VarveSource){read_input, &input});
    varve_frame_reader_skim(reader);
    g_assert(varve_stream_header_read(reader, &header, NULL));
    while (varve_frame_reader_next(reader, &bytes, &size, NULL) && bytes != NULL)
        continue;
    const VarveFramePlace found = varve_frame_reader_place(reader);
    g_assert(found.bytes == place->bytes && found.bytes == kept->len && found.crc == place->crc);
}

static void
read_stream(VarveSource source, const VarveFramePlace *expected)
{
    g_autoptr(GError) error = NULL;
    g_auto(VarveStreamHeader) header = {0};
    g_autoptr(GByteArray) kept = g_byte_array_new();
    const guint8 *bytes = (const guint8 *)"";
    gsize size;
    g_autoptr(VarveFrameReader) reader = varve_frame_reader_new(source);
    gboolean ok = varve_stream_header_read(reader, &header, &error);
    gboolean begun = ok;
    if (ok && expected != NULL)
        ok = varve_frame_reader_expect(reader, expected, &error);
    else if (ok)
        varve_frame_reader_keep(reader, (VarveSink){keep, kept});
    while (ok && bytes != NULL)
        ok = varve_frame_reader_next(reader, &bytes, &size, &error);
    g_assert(ok == (error == NULL));
    const VarveFramePlace place = varve_frame_reader_place(reader);
    if (begun && expected == NULL)
        check_kept(kept, &place);
}

static void
read_frames(Input *input)
{
    set_checksums(input);
    read_stream((VarveSource){read_input, input}, NULL);
}

/* The first two bytes say how much of the input was kept. */
static void
go_on(Input *input)
{
    guint16 length = 0;
    g_autoptr(GError) error = NULL;
    memcpy(&length, input->bytes, MIN(sizeof length, input->length));
    gsize skip = MIN(sizeof length, input->length), n = MIN(length, input->length - skip);
    Input before = {input->bytes + skip, n, 0, input->piece};
    Input rest = {input->bytes + skip + n, input->length - skip - n, 0, input->piece};
    const guint32 crc = set_checksums(&before), chain = GUINT32_TO_LE(crc);
    if (rest.length >= RESUMPTION) {
        memcpy(rest.bytes + CHAIN, &chain, sizeof chain);
        set_checksum(0, rest.bytes, RESUMPTION - 4, NULL, 0);
        set_frame_checksums(&rest, RESUMPTION, crc);
    }
    VarveStreamOpening opening;
    if (!varve_stream_opening_read(&opening, (VarveSource){read_input, &rest}, &error)) {
        g_assert_nonnull(error);
        return;
    }
    opening.kept = (VarveSource){read_input, &before};
    read_stream(varve_stream_opening_source(&opening), opening.goes_on ? &opening.place : NULL);
}

static void
read_token(Input *input)
{
    g_autofree guint8 *message = g_malloc(input->length + 4);
    memcpy(message, input->bytes, input->length);
    set_checksum(0, message, input->length, NULL, 0);
    g_autofree char *text = g_base64_encode(message, input->length + 4);
    g_strdelimit(g_strdelimit(text, "+", '-'), "/", '_');
    text[strcspn(text, "=")] = '\0';
    g_autofree char *token = g_strconcat("varve1.", text, NULL);
    g_autofree char *raw = g_strndup((const char *)input->bytes, input->length);
    const char *const tokens[] = {token, raw};
    for (gsize i = 0; i < G_N_ELEMENTS(tokens); i++) {
        g_autoptr(GError) error = NULL;
        g_auto(VarveResumeToken) read = {0};
        gboolean ok = varve_resume_token_read(tokens[i], &read, &error);
        g_assert(ok == (error == NULL));
    }
}

static void
unpack(Input *input)
{
    const VarveTreeWatch watch = {NULL, NULL, NULL};
    const int top = outside_top();
    guint64 entries;
    g_autoptr(GError) error = NULL, failed = NULL;
    g_assert_no_errno(mkdirat(top, "root", 0755));
    g_assert_no_errno(symlinkat("../outside", top, "root/out"));
    g_assert_no_errno(mknodat(top, "root/file", S_IFREG | 0644, 0));
    g_assert_no_errno(linkat(top, "root/file", top, "root/link", 0));
    Outside before = outside_look();
    varve_autofd root = varve_fd_open_dir(top, "root", NULL);
    gboolean ok =
        varve_stream_unpack(root, (VarveSource){read_input, input}, &watch, &entries, &error);
    g_assert(ok == (error == NULL));
    outside_assert_same(&before);
    varve_tree_remove(top, "root", NULL, &failed);
    g_assert_no_error(failed);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    if (size == 0)
        return 0;
    g_autofree guint8 *bytes = g_malloc(size); /* never NULL */
    memcpy(bytes, data + 1, size - 1);
    static void (*const ways[])(Input * input) = {read_frames, unpack, go_on, read_token};
    Input input = {bytes, size - 1, 0, (data[0] & 2) != 0 ? 100 : G_MAXSIZE};
    ways[(data[0] & 1) | (data[0] & 4) >> 1](&input);
    return 0;
}
