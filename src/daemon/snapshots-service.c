/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/snapshots-service.h"
#include "daemon/pools.h"
#include "daemon/wire.h"

#define SERVICE "/containerd.services.snapshots.v1.Snapshots/"

/* Ends a call that failed, or passes when error is NULL. */
static void
finish(VarveGrpcCall *call, const char *method, const char *pool, const char *key,
       const GError *error)
{
    if (error == NULL) {
        varve_grpc_call_finish(call, VARVE_GRPC_OK, NULL);
        return;
    }
    gboolean ours = g_error_matches(error, VARVE_ERROR, VARVE_ERROR_INTERNAL) ||
                    g_error_matches(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
    varve_log(ours ? VARVE_LOG_WARNING : VARVE_LOG_DEBUG, "call failed", "method", method, "pool",
              pool, "key", key, "code", varve_error_name(error), "error", error->message, NULL);
    varve_grpc_call_finish(call, varve_error_grpc_status(error), error->message);
}

/* --- answers -------------------------------------------------------------------------------- */

static void
send_empty(VarveGrpcCall *call)
{
    WireEmpty empty = WIRE_INIT(EMPTY);
    varve_grpc_call_send(call, &empty.base);
}

static void
send_mount(VarveGrpcCall *call, const VarveMount *mount)
{
    WireMount wire = WIRE_INIT(MOUNT), *mounts[] = {&wire};
    wire.type = mount->type;
    wire.source = mount->source;
    wire.options = mount->options;
    wire.n_options = g_strv_length(mount->options);
    WireMountsResponse response = WIRE_INIT(MOUNTS_RESPONSE);
    response.mounts = mounts;
    response.n_mounts = G_N_ELEMENTS(mounts);
    varve_grpc_call_send(call, &response.base);
}

static void
send_info(VarveGrpcCall *call, const VarveSnapshotInfo *info)
{
    g_autofree gpointer memory = g_malloc(varve_wire_info_size(info));
    WireInfoResponse response = WIRE_INIT(INFO_RESPONSE);
    response.info = varve_wire_info(info, memory);
    varve_grpc_call_send(call, &response.base);
}

/* --- calls ---------------------------------------------------------------------------------- */

typedef gboolean (*CreateFunc)(VarvePool *pool, const char *key, const char *parent,
                               GHashTable *labels, VarveMount **mount, GError **error);

static void
create(VarveGrpcCall *call, const ProtobufCMessage *message, VarvePools *pools, const char *method,
       CreateFunc func)
{
    const WirePrepareRequest *request = (const WirePrepareRequest *)message;
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveMount) mount = NULL;
    g_autoptr(GHashTable) labels = varve_wire_labels(request->labels, request->n_labels);
    VarvePool *pool = varve_pools_find(pools, request->snapshotter, &error);
    if (pool != NULL && func(pool, request->key, request->parent, labels, &mount, &error))
        send_mount(call, mount);
    finish(call, method, request->snapshotter, request->key, error);
}

static void
handle_prepare(VarveGrpcCall *call, const ProtobufCMessage *message, gpointer data)
{
    create(call, message, data, "Prepare", varve_snapshot_prepare);
}

static void
handle_view(VarveGrpcCall *call, const ProtobufCMessage *message, gpointer data)
{
    create(call, message, data, "View", varve_snapshot_view);
}

static void
handle_mounts(VarveGrpcCall *call, const ProtobufCMessage *message, gpointer data)
{
    const WireKeyRequest *request = (const WireKeyRequest *)message;
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveMount) mount = NULL;
    VarvePool *pool = varve_pools_find(data, request->snapshotter, &error);
    if (pool != NULL && varve_snapshot_mounts(pool, request->key, &mount, &error))
        send_mount(call, mount);
    finish(call, "Mounts", request->snapshotter, request->key, error);
}

