/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_CONTENT_H
#define VARVE_DAEMON_CONTENT_H

/*
 * containerd's blobs: read from the directory of its content store, or through its content service.
 */

#include "daemon/config.h"
#include "rpc/grpc.h"

/* A blob that is read from its beginning to its end. */
typedef struct VarveContentReader VarveContentReader;

/* For a call, whose namespace it is read in; once nobody waits for that call, reading fails. */
VarveContentReader *varve_content_reader_new(const VarveConfig *config, VarveGrpcCall *call,
                                             const char *digest, GError **error);
void varve_content_reader_free(VarveContentReader *reader);
VarveSource varve_content_reader_source(VarveContentReader *reader);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveContentReader, varve_content_reader_free)

#endif
