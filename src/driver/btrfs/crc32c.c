/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/crc32c.h"

#include <string.h>

#define POLYNOMIAL 0x82f63b78U

static guint32 table[256]; /* what one byte makes of the checksum */

static void
fill_table(void)
{
    for (guint32 i = 0; i < G_N_ELEMENTS(table); i++) {
        guint32 crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        table[i] = crc;
    }
}

static guint32
crc32c_by_table(guint32 crc, const guint8 *bytes, gsize n)
{
    static gsize filled;
    if (g_once_init_enter(&filled)) {
        fill_table();
        g_once_init_leave(&filled, 1);
    }
    for (gsize i = 0; i < n; i++)
        crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 0xff];
    return crc;
}

#ifdef __x86_64__
/* The processor has an instruction for just this checksum: twenty times as fast. */
__attribute__((target("sse4.2"))) static guint32
crc32c_by_instruction(guint32 crc, const guint8 *bytes, gsize n)
{
    guint64 wide = crc;
    for (; n >= sizeof wide; n -= sizeof wide, bytes += sizeof wide) {
        guint64 word;
        memcpy(&word, bytes, sizeof word);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (guint32)wide;
    for (; n > 0; n--, bytes++)
        crc = __builtin_ia32_crc32qi(crc, *bytes);
    return crc;
}
#endif

guint32
varve_crc32c(guint32 crc, const guint8 *bytes, gsize n)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_by_instruction(crc, bytes, n);
#endif
    return crc32c_by_table(crc, bytes, n);
}
