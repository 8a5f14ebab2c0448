/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_ARCHIVE_READER_H
#define VARVE_IMAGE_ARCHIVE_READER_H

/*
 * Reading the tars that images come in: plain, or compressed with gzip, zstd, xz or bzip2. They
 * come from outside: a path that leads up or begins at the root, a device, a sparse file, too many
 * entries are refused with VARVE_ERROR_INVALID_ARGUMENT; what is cut short or damaged is
 * VARVE_ERROR_CORRUPT. Nothing is ever written under a name that an archive gives.
 */

#include "base/stream.h"
#include "image/archive/path.h"

typedef struct VarveArchive VarveArchive;

typedef struct {
    const char *path;   /* "blobs/sha256/HEX": without "." or ".." in it; lives until the next */
    const char *target; /* of a link: the path that it leads to; else NULL, and it is a file */
    guint64 size;       /* of a file */
} VarveArchiveEntry;

/* Reads from fd, which stays the caller's. */
VarveArchive *varve_archive_open(int fd, GError **error);
void varve_archive_free(VarveArchive *archive);

/* The next file or link; *end is set when there is none. */
gboolean varve_archive_next(VarveArchive *archive, VarveArchiveEntry *entry, gboolean *end,
                            GError **error);

/* The content of the file that next told of; valid until the next one. */
VarveSource varve_archive_source(VarveArchive *archive);
char *varve_archive_read(VarveArchive *archive, const VarveArchiveEntry *entry, gsize max_size,
                         GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveArchive, varve_archive_free)

#endif
