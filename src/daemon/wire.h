/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_WIRE_H
#define VARVE_DAEMON_WIRE_H

/* Between the library's structures and the messages of proto/snapshots.proto. */

#include "snapshots.pb-c.h"
#include <varve/varve.h>

typedef Containerd__Services__Snapshots__V1__CleanupRequest WireCleanupRequest;
typedef Containerd__Services__Snapshots__V1__CommitRequest WireCommitRequest;
typedef Containerd__Services__Snapshots__V1__Empty WireEmpty;
typedef Containerd__Services__Snapshots__V1__Info WireInfo;
typedef Containerd__Services__Snapshots__V1__InfoResponse WireInfoResponse;
typedef Containerd__Services__Snapshots__V1__KeyRequest WireKeyRequest;
typedef Containerd__Services__Snapshots__V1__Label WireLabel;
typedef Containerd__Services__Snapshots__V1__ListRequest WireListRequest;
typedef Containerd__Services__Snapshots__V1__ListResponse WireListResponse;
typedef Containerd__Services__Snapshots__V1__Mount WireMount;
typedef Containerd__Services__Snapshots__V1__MountsResponse WireMountsResponse;
typedef Containerd__Services__Snapshots__V1__PrepareRequest WirePrepareRequest;
typedef Containerd__Services__Snapshots__V1__Timestamp WireTimestamp;
typedef Containerd__Services__Snapshots__V1__UpdateRequest WireUpdateRequest;
typedef Containerd__Services__Snapshots__V1__UsageResponse WireUsageResponse;

#define WIRE_INIT(NAME) CONTAINERD__SERVICES__SNAPSHOTS__V1__##NAME##__INIT

/* Labels as a table that points into the request; NULL for none. As in any protobuf map, the last
 * of equal keys holds. */
GHashTable *varve_wire_labels(WireLabel *const *labels, gsize n);

/* How many bytes varve_wire_info() needs for it: a multiple of the alignment of any type. */
gsize varve_wire_info_size(const VarveSnapshotInfo *info);

/* Writes info, with all that belongs to it, into memory, which must be aligned for any type. */
WireInfo *varve_wire_info(const VarveSnapshotInfo *info, gpointer memory);

#endif
