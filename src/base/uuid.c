/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"
#include <glib.h>
#include <sys/random.h>

char *
varve_uuid_new(void)
{
    guint8 b[16];
    ssize_t n;
    do
        n = getrandom(b, sizeof(b), 0); /* so few bytes come whole */
    while (n < 0);
    b[6] = (guint8)((b[6] & 0x0f) | 0x40); /* the version */
    b[8] = (guint8)((b[8] & 0x3f) | 0x80); /* the variant */
    return g_strdup_printf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                           b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11],
                           b[12], b[13], b[14], b[15]);
}
