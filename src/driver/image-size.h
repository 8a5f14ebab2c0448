/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_IMAGE_SIZE_H
#define VARVE_DRIVER_IMAGE_SIZE_H

#include "base/error.h"

/* How large the sparse file of a pool is to be (row D5): what the setting says, if it is not NULL;
 * else 70% of the file system that will hold it, or 100 GB where that cannot be told. In whole
 * pages. */
VARVE_SHARED gboolean varve_image_size(const char *file, const char *setting, guint64 *size,
                                       GError **error);

#endif
