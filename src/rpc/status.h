/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_STATUS_H
#define VARVE_RPC_STATUS_H

/* A peer's status, as it comes: https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */

#include <varve/error.h>

/* What grpc-status says; what is no number is UNKNOWN (2). */
int varve_grpc_status_parse(const char *text);

/* What grpc-message says: its escapes undone, and in UTF-8 whatever it was. */
char *varve_grpc_status_decode(const char *text);

/* The error that a status other than OK stands for. */
VarveErrorCode varve_grpc_status_code(int status);

#endif
