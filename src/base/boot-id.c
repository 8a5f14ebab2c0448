/* SPDX-License-Identifier: Apache-2.0 */
#include "base/boot-id.h"
#include <string.h>

void
varve_boot_id_read(char *buffer, gsize size)
{
    g_autofree char *text = NULL;
    memset(buffer, 0, size);
    if (g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
        g_strlcpy(buffer, g_strstrip(text), size);
}
