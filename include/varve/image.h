/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_H
#define VARVE_IMAGE_H

/*
 * Images: what containers are made from, as the OCI image specification has them
 * (https://github.com/opencontainers/image-spec), Docker's schema 2 being the same in other words.
 *
 *     blob       bytes that are found by their digest, "sha256:" and 64 hexadecimal digits
 *     layer      a blob: the changes of a file system to the one below it, as a tar
 *     config     a blob: what a container is to run, and the DiffIDs of the layers
 *     manifest   a blob that names a config and layers: the image for one platform
 *     index      a blob that names manifests: the same image for several platforms
 *     name       "example.org/app:1.2": leads to a manifest or index, until it is led elsewhere
 *     ChainID    names the snapshot that a stack of layers unpacks to
 *
 * The content store, under the engine's root, keeps blobs byte for byte, whatever they are: nothing
 * is in it under a digest that it does not have. Names are records of the metadata store. A life:
 * import puts the blobs of an archive into the content store, each verified while it streams, and
 * then, when all are there and durable, names the image. Tag gives it another name; remove takes a
 * name away and nothing else. What no name leads to any more is garbage, which prune deletes; what
 * an operation in flight needs, of any process, it never takes. An operation that dies at any point
 * leaves blobs that are whole and begun ones that the next attempt goes on with, or prune deletes.
 * pull and push do the same from and to a registry.
 *
 *     blobs ──import──> name ──tag──> names ──export──> archive
 *                         └──remove──> nothing leads to its blobs ──prune──> gone
 *
 * Names are written as people write them: "debian" is docker.io/library/debian:latest, as Docker
 * has it. Where an image is looked for, its manifest's digest will do too, or enough of its digits.
 *
 * Threads: as in engine.h; all functions may be called from any thread.
 */

#include <varve/engine.h>
#include <varve/layer.h>
#include <varve/snapshot.h>

G_BEGIN_DECLS

typedef struct VarveImages VarveImages;

/* The images of an engine's root, to be closed before it. */
VARVE_PUBLIC VarveImages *varve_images_open(VarveEngine *engine, GError **error);
VARVE_PUBLIC void varve_images_close(VarveImages *images);

/* --- names --------------------------------------------------------------------------------- */

/* The whole name that a short one stands for: "debian" gives "docker.io/library/debian:latest".
 * NULL with VARVE_ERROR_INVALID_ARGUMENT, telling what is wrong with it. */
VARVE_PUBLIC char *varve_image_name_normalize(const char *name, GError **error);

/* The shortest name that stands for a whole one. */
VARVE_PUBLIC char *varve_image_name_familiar(const char *name);

/* --- platforms ----------------------------------------------------------------------------- */

typedef struct {
    char *os, *architecture; /* in Go's words: "linux", "amd64" */
    char *variant;           /* "v7"; "" for none */
    char *os_version;        /* "" for none */
} VarvePlatform;

/* Reads "linux/arm64/v8", "linux/amd64" or "arm64" (of this system), in the words that containerd
 * takes: x86_64 is amd64, aarch64 is arm64, arm64/v8 is arm64. */
VARVE_PUBLIC VarvePlatform *varve_platform_parse(const char *text, GError **error);
VARVE_PUBLIC char *varve_platform_format(const VarvePlatform *platform);
VARVE_PUBLIC void varve_platform_free(VarvePlatform *platform);

/* --- looking ------------------------------------------------------------------------------- */

typedef struct {
    char *name;
    char *digest, *media_type; /* of the manifest or index */
    gint64 created, updated;   /* when it was first named so and last led elsewhere; nanoseconds
                                  since the epoch */
    guint64 size;              /* bytes of all its blobs that are here */
    guint64 blobs;             /* and how many */
    GPtrArray *platforms;      /* of VarvePlatform*: those of which all blobs are here */
    gboolean complete;         /* all blobs of at least one platform are here */
} VarveImageInfo;

