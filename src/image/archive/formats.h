/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_ARCHIVE_FORMATS_H
#define VARVE_IMAGE_ARCHIVE_FORMATS_H

/*
 * What libvarve uses of reader.h and writer.h, as the module libvarve-archive.so offers it:
 * libarchive, which brings libxml2 and ICU's 30 MB of tables along, is loaded by those only who
 * read or write an archive of images.
 */

#include "image/archive/reader.h"
#include "image/archive/writer.h"

typedef struct {
    VarveArchive *(*open)(int fd, GError **error);
    void (*close)(VarveArchive *archive);
    gboolean (*next)(VarveArchive *archive, VarveArchiveEntry *entry, gboolean *end,
                     GError **error);
    VarveSource (*source)(VarveArchive *archive);
    char *(*read)(VarveArchive *archive, const VarveArchiveEntry *entry, gsize max_size,
                  GError **error);

    VarveExportTar *(*begin_tar)(int fd, VarveExportWriter *writer, GError **error);
    void (*end_tar)(VarveExportTar *tar);
} VarveArchiveFormats;

/* Loads the module. VARVE_ERROR_FAILED_PRECONDITION when it is not there, or cannot be loaded. */
const VarveArchiveFormats *varve_archive_formats(GError **error);

#endif
