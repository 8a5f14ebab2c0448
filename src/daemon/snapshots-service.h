/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_SNAPSHOTS_SERVICE_H
#define VARVE_DAEMON_SNAPSHOTS_SERVICE_H

/*
 * containerd.services.snapshots.v1.Snapshots: containerd's snapshotter interface over gRPC, as its
 * proxy plugins call it (api/services/snapshots/v1/snapshots.proto and snapshots/proxy in
 * containerd). Each call is one of the engine's; the rules are the engine's too.
 */

#include "rpc/grpc.h"

/* The ten calls. The server's data must be the VarvePools. */
extern const VarveGrpcMethod varve_snapshots_methods[];

#endif
