/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_DIFF_SERVICE_H
#define VARVE_DAEMON_DIFF_SERVICE_H

/*
 * containerd.services.diff.v1.Diff: layers unpacked into snapshots, and made from them, for
 * containerd 1.7 and later, which can have a proxy plugin for it (api/services/diff/v1/diff.proto,
 * core/diff/proxy in containerd). The snapshots are told by their mounts and may be any
 * snapshotter's. What Varve does not know is UNIMPLEMENTED: containerd asks its next differ then.
 */

#include "daemon/config.h"
#include "rpc/grpc.h"

/* What the methods' data must be. */
typedef struct {
    VarveEngine *engine;
    const VarveConfig *config;
} VarveDiff;

/* Apply and Diff. */
extern const VarveGrpcMethod varve_diff_methods[];

#endif
