/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_CONTENT_H
#define VARVE_DAEMON_CONTENT_H

/*
 * containerd's blobs: read from the directory of its content store, or through its content service
 * (api/services/content/v1/content.proto), where they are written too. What is done through the
 * service is done in the namespace, and under the lease, of the call that it is done for, and fails
 * once nobody waits for that call any more.
 */

#include "daemon/config.h"
#include "rpc/client.h"
#include "rpc/grpc.h"

/* --- reading (content-read.c) ---------------------------------------------------------------- */

/* A blob that is read from its beginning to its end. */
typedef struct VarveContentReader VarveContentReader;

/* What there is to open is opened when it is first read from. All must outlive the reader. */
VarveContentReader *varve_content_reader_new(const VarveConfig *config, VarveGrpcCall *call,
                                             const char *digest);
void varve_content_reader_free(VarveContentReader *reader);
VarveSource varve_content_reader_source(VarveContentReader *reader);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveContentReader, varve_content_reader_free)

/* --- writing (content-write.c) --------------------------------------------------------------- */

/* A blob that is written. */
typedef struct VarveContentWriter VarveContentWriter;

/* ref names it until it is whole; one that is there is begun anew. "": a new one, which is given up
 * if the blob is not finished. VARVE_ERROR_NOT_IMPLEMENTED: there is no service to write to. */
VarveContentWriter *varve_content_writer_new(const VarveConfig *config, VarveGrpcCall *call,
                                             const char *ref, GError **error);
void varve_content_writer_free(VarveContentWriter *writer);
VarveSink varve_content_writer_sink(VarveContentWriter *writer);

/* Finishes a layer's blob: it is there then, or was before, and the label that tells what it is
 * uncompressed is on it. labels (char* to char*): more of them. */
gboolean varve_content_writer_commit(VarveContentWriter *writer, const VarveLayer *layer,
                                     GHashTable *labels, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveContentWriter, varve_content_writer_free)

/* --- the service ----------------------------------------------------------------------------- */

#define VARVE_CONTENT_SERVICE "/containerd.services.content.v1.Content/"

/* A connection to the service, for a call. cancelled may be NULL. */
VarveGrpcClient *varve_content_connect(const VarveConfig *config, VarveGrpcCall *call,
                                       const gint *cancelled, GError **error);

#endif