typedef struct {
    char *created; /* as RFC 3339 has it; "" when it is not known; so are the others */
    char *created_by, *author, *comment;
    gboolean empty_layer; /* it made no layer */
    gint64 layer;         /* which layer it made, from 0; -1 for none */
} VarveImageHistory;

typedef struct {
    VarvePlatform platform;
    char *created, *author;
    char *user, *working_dir, *stop_signal; /* "" for none */
    char **env, **cmd, **entrypoint;        /* never NULL */
    char **volumes, **exposed_ports;        /* sorted; never NULL */
    GHashTable *labels;                     /* of char* to char* */
    char **diff_ids;                        /* of the layers, the lowest first */
    GPtrArray *history;                     /* of VarveImageHistory* */
} VarveImageConfig;

typedef struct {
    char *digest, *media_type;
    guint64 size;
    gboolean present; /* it is here */
} VarveImageBlob;

typedef struct {
    char *name;
    char *digest, *media_type; /* of the manifest */
    char *artifact_type;       /* "" for none */
    VarvePlatform *platform;   /* NULL for what is no image to run */
    VarveImageBlob *config_blob;
    GPtrArray *layers; /* of VarveImageBlob*, the lowest first */
    GHashTable *annotations;
    char *chain_id;           /* of all layers; "" when there is none */
    VarveImageConfig *config; /* NULL for what is no image to run */
    char *manifest_text;      /* the blobs as they are */
    char *config_text;        /* NULL when config is */
} VarveImageDetails;

VARVE_PUBLIC void varve_image_info_free(VarveImageInfo *info);
VARVE_PUBLIC void varve_image_details_free(VarveImageDetails *details);

/* All images in the order of their names: GPtrArray of VarveImageInfo*, which frees its elements.
 */
VARVE_PUBLIC GPtrArray *varve_images_list(VarveImages *images, GError **error);

/* One, by a name, a digest of its manifest or index, or at least six of its digits, if they are one
 * image's. VARVE_ERROR_NOT_FOUND; VARVE_ERROR_INVALID_ARGUMENT when the digits are several's. */
VARVE_PUBLIC VarveImageInfo *varve_images_find(VarveImages *images, const char *name,
                                               GError **error);

/* What the image is for a platform (NULL: this machine's, or the only one that it has).
 * VARVE_ERROR_NOT_FOUND: no such image, or, telling those that it has, no such platform. */
VARVE_PUBLIC VarveImageDetails *varve_images_inspect(VarveImages *images, const char *name,
                                                     const VarvePlatform *platform, GError **error);

/* --- changing ------------------------------------------------------------------------------ */

/* Gives an image another name, which is led away from what it led to. */
VARVE_PUBLIC gboolean varve_images_tag(VarveImages *images, const char *source, const char *target,
                                       GError **error);

/* Takes a name away; a digest only where one name leads to it
 * (VARVE_ERROR_FAILED_PRECONDITION, telling them). Blobs are left for prune. */
VARVE_PUBLIC gboolean varve_images_remove(VarveImages *images, const char *name, GError **error);

typedef struct {
    guint64 blobs;     /* deleted */
    guint64 begun;     /* downloads and imports that were left unfinished, and are deleted */
    guint64 bytes;     /* freed by both */
    guint64 in_use;    /* blobs that no name leads to but an operation in flight holds */
    guint64 snapshots; /* of layers whose unpacking died half-way; removed, in all pools */
} VarveImagePrune;

/* Deletes what no name leads to, and removes what dead processes left unfinished. Snapshots of
 * layers that were unpacked whole stay. */
VARVE_PUBLIC gboolean varve_images_prune(VarveImages *images, VarveImagePrune *result,
                                         GError **error);

/* --- unpacking ----------------------------------------------------------------------------- */

typedef struct {
    char *chain_id;            /* the committed snapshot that has the whole image; "" for one
                                  without layers */
    guint layers, unpacked;    /* how many it has, and how many were not there yet */
    guint64 compressed, plain; /* bytes of those that were not */
    guint64 entries;           /* and files, directories and so on */
    guint64 xattrs_dropped;    /* that the pool's file system cannot have */
} VarveImageUnpacked;

