/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/diff-service.h"
#include "daemon/content.h"
#include "daemon/diff-wire.h"

#define SERVICE "/containerd.services.diff.v1.Diff/"

/* Ends a call that failed, or passes when error is NULL. */
static void
finish(VarveGrpcCall *call, const char *method, const char *what, const GError *error)
{
    if (error == NULL) {
        varve_grpc_call_finish(call, VARVE_GRPC_OK, NULL);
        return;
    }
    gboolean ours = g_error_matches(error, VARVE_ERROR, VARVE_ERROR_INTERNAL);
    varve_log(ours ? VARVE_LOG_WARNING : VARVE_LOG_DEBUG, "call failed", "method", method, "layer",
              what, "code", varve_error_name(error), "error", error->message, NULL);
    varve_grpc_call_finish(call, varve_error_grpc_status(error), error->message);
}

/* --- apply ---------------------------------------------------------------------------------- */

static void
send_applied(VarveGrpcCall *call, const VarveLayer *layer)
{
    WireDescriptor descriptor = WIRE_DIFF_INIT(DESCRIPTOR);
    descriptor.media_type = (char *)layer->media_type;
    descriptor.digest = layer->diff_id;
    descriptor.size = (gint64)layer->plain;
    WireApplyResponse response = WIRE_DIFF_INIT(APPLY_RESPONSE);
    response.applied = &descriptor;
    varve_grpc_call_send(call, &response.base);
}

/* Payloads are for who decrypts layers. */
static gboolean
check_apply(const WireApplyRequest *request, GError **error)
{
    if (request->n_payloads == 0)
        return TRUE;
    g_set_error(error, VARVE_ERROR, VARVE_ERROR_NOT_IMPLEMENTED,
                "payloads for processing a layer, as '%s', are not supported",
                request->payloads[0]->key);
    return FALSE;
}

static gboolean
apply(const VarveDiff *diff, VarveGrpcCall *call, const WireApplyRequest *request,
      const WireDescriptor *descriptor, VarveLayer *layer, GError **error)
{
    g_autoptr(GPtrArray) mounts = varve_wire_mounts(request->mounts, request->n_mounts, error);
    if (mounts == NULL || !check_apply(request, error))
        return FALSE;
    g_autoptr(VarveContentReader) reader =
        varve_content_reader_new(diff->config, call, descriptor->digest);
    const VarveMountsBlob blob = {
        .media_type = descriptor->media_type,
        .digest = descriptor->digest,
        .source = varve_content_reader_source(reader),
        .sync = request->sync_fs,
        .cancelled = varve_grpc_call_cancelled(call),
    };
    return varve_mounts_unpack(diff->engine, (VarveMount *const *)mounts->pdata, &blob, layer,
                               error);
}

static void
handle_apply(VarveGrpcCall *call, const ProtobufCMessage *message, gpointer data)
{
    const WireApplyRequest *request = (const WireApplyRequest *)message;
    static const WireDescriptor nothing = WIRE_DIFF_INIT(DESCRIPTOR);
    const WireDescriptor *descriptor = request->diff != NULL ? request->diff : &nothing;
    g_autoptr(GError) error = NULL;
    g_auto(VarveLayer) layer = {0};
    if (apply(data, call, request, descriptor, &layer, &error))
        send_applied(call, &layer);
    finish(call, "Apply", descriptor->digest, error);
}

/* --- diff ----------------------------------------------------------------------------------- */

static void
send_diff(VarveGrpcCall *call, const VarveLayer *layer)
{
    WireDescriptor descriptor = WIRE_DIFF_INIT(DESCRIPTOR);
    descriptor.media_type = (char *)layer->media_type;
    descriptor.digest = layer->digest;
    descriptor.size = (gint64)layer->size;
    WireDiffResponse response = WIRE_DIFF_INIT(DIFF_RESPONSE);
    response.diff = &descriptor;
    varve_grpc_call_send(call, &response.base);
}

static gboolean
package(const VarveDiff *diff, VarveGrpcCall *call, const WireDiffRequest *request,
        VarveContentWriter *writer, VarveLayer *layer, GError **error)
{
    g_autoptr(GPtrArray) left = varve_wire_mounts(request->left, request->n_left, error);
    if (left == NULL)
        return FALSE;
    g_autoptr(GPtrArray) right = varve_wire_mounts(request->right, request->n_right, error);
    if (right == NULL)
        return FALSE;
    const VarveMountsPackage how = {
        .media_type = request->media_type,
        .latest = request->source_date_epoch != NULL ? &request->source_date_epoch->seconds : NULL,
        .cancelled = varve_grpc_call_cancelled(call),
    };
    return varve_mounts_package(diff->engine, (VarveMount *const *)left->pdata,
                                (VarveMount *const *)right->pdata, &how,
                                varve_content_writer_sink(writer), layer, error);
}

static gboolean
make_diff(const VarveDiff *diff, VarveGrpcCall *call, const WireDiffRequest *request,
          VarveLayer *layer, GError **error)
{
    g_autoptr(GHashTable) labels = varve_wire_diff_labels(request->labels, request->n_labels);
    g_autoptr(VarveContentWriter) writer =
        varve_content_writer_new(diff->config, call, request->ref, error);
    return writer != NULL && package(diff, call, request, writer, layer, error) &&
           varve_content_writer_commit(writer, layer, labels, error);
}

static void
handle_diff(VarveGrpcCall *call, const ProtobufCMessage *message, gpointer data)
{
    const WireDiffRequest *request = (const WireDiffRequest *)message;
    g_autoptr(GError) error = NULL;
    g_auto(VarveLayer) layer = {0};
    if (make_diff(data, call, request, &layer, &error))
        send_diff(call, &layer);
    finish(call, "Diff", layer.digest, error);
}

#define NS(NAME) &containerd__services__diff__v1__##NAME##__descriptor
const VarveGrpcMethod varve_diff_methods[] = {
    {SERVICE "Apply", NS(apply_request), handle_apply, .headers = TRUE},
    {SERVICE "Diff", NS(diff_request), handle_diff, .headers = TRUE},
    {NULL},
};
#undef NS
