/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/image-size.h"
#include "driver/driver.h"
#include <sys/statvfs.h>

/* The size of a file where that of the file system under it cannot be told. */
#define DEFAULT_SIZE (G_GUINT64_CONSTANT(100) << 30)

gboolean
varve_image_size(const char *file, const char *setting, guint64 *size, GError **error)
{
    if (setting != NULL)
        return varve_driver_parse_size(setting, size, error);
    g_autofree char *parent = g_path_get_dirname(file);
    struct statvfs st;
    *size = DEFAULT_SIZE;
    if (statvfs(parent, &st) == 0 && st.f_blocks > 0)
        *size = (guint64)st.f_blocks / 10 * 7 * st.f_frsize;
    *size -= *size % 4096;
    return TRUE;
}