VARVE_PUBLIC void varve_image_unpacked_clear(VarveImageUnpacked *unpacked);

/* Unpacks an image's layers into committed snapshots of a pool, each named by its ChainID and
 * standing on the one below, as containerd does. Those that are there are left alone; who unpacks
 * the same one at the same time is waited for. Every layer is verified against its digest and
 * DiffID. What an attempt that died has begun is thrown away by the next one.
 * Errors: VARVE_ERROR_NOT_FOUND (no such image or platform; blobs of it are not here),
 * VARVE_ERROR_CORRUPT (a layer is not what the image says), VARVE_ERROR_INVALID_ARGUMENT (it is no
 * image with layers; a layer is malformed). */
VARVE_PUBLIC gboolean varve_images_unpack(VarveImages *images, VarvePool *pool, const char *name,
                                          const VarvePlatform *platform,
                                          VarveImageUnpacked *unpacked, GError **error);

/* --- committing ---------------------------------------------------------------------------- */

typedef struct {
    /* The image that the snapshot stands on: its ChainID must be the name of the snapshot's parent.
     * NULL: the image that has it. */
    const char *from;
    const char *author, *message; /* may be NULL */
    /* What is to be another in the image's config, as 'docker commit --change' takes it: CMD,
     * ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR, STOPSIGNAL, and AUTHOR. Ends with
     * NULL; may be NULL. */
    const char *const *changes;
    gboolean has_created;
    gint64 created; /* seconds since the epoch, instead of now */
    VarveLayerOptions layer;
} VarveImageCommit;

/* Makes an image of a snapshot, active or committed, and names it: the layers of the image that the
 * snapshot stands on, and one of the snapshot's changes, which is empty if there are none. One
 * without a parent makes an image of one layer. The snapshot goes on as it was. options may be
 * NULL; so may layer, which tells of the layer. When it fails, no name was changed and nothing is
 * left of it.
 * Errors: those of varve_snapshot_package(); VARVE_ERROR_NOT_FOUND (no image has the parent's
 * ChainID, or its layers are not here), VARVE_ERROR_FAILED_PRECONDITION (several images have it
 * with different configs; the one given has another), VARVE_ERROR_INVALID_ARGUMENT (name or
 * changes). */
VARVE_PUBLIC VarveImageInfo *varve_images_commit(VarveImages *images, VarvePool *pool,
                                                 const char *key, const char *name,
                                                 const VarveImageCommit *options, VarveLayer *layer,
                                                 GError **error);

/* --- archives ------------------------------------------------------------------------------ */

typedef struct {
    /* Only the image that has this name in the archive: org.opencontainers.image.ref.name or
     * io.containerd.image.name of an OCI layout, a RepoTag of Docker. NULL: all that have one. */
    const char *only;
    /* What it is to be called here; needed where the archive does not say, or gives a tag without
     * a repository. Without a tag, that of the archive is taken. NULL: as the archive says. */
    const char *name;
} VarveImageImport;

/* Takes in an OCI layout (a directory, or a tar of one) or what 'docker save' writes; tars may be
 * compressed with gzip or zstd. Returns the images as they are named now: GPtrArray of
 * VarveImageInfo*. options may be NULL. When it fails, no name was changed and nothing that it
 * brought is left.
 * Errors: VARVE_ERROR_NOT_FOUND (no such file, or no image of that name in it),
 * VARVE_ERROR_INVALID_ARGUMENT (it is no image archive, or a malformed one),
 * VARVE_ERROR_CORRUPT (a blob is not what its digest or size says, or is missing),
 * VARVE_ERROR_FAILED_PRECONDITION (a tar, and libvarve-archive is not installed). */
VARVE_PUBLIC GPtrArray *varve_images_import(VarveImages *images, const char *path,
                                            const VarveImageImport *options, GError **error);

/* The same from a descriptor: of a directory, or of anything that a tar can be read from. */
VARVE_PUBLIC GPtrArray *varve_images_import_fd(VarveImages *images, int fd,
                                               const VarveImageImport *options, GError **error);

