/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_EXPORT_H
#define VARVE_IMAGE_EXPORT_H

/* Exporting: export.c says what is written, the two writers know where to. */

#include "image/internal.h"

typedef struct {
    gboolean (*add_text)(gpointer self, const char *path, const char *text, gsize size,
                         GError **error);
    /* Reads size bytes of source, no more and no less. */
    gboolean (*add_blob)(gpointer self, const char *path, guint64 size, const VarveSource *source,
                         GError **error);
    /* All is added. */
    gboolean (*finish)(gpointer self, GError **error);
    gpointer self;
} VarveExportWriter;

/* Into an empty directory. */
typedef struct {
    int dirfd;
} VarveExportDirectory;
gboolean varve_export_directory_begin(VarveExportDirectory *directory, VarveExportWriter *writer,
                                      GError **error);

/* A tar, to a descriptor: one byte for byte for the same content. */
typedef struct VarveExportTar VarveExportTar;
VarveExportTar *varve_export_tar_new(int fd, VarveExportWriter *writer, GError **error);
void varve_export_tar_free(VarveExportTar *tar);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveExportTar, varve_export_tar_free)

#endif
