/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_ARCHIVE_WRITER_H
#define VARVE_IMAGE_ARCHIVE_WRITER_H

#include "image/export.h"

/* A tar, to a descriptor: one byte for byte for the same content. */
typedef struct VarveExportTar VarveExportTar;
VarveExportTar *varve_export_tar_new(int fd, VarveExportWriter *writer, GError **error);
void varve_export_tar_free(VarveExportTar *tar);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveExportTar, varve_export_tar_free)

#endif
