/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Applies the input as a layer, decompressed, to a directory on a tmpfs of its own. The first byte
 * picks how. Checksums of what looks like headers are made right, since nothing would be found
 * behind them otherwise. Whatever the input is, what lies beside the root must stay as it is.
 */

#include "base/fd.h"
#include "layer/tar.h"
#include "layer/writer.h"
#include "outside.h"
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

#define BLOCK 512

static void
make_checksums(guint8 *bytes, gsize size)
{
    for (gsize at = 0; at + BLOCK <= size; at += BLOCK) {
        guint8 *block = bytes + at;
        guint sum = 0;
        if (memcmp(block + 257, "ustar", 5) != 0)
            continue;
        memset(block + 148, ' ', 8);
        for (gsize i = 0; i < BLOCK; i++)
            sum += block[i];
        g_snprintf((char *)block + 148, 8, "%06o", sum);
    }
}

typedef struct {
    const guint8 *bytes;
    gsize left, piece;
} Input;

static gboolean
next(gpointer data, const guint8 **bytes, gsize *size, GError **error)
{
    Input *input = data;
    *bytes = input->bytes;
    *size = MIN(input->left, input->piece);
    input->bytes += *size;
    input->left -= *size;
    return TRUE;
}

/* A file may be said to have any size; what is written of it is in the input. */
static gboolean
apply(const VarveLayerTarget *target, Input *input, GError **error)
{
    g_autoptr(VarveWriter) writer = varve_writer_new(target, FALSE, error);
    g_autoptr(VarveTar) tar = varve_tar_new((VarveTarInput){next, input});
    const VarveTarEntry *entry;
    g_assert_nonnull(writer);
    while (varve_tar_next(tar, &entry, error)) {
        if (entry == NULL)
            return varve_writer_finish(writer, error) && varve_tar_drain(tar, error);
        if (!varve_writer_add(writer, tar, entry, error))
            return FALSE;
    }
    return FALSE;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    int top = outside_top();
    if (size == 0)
        return 0;
    g_autofree guint8 *bytes = g_malloc(size); /* never NULL */
    memcpy(bytes, data + 1, size - 1);
    make_checksums(bytes, size - 1);
    g_assert_no_errno(mkdirat(top, "root", 0755));
    varve_autofd root = varve_fd_open_dir(top, "root", NULL);
    varve_autofd outside = varve_fd_open_dir(top, "outside", NULL);
    VarveLayerTarget target = {.root = root,
                               .parent = (data[0] & 1) != 0 ? outside : -1,
                               .whiteouts = (data[0] & 2) != 0 ? VARVE_WHITEOUTS_OVERLAY
                                                               : VARVE_WHITEOUTS_REMOVE,
                               .fresh = (data[0] & 4) != 0};
    Input input = {bytes, size - 1, (data[0] & 8) != 0 ? 100 : G_MAXSIZE};
    Outside before = outside_look();
    g_autoptr(GError) error = NULL;
    gboolean ok = apply(&target, &input, &error);
    g_assert(ok == (error == NULL));

    outside_assert_same(&before);
    g_autoptr(GError) failed = NULL;
    varve_tree_remove(top, "root", NULL, &failed);
    g_assert_no_error(failed);
    return 0;
}