typedef enum {
    VARVE_EXPORT_ARCHIVE,   /* a tar of an OCI layout */
    VARVE_EXPORT_DIRECTORY, /* an OCI layout */
    VARVE_EXPORT_DOCKER,    /* a tar of an OCI layout that 'docker load' takes as well */
} VarveImageFormat;

/* Writes images, whose names end with NULL, to a file or directory that must not exist yet. Blobs
 * are byte for byte what was imported, and the archive of the same images is the same to the byte.
 * platform: only the image for that one, as its manifest; NULL: all that is here of it. When it
 * fails, nothing is left. VARVE_ERROR_FAILED_PRECONDITION: a tar, and libvarve-archive is not
 * installed. */
VARVE_PUBLIC gboolean varve_images_export(VarveImages *images, const char *const *names,
                                          const VarvePlatform *platform, VarveImageFormat format,
                                          const char *path, GError **error);

/* Writes an archive to a descriptor. */
VARVE_PUBLIC gboolean varve_images_export_fd(VarveImages *images, const char *const *names,
                                             const VarvePlatform *platform, VarveImageFormat format,
                                             int fd, GError **error);

/* --- progress ------------------------------------------------------------------------------ */

typedef enum {
    VARVE_IMAGE_WAITING, /* for its turn, or for another process that is at it */
    VARVE_IMAGE_FETCHING,
    VARVE_IMAGE_PUSHING,
    VARVE_IMAGE_UNPACKING,
    VARVE_IMAGE_DONE,    /* it, and those below, are the last that is told of an item */
    VARVE_IMAGE_PRESENT, /* there was nothing to do: it was there */
    VARVE_IMAGE_MOUNTED, /* the registry took it from another repository of its own */
    VARVE_IMAGE_SKIPPED, /* left out: a layer that is not to be given on */
    VARVE_IMAGE_FAILED,
} VarveImageStage;

/* The stage in a word: "fetching"; never NULL. */
VARVE_PUBLIC const char *varve_image_stage_name(VarveImageStage stage);

/* Something happened to an item, a part of the image that an operation works on. */
typedef struct {
    const char *item; /* its digest */
    const char *kind; /* what it is: "index", "manifest", "config", "layer" or "blob" */
    VarveImageStage stage;
    guint64 done, total; /* bytes; done may fall when something has to begin again */
} VarveImageProgress;

typedef void (*VarveImageProgressFunc)(const VarveImageProgress *progress, gpointer data);

/* Has operations tell of every change of an item's stage, and some times a second of its bytes.
 * func (NULL: nobody is told) is called from any thread, never from two at the same time, and must
 * not call these functions. To be set while no operation is in flight. */
VARVE_PUBLIC void varve_images_set_progress(VarveImages *images, VarveImageProgressFunc func,
                                            gpointer data);

/* --- registries ---------------------------------------------------------------------------- */

/* How a registry is spoken to. Zeros and NULLs mean the defaults. */
typedef struct {
    gboolean plain_http;             /* may be spoken to without TLS; loopback hosts always may */
    const char *ca_file;             /* certificates in PEM that are trusted beside the system's */
    const char *certificates_dir;    /* DIR/HOST[:PORT]/{*.crt,*.cert,*.key}; /etc/docker/certs.d */
    const char *username, *password; /* win over those of auth_file */
    const char *auth_file; /* $REGISTRY_AUTH_FILE, $DOCKER_CONFIG/config.json, or that in ~/.docker,
                            * with the credential helpers that it names */
    const char *const *mirrors; /* tried in order before the registry itself when pulling:
                                 * "HOST[:PORT][/PATH]"; ended by NULL */
    guint jobs;                 /* blobs at the same time; 3 */
    int retries; /* in succession and without progress; 5. Negative: nothing is tried again */
} VarveImageRemote;

