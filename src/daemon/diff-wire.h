/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_DIFF_WIRE_H
#define VARVE_DAEMON_DIFF_WIRE_H

/* Between the library's structures and the messages of proto/diff.proto. */

#include "diff.pb-c.h"
#include <varve/varve.h>

typedef Containerd__Services__Diff__V1__ApplyRequest WireApplyRequest;
typedef Containerd__Services__Diff__V1__ApplyResponse WireApplyResponse;
typedef Containerd__Services__Diff__V1__Descriptor WireDescriptor;
typedef Containerd__Services__Diff__V1__DiffRequest WireDiffRequest;
typedef Containerd__Services__Diff__V1__DiffResponse WireDiffResponse;
typedef Containerd__Services__Diff__V1__Label WireDiffLabel;
typedef Containerd__Services__Diff__V1__Mount WireDiffMount;

#define WIRE_DIFF_INIT(NAME) CONTAINERD__SERVICES__DIFF__V1__##NAME##__INIT

/* Mounts, which end with NULL. NULL with the error set: one is told to be somewhere beneath another
 * one, VARVE_ERROR_NOT_IMPLEMENTED. */
GPtrArray *varve_wire_mounts(WireDiffMount *const *mounts, gsize n, GError **error);

/* Labels as a table that points into the request. */
GHashTable *varve_wire_diff_labels(WireDiffLabel *const *labels, gsize n);

#endif
