/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads the input as what a stream of ZFS begins with. It is in a buffer of its own size, so that
 * the sanitizer sees what is read beyond it.
 */

#include "driver/zfs/begin.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree guint8 *bytes = g_malloc(size + (size == 0)); /* never NULL */
    memcpy(bytes, data, size);
    VarveZfsBegin begin;
    g_autoptr(GError) error = NULL;
    gboolean ok = varve_zfs_begin_parse(bytes, size, &begin, &error);
    g_assert(ok == (error == NULL));
    g_assert(!ok || size >= VARVE_ZFS_BEGIN_SIZE);
    return 0;
}
