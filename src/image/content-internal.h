/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_CONTENT_INTERNAL_H
#define VARVE_IMAGE_CONTENT_INTERNAL_H

/* The content store from inside: content.c finds and reads, ingest.c writes, lease.c holds,
 * collect.c deletes. */

#include "base/batch.h"
#include "base/fd.h"
#include "image/content.h"

struct VarveContentStore {
    int fd, blobsfd, ingestfd, trashfd; /* blobsfd: of blobs/sha256 */
    VarveBatch *syncs;
};

/* Opens the file of pins once more: locks belong to that descriptor. */
int varve_pins_open(VarveContentStore *content, GError **error);

/* Takes the lock of a digest's byte: a read lock, waiting, to hold it; a write lock, FALSE when
 * somebody holds it. */
gboolean varve_pins_hold(int pinsfd, const char *digest, GError **error);
gboolean varve_pins_try_delete(int pinsfd, const char *digest);

/* Locks a file for whoever writes it. Waits by looking again and again, so that it can be
 * cancelled. */
gboolean varve_ingest_lock(int fd, const gint *cancelled, GError **error);

/* Whether fd is open on what the name in the directory is now. */
gboolean varve_ingest_is_linked(int fd, int dirfd, const char *name);

#endif
