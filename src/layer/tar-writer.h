/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_TAR_WRITER_H
#define VARVE_LAYER_TAR_WRITER_H

/*
 * Writes tar archives in the form that every reader of layers takes: ustar headers, and before
 * those that cannot say all of it, a pax extended header (POSIX.1-2017, pax, "ustar Interchange
 * Format"). Xattrs are written as GNU tar, star and Go have them, as records SCHILY.xattr.NAME.
 *
 * The same entries give the same bytes. Names are bytes: one that is not UTF-8 is written as it is,
 * and where it needs a record, with hdrcharset=BINARY before it. Sparse files are written in full:
 * a map of the holes would depend on the file system that has the file, and what stores layers by
 * taking them apart and putting them together again (tar-split) loses the map.
 */

#include "base/stream.h"
#include "layer/tar.h"

typedef struct VarveTarWriter VarveTarWriter;

VarveTarWriter *varve_tar_writer_new(VarveSink sink);
void varve_tar_writer_free(VarveTarWriter *writer);

/* Writes an entry's headers; a file's content, of exactly entry->size bytes, must follow. Xattrs
 * are written in the order in which they are given; the access time is not.
 * VARVE_ERROR_NOT_IMPLEMENTED: the format has no way to say it. */
gboolean varve_tar_writer_add(VarveTarWriter *writer, const VarveTarEntry *entry, GError **error);
gboolean varve_tar_writer_write(VarveTarWriter *writer, const void *bytes, gsize size,
                                GError **error);

/* Once, at the end. */
gboolean varve_tar_writer_finish(VarveTarWriter *writer, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveTarWriter, varve_tar_writer_free)

#endif
