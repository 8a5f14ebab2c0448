/* SPDX-License-Identifier: Apache-2.0 */
#include "image/archive/formats.h"
#include "base/module.h"

const VarveArchiveFormats *
varve_archive_formats(GError **error)
{
    return varve_module_load(
        "archive", "the part that reads and writes archives of images, libvarve-archive,", error);
}