static void
handle_commit(VarveGrpcCall *call, const ProtobufCMessage *message, gpointer data)
{
    const WireCommitRequest *request = (const WireCommitRequest *)message;
    g_autoptr(GError) error = NULL;
    g_autoptr(GHashTable) labels = varve_wire_labels(request->labels, request->n_labels);
    VarvePool *pool = varve_pools_find(data, request->snapshotter, &error);
    if (pool != NULL &&
        varve_snapshot_commit(pool, request->name, request->key, request->parent, labels, &error))
        send_empty(call);
    finish(call, "Commit", request->snapshotter, request->key, error);
}

static void
handle_remove(VarveGrpcCall *call, const ProtobufCMessage *message, gpointer data)
{
    const WireKeyRequest *request = (const WireKeyRequest *)message;
    g_autoptr(GError) error = NULL;
    VarvePool *pool = varve_pools_find(data, request->snapshotter, &error);
    if (pool != NULL && varve_snapshot_remove(pool, request->key, &error))
        send_empty(call);
    finish(call, "Remove", request->snapshotter, request->key, error);
}

static void
handle_stat(VarveGrpcCall *call, const ProtobufCMessage *message, gpointer data)
{
    const WireKeyRequest *request = (const WireKeyRequest *)message;
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveSnapshotInfo) info = NULL;
    VarvePool *pool = varve_pools_find(data, request->snapshotter, &error);
    if (pool != NULL && varve_snapshot_stat(pool, request->key, &info, &error))
        send_info(call, info);
    finish(call, "Stat", request->snapshotter, request->key, error);
}

/* The mask's paths as a list ended by NULL, which points into the request. NULL: no mask. */
static const char **
mask_fields(const WireUpdateRequest *request)
{
    if (request->update_mask == NULL)
        return NULL;
    gsize n = request->update_mask->n_paths;
    const char **fields = g_new(const char *, n + 1);
    for (gsize i = 0; i < n; i++)
        fields[i] = request->update_mask->paths[i];
    fields[n] = NULL;
    return fields;
}

static void
handle_update(VarveGrpcCall *call, const ProtobufCMessage *message, gpointer data)
{
    const WireUpdateRequest *request = (const WireUpdateRequest *)message;
    static WireInfo nothing = WIRE_INIT(INFO); /* its name is "", which the engine refuses */
    const WireInfo *wanted = request->info != NULL ? request->info : &nothing;
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveSnapshotInfo) info = NULL;
    g_autoptr(GHashTable) labels = varve_wire_labels(wanted->labels, wanted->n_labels);
    g_autofree const char **fields = mask_fields(request);
    VarvePool *pool = varve_pools_find(data, request->snapshotter, &error);
    if (pool != NULL && varve_snapshot_update(pool, wanted->name, labels, fields, &info, &error))
        send_info(call, info);
    finish(call, "Update", request->snapshotter, wanted->name, error);
}

static void
handle_usage(VarveGrpcCall *call, const ProtobufCMessage *message, gpointer data)
{
    const WireKeyRequest *request = (const WireKeyRequest *)message;
    g_autoptr(GError) error = NULL;
    VarveUsage usage = {0};
    VarvePool *pool = varve_pools_find(data, request->snapshotter, &error);
    if (pool != NULL && varve_snapshot_usage(pool, request->key, &usage, &error)) {
        WireUsageResponse response = WIRE_INIT(USAGE_RESPONSE);
        response.size = usage.bytes;
        response.inodes = usage.inodes;
        varve_grpc_call_send(call, &response.base);
    }
    finish(call, "Usage", request->snapshotter, request->key, error);
}

static void
handle_cleanup(VarveGrpcCall *call, const ProtobufCMessage *message, gpointer data)
{
    const WireCleanupRequest *request = (const WireCleanupRequest *)message;
    g_autoptr(GError) error = NULL;
    VarveCleanup result = {0};
    VarvePool *pool = varve_pools_find(data, request->snapshotter, &error);
    if (pool != NULL && varve_engine_cleanup(varve_pools_get_engine(data), pool, &result, &error))
        send_empty(call);
    finish(call, "Cleanup", request->snapshotter, NULL, error);
}

