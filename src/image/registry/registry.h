/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_REGISTRY_H
#define VARVE_IMAGE_REGISTRY_H

/*
 * Registries: where images come from and go to.
 *
 * A **registry** speaks the OCI distribution protocol
 * (https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md). It keeps
 * **repositories**, each of which holds **blobs**, named by the digest of their bytes, and
 * **manifests**, named by digest or by **tag**. A **descriptor** (media type, digest, size) is all
 * that one needs to know to fetch something and to be sure that it is the right thing.
 *
 * This part knows no store: bytes go to a receiver and come from a content, both given by the
 * caller. A pull is
 *
 *     name = varve_reference_parse ("debian:12", TRUE, ...)
 *     varve_registry_fetch_manifest (registry, name, ...)     an index: choose a platform's entry,
 *     varve_registry_fetch_manifest (registry, that one, ...) the manifest: config and layers,
 *     varve_registry_fetch_blob (registry, name, ...)         each, from as many threads as wished
 *
 * and a push the same in the other order: blobs, manifests by digest, the tag last.
 *
 * A VarveRegistry may be used by any number of threads. Each call does its transfer in the calling
 * thread, on a connection that it takes from those that are idle; what was learnt (tokens, which
 * scheme a host speaks, names, TLS sessions) is shared. Connections themselves are handed from
 * thread to thread, never used by two at once, since libcurl cannot do that
 * (https://curl.se/libcurl/c/CURLSHOPT_SHARE.html, CURL_LOCK_DATA_CONNECT).
 *
 * What may help is tried again with growing pauses, first at the registry's mirrors, then at the
 * registry itself. Every byte counts against its descriptor: more than it says is never taken, and
 * nothing is a success before the digest was compared.
 */

#include "base/error.h"
#include "image/reference.h"

typedef struct VarveRegistry VarveRegistry;

/* --- descriptors ------------------------------------------------------------------------------ */

typedef struct {
    char *media_type; /* may be NULL for blobs */
    char *digest;     /* "sha256:" and 64 hexadecimal digits */
    guint64 size;
} VarveRegistryDescriptor;

void varve_registry_descriptor_clear(VarveRegistryDescriptor *descriptor);

/* --- settings --------------------------------------------------------------------------------- */

/* What is special about one registry. All fields but the name may be NULL or 0. */
typedef struct {
    const char *name;           /* as in names of images */
    const char *const *mirrors; /* tried in order before it, when reading: "HOST[:PORT][/PATH]", or
                                 * with https:// or http:// before it */
    gboolean plain_http;        /* may be spoken to without TLS; loopback hosts always may. No
                                 * credentials are sent that way, except to loopback */
    const char *ca_file;        /* trusted beside the system's and those of certificates_dir */
    const char *client_certificate, *client_key;
    const char *username, *password; /* win over those of auth_file */
    guint64 chunk_size; /* blobs larger than this are pushed in parts of this size; 0: whole */
} VarveRegistryHost;

/* Zeros and NULLs mean the defaults. */
typedef struct {
    const VarveRegistryHost *hosts;
    gsize n_hosts;
    const char *certificates_dir; /* DIR/HOST[:PORT]/{*.crt,*.cert,*.key}; /etc/docker/certs.d */
    const char *auth_file; /* $REGISTRY_AUTH_FILE, $DOCKER_CONFIG/config.json, or that in ~/.docker
                            */
    guint connect_timeout_ms; /* 30 s: name, connection and TLS */
    guint stall_timeout_ms;   /* 60 s: in which nearly nothing came. There is no limit in total */
    guint retries;            /* 5: in succession, without progress; VARVE_REGISTRY_NO_RETRIES */
    guint retry_delay_ms;     /* 500: before the first one; doubled each time, and varied */
    guint retry_wait_max_ms;  /* 60 s: a registry that asks to wait for longer is given up */
} VarveRegistrySettings;

#define VARVE_REGISTRY_NO_RETRIES G_MAXUINT

/* Everything is copied. settings may be NULL. */
VarveRegistry *varve_registry_new(const VarveRegistrySettings *settings, GError **error);

/* No other thread may be using it. */
void varve_registry_free(VarveRegistry *registry);

/* --- watching --------------------------------------------------------------------------------- */

/* Bytes done and in total. done may fall when a transfer has to begin again. Called in the thread
 * of the transfer. */
typedef void (*VarveRegistryProgressFunc)(guint64 done, guint64 total, gpointer data);

/* How a call is watched. Fields may be NULL, and so may the watch. *cancelled is looked at ten
 * times per second; the call then ends with VARVE_ERROR_CANCELLED. */
typedef struct {
    const gint *cancelled;
    VarveRegistryProgressFunc progress;
    gpointer progress_data;
} VarveRegistryWatch;

