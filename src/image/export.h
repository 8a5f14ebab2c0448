/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_EXPORT_H
#define VARVE_IMAGE_EXPORT_H

/* Exporting: export.c says what is written; the two writers, export-directory.c and
 * archive/writer.c, know where to. */

#include "base/stream.h"

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

#endif
