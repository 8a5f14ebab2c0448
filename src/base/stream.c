/* SPDX-License-Identifier: Apache-2.0 */
#include "base/stream.h"

gssize
varve_source_fill(VarveSource source, void *buffer, gsize size, GError **error)
{
    gsize got = 0;
    while (got < size) {
        gssize n = source.read(source.data, (guint8 *)buffer + got, size - got, error);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        got += (gsize)n;
    }
    return (gssize)got;
}