/* --- manifests -------------------------------------------------------------------------------- */

/* What name stands for, without fetching it where the registry can tell. An unknown one is
 * NOT_FOUND. */
gboolean varve_registry_resolve(VarveRegistry *registry, const VarveReference *name,
                                VarveRegistryDescriptor *descriptor,
                                const VarveRegistryWatch *watch, GError **error);

/* The bytes of a manifest or index, at most 4 MiB, whose digest is the name's, or was computed.
 * descriptor may be NULL. */
GBytes *varve_registry_fetch_manifest(VarveRegistry *registry, const VarveReference *name,
                                      VarveRegistryDescriptor *descriptor,
                                      const VarveRegistryWatch *watch, GError **error);

/* Puts a manifest under the name's tag, else under its digest, which is then the bytes' one.
 * descriptor: of what was put; may be NULL. */
gboolean varve_registry_push_manifest(VarveRegistry *registry, const VarveReference *name,
                                      const char *media_type, GBytes *bytes,
                                      VarveRegistryDescriptor *descriptor,
                                      const VarveRegistryWatch *watch, GError **error);

/* All tags of the name's repository (char *), in the registry's order. */
GPtrArray *varve_registry_tags(VarveRegistry *registry, const VarveReference *name,
                               const VarveRegistryWatch *watch, GError **error);

/* --- blobs ------------------------------------------------------------------------------------ */

/* Where the bytes of a blob go, in order and without gaps. */
typedef struct {
    gboolean (*write)(gpointer data, const void *bytes, gsize size, GError **error);

    /* May be NULL. Compares the digest of all that was written, also before this call, with the
     * descriptor's: VARVE_ERROR_CORRUPT when it is another. Without it the bytes are hashed here.
     */
    gboolean (*finish)(gpointer data, GError **error);

    /* May be NULL. Forgets all that was written: what came was wrong, and comes again from the
     * beginning. Without it such a blob fails. */
    gboolean (*restart)(gpointer data, GError **error);

    gpointer data;
} VarveRegistryReceiver;

/* Fetches a blob from offset on: what is before that the receiver has already, from an earlier call
 * that did not succeed. offset needs a receiver that can finish. */
gboolean varve_registry_fetch_blob(VarveRegistry *registry, const VarveReference *name,
                                   const VarveRegistryDescriptor *blob, guint64 offset,
                                   const VarveRegistryReceiver *receiver,
                                   const VarveRegistryWatch *watch, GError **error);

/* Whether the repository has the blob. */
gboolean varve_registry_has_blob(VarveRegistry *registry, const VarveReference *name,
                                 const char *digest, gboolean *has, const VarveRegistryWatch *watch,
                                 GError **error);

/* Where the bytes of a blob come from: any part of them, as often as needed. Returns how many were
 * read, at least one, or -1 with the error set. */
typedef struct {
    gssize (*read)(gpointer data, guint64 offset, void *buffer, gsize size, GError **error);
    gpointer data;
} VarveRegistryContent;

typedef enum {
    VARVE_REGISTRY_UPLOADED,
    VARVE_REGISTRY_WAS_THERE,
    VARVE_REGISTRY_MOUNTED, /* the registry took it from the other repository */
} VarveRegistryPushed;

/* Sees to it that the repository has the blob. from: another repository of the same registry that
 * is known to have it, or NULL. */
gboolean varve_registry_push_blob(VarveRegistry *registry, const VarveReference *name,
                                  const VarveRegistryDescriptor *blob,
                                  const VarveRegistryContent *content, const char *from,
                                  VarveRegistryPushed *how, const VarveRegistryWatch *watch,
                                  GError **error);

/* A blob whose digest is known when all of it was written. */
typedef struct VarveRegistryUpload VarveRegistryUpload;

/* name and watch must outlive it. One that is freed before it was finished leaves no blob; the
 * registry forgets by itself what it has of it. */
VarveRegistryUpload *varve_registry_upload_new(VarveRegistry *registry, const VarveReference *name,
                                               const VarveRegistryWatch *watch);
void varve_registry_upload_free(VarveRegistryUpload *upload);

gboolean varve_registry_upload_write(VarveRegistryUpload *upload, const void *bytes, gsize size,
                                     GError **error);

/* Once. blob has no media type; it, or its digest, is the caller's. */
gboolean varve_registry_upload_finish(VarveRegistryUpload *upload, VarveRegistryDescriptor *blob,
                                      VarveRegistryPushed *how, GError **error);

/* After a failure: the registry forgot what it had, so that all has to be written to another one.
 */
gboolean varve_registry_upload_is_lost(const VarveRegistryUpload *upload);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveRegistry, varve_registry_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveRegistryUpload, varve_registry_upload_free)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveRegistryDescriptor, varve_registry_descriptor_clear)

#endif
