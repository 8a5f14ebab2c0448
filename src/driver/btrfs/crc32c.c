/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/crc32c.h"

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

guint32
varve_crc32c(guint32 crc, const guint8 *bytes, gsize n)
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
