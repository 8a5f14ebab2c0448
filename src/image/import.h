/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_IMPORT_H
#define VARVE_IMAGE_IMPORT_H

/*
 * Importing: import.c begins and ends it, import-directory.c and import-archive.c know where the
 * blobs come from, docker-archive.c reads what 'docker save' wrote before it wrote OCI layouts.
 *
 * Whatever the source, first the blobs come into the content store, held by a lease, and last the
 * names are led to them. A directory is read as far as the wanted images need; of a tar, whose
 * index.json may be its last entry, every blob is taken, and what turns out not to be needed is
 * dropped in the end.
 */

#include "image/internal.h"
#include "image/layout.h"

typedef struct {
    VarveImages *images;
    VarveLease *lease;
    const VarveImageImport *options; /* may be NULL */
    GPtrArray *brought;              /* char*: digests of blobs that were not here before */
    GHashTable *needed;              /* digests of what the wanted images consist of */
    guint64 blobs, bytes;            /* met so far, for progress */
} VarveImport;

/* Stores a blob from a source that begins at its first byte. digest NULL: whatever it is; size -1
 * the same. *stored (may be NULL) is set to the digest. Leaves the source where it is when the blob
 * is there already. */
gboolean varve_import_blob(VarveImport *import, const char *digest, gint64 size,
                           const VarveSource *source, char **stored, GError **error);

/* The same for bytes in memory; returns a descriptor. */
VarveDescriptor *varve_import_bytes(VarveImport *import, const char *media_type, const char *bytes,
                                    gsize size, GError **error);

/* Says that a blob was put into the store. */
void varve_import_note(VarveImport *import, const char *digest, guint64 size);

/* Holds a blob and looks whether it is in the store, brought or not; it must have its size. */
gboolean varve_import_find(VarveImport *import, const VarveDescriptor *descriptor,
                           gboolean *present, GError **error);

/* Fetches blobs on demand, as VarveClosureVisitor.blob does. */
typedef gboolean (*VarveImportFetch)(const VarveDescriptor *descriptor, gpointer data,
                                     gboolean *present, GError **error);

/* Sees to it that all that the namings lead to is there. */
gboolean varve_import_complete(VarveImport *import, GPtrArray *namings, VarveImportFetch fetch,
                               gpointer data, GError **error);

/* Both give the names to be led: GPtrArray of VarveNaming*. */
GPtrArray *varve_import_directory(VarveImport *import, int dirfd, GError **error);
GPtrArray *varve_import_archive(VarveImport *import, int fd, GError **error);

#endif