typedef struct {
    const VarvePlatform *const
        *platforms; /* ended by NULL; NULL: this machine's, or the only one */
    gboolean all_platforms;
    const char *name; /* what it is to be called here; NULL: as it is called there */
    VarveImageRemote remote;
} VarveImagePull;

typedef struct {
    const VarvePlatform *platform; /* only the image for this one, as its manifest; NULL: all */
    VarveImageRemote remote;
} VarveImagePush;

/* What a pull or push did. */
typedef struct {
    char *name;    /* the whole name that was led, or put into the registry */
    char *digest;  /* of what it leads to */
    guint items;   /* blobs, manifests and indexes that were seen to */
    guint moved;   /* of these, fetched or uploaded; */
    guint present; /* that were there; */
    guint mounted; /* that the registry took from another repository of its own; */
    guint skipped; /* and layers that are not to be given on */
    guint64 bytes; /* that were moved */
} VarveImageMoved;

VARVE_PUBLIC void varve_image_moved_clear(VarveImageMoved *moved);

/* Fetches an image from the registry that its name says, by tag or digest: manifests first, then
 * the blobs that are not here, several at a time, each verified while it streams into the content
 * store; then leads the name to it. An index stays as it is, whichever of its platforms were
 * fetched. What a pull that was interrupted has fetched is kept, also the beginning of a blob, and
 * the next one goes on there; of two that want the same blob one waits for the other. options and
 * moved may be NULL. When it fails, no name was changed.
 * Errors: VARVE_ERROR_NOT_FOUND (no such image, or, telling those that it has, no such platform),
 * VARVE_ERROR_PERMISSION_DENIED, VARVE_ERROR_UNAVAILABLE (the registry does not answer as it
 * should; trying later may help), VARVE_ERROR_CORRUPT (it sent something else than it should),
 * VARVE_ERROR_FAILED_PRECONDITION (libvarve-registry is not installed; certificates). */
VARVE_PUBLIC VarveImageInfo *varve_images_pull(VarveImages *images, const char *name,
                                               const VarveImagePull *options,
                                               VarveImageMoved *moved, GError **error);

/* Does that, and unpacks the image for this machine, or for the one platform of the options, into a
 * pool, as varve_images_unpack() does: each layer while it comes. Its snapshot is committed when
 * the whole blob was found to be what its digest says. When it fails, no name was changed; layers
 * that were unpacked whole stay, and so does what was fetched, so the next pull goes on there.
 * Errors: those of both. */
VARVE_PUBLIC VarveImageInfo *varve_images_pull_unpack(VarveImages *images, VarvePool *pool,
                                                      const char *name,
                                                      const VarveImagePull *options,
                                                      VarveImageMoved *moved,
                                                      VarveImageUnpacked *unpacked, GError **error);

typedef enum {
    VARVE_PULL_MISSING, /* pulls an image that is not here, or not for the platform */
    VARVE_PULL_ALWAYS,  /* pulls it; what is here is not fetched */
    VARVE_PULL_NEVER,
} VarvePullPolicy;

/* Has an image unpacked in a pool, wherever it is: from here, or by varve_images_pull_unpack(). */
VARVE_PUBLIC gboolean varve_images_provide(VarveImages *images, VarvePool *pool, const char *name,
                                           const VarvePlatform *platform, VarvePullPolicy policy,
                                           VarveImageUnpacked *unpacked, GError **error);

/* Puts an image into the registry that target (NULL: the image's name) says: blobs that are not
 * there, several at a time, then manifests, the tag last. Digests stay what they are. options and
 * moved may be NULL.
 * Errors: as above; VARVE_ERROR_FAILED_PRECONDITION also when not all of the image is here. */
VARVE_PUBLIC gboolean varve_images_push(VarveImages *images, const char *name, const char *target,
                                        const VarveImagePush *options, VarveImageMoved *moved,
                                        GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveImages, varve_images_close)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveImageMoved, varve_image_moved_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveImageUnpacked, varve_image_unpacked_clear)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarvePlatform, varve_platform_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveImageInfo, varve_image_info_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveImageDetails, varve_image_details_free)

G_END_DECLS

#endif
