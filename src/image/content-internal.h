/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_CONTENT_INTERNAL_H
#define VARVE_IMAGE_CONTENT_INTERNAL_H

/* The content store from inside: content.c finds and reads, ingest.c and ingest-lock.c write,
 * lease.c holds, collect.c deletes. */

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

/* Opens a file, or makes it, and locks it for whoever writes it, which can be cancelled. The lock
 * may come when whoever had it has moved the file or a collection deleted it: then it is another
 * one, and the file of that name is opened again. Returns -1 with the error set. */
int varve_ingest_open_locked(int dirfd, const char *name, const gint *cancelled, GError **error);

#endif
