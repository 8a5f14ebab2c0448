/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads the input as a snapshot's stream. The first byte picks how: as frames, or as the portable
 * payload, which is unpacked to a directory on a tmpfs of its own, beside another one that must
 * stay as it is. Checksums of frames are made right, since nothing would be found behind them
 * otherwise.
 */

#include "base/fd.h"
#include "outside.h"
#include "volume/stream/frames.h"
#include "volume/stream/header.h"
#include "volume/stream/unpack.h"
#include <isa-l/crc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

#define PREAMBLE 16
#define HEAD     24

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

static void
set_checksums(Input *input)
{
    if (input->length < PREAMBLE)
        return;
    guint32 crc = set_checksum(0, input->bytes, PREAMBLE - 4, NULL, 0);
    for (gsize at = PREAMBLE, size; at + HEAD <= input->length; at += HEAD + size) {
        guint32 length;
        memcpy(&length, input->bytes + at + 12, sizeof length);
        size = GUINT32_FROM_LE(length);
        if (size > input->length - at - HEAD)
            return;
        crc = set_checksum(crc, input->bytes + at, HEAD - 4, input->bytes + at + HEAD, size);
    }
}

static void
read_frames(Input *input)
{
    g_autoptr(GError) error = NULL;
    g_auto(VarveStreamHeader) header = {0};
    const guint8 *bytes = (const guint8 *)"";
    gsize size;
    set_checksums(input);
    g_autoptr(VarveFrameReader) reader = varve_frame_reader_new((VarveSource){read_input, input});
    gboolean ok = varve_stream_header_read(reader, &header, &error);
    while (ok && bytes != NULL)
        ok = varve_frame_reader_next(reader, &bytes, &size, &error);
    g_assert(ok == (error == NULL));
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
    Input input = {bytes, size - 1, 0, (data[0] & 2) != 0 ? 100 : G_MAXSIZE};
    ((data[0] & 1) != 0 ? unpack : read_frames)(&input);
    return 0;
}
