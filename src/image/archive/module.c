/* SPDX-License-Identifier: Apache-2.0 */
#include "base/module.h"
#include "image/archive/formats.h"

static const VarveArchiveFormats formats = {
    .open = varve_archive_open,
    .close = varve_archive_free,
    .next = varve_archive_next,
    .source = varve_archive_source,
    .read = varve_archive_read,
    .begin_tar = varve_export_tar_new,
    .end_tar = varve_export_tar_free,
};

VARVE_SHARED const VarveModule varve_module = {VARVE_VERSION, &formats};