/* --- list ----------------------------------------------------------------------------------- */

#define BATCH_INFOS 1024
#define BATCH_BYTES (128 << 10) /* of memory, which is more than the message will have */

/* Snapshots on their way into one message. The infos lie one behind the other in memory. */
typedef struct {
    VarveGrpcCall *call;
    gsize n, used;
    WireInfo *infos[BATCH_INFOS];
    _Alignas(max_align_t) char memory[BATCH_BYTES];
} Batch;

/* FALSE when nobody waits for the answer any more. */
static gboolean
send_infos(VarveGrpcCall *call, WireInfo **infos, gsize n)
{
    WireListResponse response = WIRE_INIT(LIST_RESPONSE);
    response.info = infos;
    response.n_info = n;
    return varve_grpc_call_send(call, &response.base);
}

static gboolean
flush_batch(Batch *batch)
{
    gsize n = batch->n;
    batch->n = batch->used = 0;
    return n == 0 || send_infos(batch->call, batch->infos, n);
}

static gboolean
add_to_batch(const VarveSnapshotInfo *info, gpointer data, GError **error)
{
    Batch *batch = data;
    gsize size = varve_wire_info_size(info);
    if ((batch->n == BATCH_INFOS || size > BATCH_BYTES - batch->used) && !flush_batch(batch))
        return FALSE;
    if (size > BATCH_BYTES) { /* thousands of labels: a message of its own */
        g_autofree gpointer memory = g_malloc(size);
        WireInfo *alone = varve_wire_info(info, memory);
        return send_infos(batch->call, &alone, 1);
    }
    batch->infos[batch->n++] = varve_wire_info(info, batch->memory + batch->used);
    batch->used += size;
    return TRUE;
}

static void
handle_list(VarveGrpcCall *call, const ProtobufCMessage *message, gpointer data)
{
    const WireListRequest *request = (const WireListRequest *)message;
    g_autoptr(GError) error = NULL;
    g_autofree const char **filters = g_new(const char *, request->n_filters + 1);
    for (gsize i = 0; i < request->n_filters; i++)
        filters[i] = request->filters[i];
    filters[request->n_filters] = NULL;

    g_autofree Batch *batch = g_new(Batch, 1);
    batch->call = call;
    batch->n = batch->used = 0;
    VarvePool *pool = varve_pools_find(data, request->snapshotter, &error);
    if (pool != NULL && varve_snapshot_walk(pool, filters, add_to_batch, batch, &error))
        flush_batch(batch);
    finish(call, "List", request->snapshotter, NULL, error);
}

/* Mounts and Stat are reads of the store and take microseconds, less than to wake a worker. Usage
 * may walk a directory tree. */
#define NS(NAME) &containerd__services__snapshots__v1__##NAME##__descriptor
const VarveGrpcMethod varve_snapshots_methods[] = {
    {SERVICE "Prepare", NS(prepare_request), handle_prepare, FALSE},
    {SERVICE "View", NS(prepare_request), handle_view, FALSE},
    {SERVICE "Mounts", NS(key_request), handle_mounts, TRUE},
    {SERVICE "Commit", NS(commit_request), handle_commit, FALSE},
    {SERVICE "Remove", NS(key_request), handle_remove, FALSE},
    {SERVICE "Stat", NS(key_request), handle_stat, TRUE},
    {SERVICE "Update", NS(update_request), handle_update, FALSE},
    {SERVICE "List", NS(list_request), handle_list, FALSE},
    {SERVICE "Usage", NS(key_request), handle_usage, FALSE},
    {SERVICE "Cleanup", NS(cleanup_request), handle_cleanup, FALSE},
    {NULL},
};
#undef NS
