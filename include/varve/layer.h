/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_H
#define VARVE_LAYER_H

/*
 * Layers: the changes between a snapshot and its parent, as a tar that other engines take too (OCI
 * image specification, layer.md).
 *
 * The same changes give the same bytes, whichever driver keeps the snapshot, and whenever and in
 * how many threads it is done. Sockets are left out. Sparse files are written in full. What a layer
 * cannot say is an error, VARVE_ERROR_FAILED_PRECONDITION: files whose names begin with ".wh.",
 * which in a layer means that something was deleted; paths of more than some 4090 bytes, which
 * nobody unpacks.
 *
 * The snapshot may be in use. Then the layer is whole nevertheless, but what is written meanwhile
 * may or may not be in it: a file has the size that it has when it is opened, and ends in zeros if
 * it becomes shorter. Whoever wants one moment's state pauses what writes, or captures first.
 */

#include <varve/engine.h>
#include <varve/mount.h>
#include <varve/stream.h>

G_BEGIN_DECLS

typedef enum {
    VARVE_LAYER_GZIP,
    VARVE_LAYER_ZSTD,
    VARVE_LAYER_PLAIN,
} VarveLayerCompression;

typedef struct {
    VarveLayerCompression compression;
    guint threads; /* that compress; 0: one for each processor */
} VarveLayerOptions;

typedef struct {
    char *diff_id;          /* the digest of the tar */
    char *digest;           /* and of what it was compressed to */
    const char *media_type; /* static */
    guint64 size;           /* bytes, compressed */
    guint64 plain;          /* and not */
    guint64 entries;        /* all of them: directories on the way to a change, whiteouts */
    guint64 whiteouts;      /* things deleted */
    guint64 sockets;        /* left out */
    guint64 unquiet;        /* files that changed while they were read */
} VarveLayer;

VARVE_PUBLIC void varve_layer_clear(VarveLayer *layer);

/* Writes the changes of a snapshot, active or committed, to a descriptor: of one without a parent
 * all that it has. options may be NULL. When it fails, what was written is no layer.
 * Errors: VARVE_ERROR_NOT_FOUND (key), VARVE_ERROR_FAILED_PRECONDITION (a view; a name that a layer
 * cannot have). */
VARVE_PUBLIC gboolean varve_snapshot_package(VarvePool *pool, const char *key,
                                             const VarveLayerOptions *options, int fd,
                                             VarveLayer *layer, GError **error);

/* The same of two directories, as descriptors: before, -1 for nothing, as parent of after. Their
 * trees are compared; files of the same size and modification time count as the same. engine, which
 * may be NULL, is who cancels it and is told of its progress. */
VARVE_PUBLIC gboolean varve_directories_package(VarveEngine *engine, int before, int after,
                                                const VarveLayerOptions *options, int fd,
                                                VarveLayer *layer, GError **error);

/* --- snapshots that are known by their mounts ---------------------------------------------------
 *
 * Whoever keeps snapshots elsewhere, or asks for them through containerd's interfaces, tells what a
 * snapshot is by the mounts that present it: a list ended by NULL, which has one mount. Such mounts
 * are made where nobody sees them, and end with the call, or with the process if it is killed.
 * Bind, overlay, btrfs and zfs are taken; others are VARVE_ERROR_NOT_IMPLEMENTED, by name. */

typedef struct {
    const char *media_type; /* one that OCI or Docker has for layers */
    const char *digest;     /* of the bytes of source; what differs is VARVE_ERROR_CORRUPT */
    VarveSource source;     /* read in the calling thread */
    gboolean sync;          /* the file system is synced in the end */
    const gint *cancelled;  /* set to end the work; may be NULL */
} VarveMountsBlob;

/* Unpacks a layer into a snapshot that nobody else has mounted. When it fails, what it has made by
 * then is left in the snapshot, which is the caller's to remove. In layer are the tar's media type,
 * diff_id, plain and entries, and digest and size of what was read.
 * VARVE_ERROR_NOT_IMPLEMENTED: a media type or a mount that Varve does not know. */
VARVE_PUBLIC gboolean varve_mounts_unpack(VarveEngine *engine, VarveMount *const *mounts,
                                          const VarveMountsBlob *blob, VarveLayer *layer,
                                          GError **error);

typedef struct {
    const char *media_type; /* OCI's, of a layer; "": of one with gzip */
    const gint64 *latest;   /* files that are newer get this time (seconds since 1970), and so do
                               whiteouts; NULL: files have theirs, whiteouts 0 */
    const gint *cancelled;  /* set to end the work; may be NULL */
    guint threads;          /* that compress; 0: one for each processor */
} VarveMountsPackage;

/* Writes the changes from one snapshot to another as a layer, as varve_directories_package() does.
 * before may have no mount at all: nothing. Both are mounted read-only, so the second one may be in
 * use. The sink is called in another thread.
 * VARVE_ERROR_NOT_IMPLEMENTED: a media type or a mount that Varve does not know. */
VARVE_PUBLIC gboolean varve_mounts_package(VarveEngine *engine, VarveMount *const *before,
                                           VarveMount *const *after, const VarveMountsPackage *how,
                                           VarveSink sink, VarveLayer *layer, GError **error);

/* Opens a blob in a directory that has blobs/sha256/HEX, such as containerd's content store or an
 * OCI layout; *size may be NULL. -1 with the error set: VARVE_ERROR_NOT_FOUND,
 * VARVE_ERROR_NOT_IMPLEMENTED (another algorithm). */
VARVE_PUBLIC int varve_blob_open(const char *directory, const char *digest, guint64 *size,
                                 GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveLayer, varve_layer_clear)

G_END_DECLS

#endif
