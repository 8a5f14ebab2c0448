/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_CONTENT_H
#define VARVE_IMAGE_CONTENT_H

/*
 * The content store: blobs by their digest, shared by all processes that have the root open.
 *
 *     ROOT/content/              0700
 *       blobs/sha256/HEX         whole blobs, 0600; never changed
 *       ingest/KEY               blobs that are being written
 *       trash/HEX                blobs that are being deleted
 *       pins                     an empty file; locks on it say which blobs are in use
 *
 * A blob is written to ingest/ while its size and digest are checked, synced, and renamed to its
 * place: what is there is whole, whatever crashed. A begun one stays, and who begins the same blob
 * again goes on where it ended; of two at once, one waits for the other, or takes over when that
 * one died, since each locks the file that it writes.
 *
 * What an operation found or wrote must not be collected as garbage before the operation has given
 * it a name (a record of the store). So an operation has a lease, and holds with it every blob that
 * it relies on, before it looks whether the blob is there. To hold one is to have a read lock on
 * one byte of the file "pins", the number of which is made from the digest; a collection deletes a
 * blob only while it has a write lock on that byte, and after it has looked, with the lock, whether
 * a name leads to the blob. Locks end with the process, so nothing has to be cleared up; two blobs
 * with the same byte are rare, and then one of them is kept a while longer.
 */

#include "base/stream.h"
#include "base/tree.h"

typedef struct VarveContentStore VarveContentStore;
typedef struct VarveLease VarveLease;
typedef struct VarveIngest VarveIngest;

/* rootfd: of the engine's root; stays the caller's. */
VarveContentStore *varve_content_store_open(int rootfd, GError **error);
void varve_content_store_close(VarveContentStore *content);

/* Returns when all blobs that are in their place would be there after a power cut. To be called
 * before a name is led to them; shared by those who call it at the same time. */
gboolean varve_content_store_sync(VarveContentStore *content, GError **error);

/* --- holding ------------------------------------------------------------------------------- */

VarveLease *varve_lease_new(VarveContentStore *content, GError **error);
void varve_lease_free(VarveLease *lease);

/* Holds the blob of that digest, which need not be there, as long as the lease lives. Waits for a
 * collection that is about to delete it. */
gboolean varve_lease_hold(VarveLease *lease, const char *digest, GError **error);

/* --- reading ------------------------------------------------------------------------------- */

/* Whether a blob is there; size may be NULL. */
gboolean varve_content_find(VarveContentStore *content, const char *digest, gboolean *found,
                            guint64 *size, GError **error);

/* Opens a blob for reading: its descriptor, or -1 with VARVE_ERROR_NOT_FOUND. size may be NULL. */
int varve_content_open(VarveContentStore *content, const char *digest, guint64 *size,
                       GError **error);

/* The bytes of an open blob, or of a file that is to be one, from where *fd stands. */
VarveSource varve_content_source(int *fd);

/* Reads a small blob whole, and verifies it once more. Followed by a NUL byte. */
char *varve_content_read(VarveContentStore *content, const char *digest, gsize max_size,
                         gsize *size, GError **error);

/* --- writing ------------------------------------------------------------------------------- */

/* Begins a blob, or goes on with one. digest NULL: it is known only at the end; size -1: so is the
 * size. *ingest is NULL when the blob is there already: nothing to do. Waits while somebody else
 * writes it. The lease must outlive the ingest. watch may be NULL. */
gboolean varve_ingest_begin(VarveContentStore *content, VarveLease *lease, const char *digest,
                            gint64 size, const VarveTreeWatch *watch, VarveIngest **ingest,
                            GError **error);

/* How many bytes are there already: the caller goes on with the next one. */
guint64 varve_ingest_offset(const VarveIngest *ingest);

/* How many of these are in its file, of which varve_ingest_open() gives another descriptor: for who
 * reads behind the writer. -1 with the error set. */
guint64 varve_ingest_written(const VarveIngest *ingest);
int varve_ingest_open(const VarveIngest *ingest, GError **error);

/* Forgets what is there, to begin anew: for a source that cannot go on in the middle, or has turned
 * out to be wrong. */
gboolean varve_ingest_restart(VarveIngest *ingest, GError **error);

/* Adds bytes. VARVE_ERROR_CORRUPT when they are more than the size. After a failure the ingest can
 * only be freed, and nothing is kept, or restarted. */
gboolean varve_ingest_write(VarveIngest *ingest, const void *bytes, gsize size, GError **error);

/* Adds the rest of a source: all of it, which must be what is missing. */
gboolean varve_ingest_write_source(VarveIngest *ingest, const VarveSource *source, GError **error);

/* Adds a whole file, of which fd is open for reading, from the ingest's offset on; shares its
 * blocks where the file systems can. */
gboolean varve_ingest_write_file(VarveIngest *ingest, int fd, GError **error);

/* Verifies size and digest, when all is written. VARVE_ERROR_CORRUPT when they are not what they
 * should be; then nothing is kept. */
gboolean varve_ingest_verify(VarveIngest *ingest, GError **error);

/* Verifies it, if that was not done yet, and puts the blob in its place. digest (to be freed) and
 * size may be NULL. */
gboolean varve_ingest_finish(VarveIngest *ingest, char **digest, guint64 *size, GError **error);

/* Has nothing of it kept when it is freed without being finished: for a source that will not be
 * there another time. */
void varve_ingest_discard(VarveIngest *ingest);

/* What was begun with a digest and not finished stays for the next one who begins it, unless a
 * write failed. */
void varve_ingest_free(VarveIngest *ingest);

/* --- collecting ---------------------------------------------------------------------------- */

/* Adds the digests (char*, to be freed by the table) of all blobs that names lead to. */
typedef gboolean (*VarveContentMark)(gpointer data, GHashTable *marked, GError **error);

typedef struct {
    guint64 blobs, begun, bytes, in_use;
} VarveCollected;

/* Deletes the blobs that are not marked and that no lease holds: all, or those of candidates (of
 * char*: digests); with all, also what was begun and nobody writes now. mark is called twice. */
gboolean varve_content_collect(VarveContentStore *content, GPtrArray *candidates,
                               VarveContentMark mark, gpointer data, VarveCollected *collected,
                               GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveContentStore, varve_content_store_close)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveLease, varve_lease_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveIngest, varve_ingest_free)

#endif
