/* SPDX-License-Identifier: Apache-2.0 */
#include "content.pb-c.h"
#include "daemon/content.h"
#include <string.h>
#include <unistd.h>

/*
 * A blob goes to the service as a stream of messages, each of which says at what offset its bytes
 * begin, and is answered before the next one is sent. The last one has the digest and the labels.
 */

#define INIT(NAME)   CONTAINERD__SERVICES__CONTENT__V1__##NAME##__INIT
#define TYPE(NAME)   &containerd__services__content__v1__##NAME##__descriptor
#define WRITE        CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__WRITE
#define COMMIT       CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__COMMIT
#define LABEL_PLAIN  "containerd.io/uncompressed"
#define MESSAGE_SIZE ((gsize)1 << 20)

typedef Containerd__Services__Content__V1__AbortRequest AbortRequest;
typedef Containerd__Services__Content__V1__FieldMask FieldMask;
typedef Containerd__Services__Content__V1__Info Info;
typedef Containerd__Services__Content__V1__InfoRequest InfoRequest;
typedef Containerd__Services__Content__V1__InfoResponse InfoResponse;
typedef Containerd__Services__Content__V1__Label Label;
typedef Containerd__Services__Content__V1__UpdateRequest UpdateRequest;
typedef Containerd__Services__Content__V1__WriteRequest WriteRequest;
typedef Containerd__Services__Content__V1__WriteResponse WriteResponse;

struct VarveContentWriter {
    const VarveConfig *config;
    VarveGrpcCall *call;
    VarveGrpcClient *client;
    char *ref;
    gboolean own_ref, begun, committed;
    GByteArray *bytes; /* not sent yet */
    gint64 offset;     /* how many were */
};

static char *
new_ref(void)
{
    static gint count;
    return g_strdup_printf("varve-%d-%d-%" G_GINT64_FORMAT, (int)getpid(),
                           g_atomic_int_add(&count, 1), g_get_real_time());
}

VarveContentWriter *
varve_content_writer_new(const VarveConfig *config, VarveGrpcCall *call, const char *ref,
                         GError **error)
{
    if (config->diff_containerd == NULL) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_NOT_IMPLEMENTED,
                    "varved is not told where to write layers to: containerd is not set in [diff] "
                    "of its configuration");
        return NULL;
    }
    VarveGrpcClient *client =
        varve_content_connect(config, call, varve_grpc_call_cancelled(call), error);
    if (client == NULL)
        return NULL;
    VarveContentWriter *writer = g_new0(VarveContentWriter, 1);
    writer->config = config;
    writer->call = call;
    writer->client = client;
    writer->own_ref = *ref == '\0';
    writer->ref = writer->own_ref ? new_ref() : g_strdup(ref);
    writer->bytes = g_byte_array_sized_new(MESSAGE_SIZE);
    return writer;
}

/* Nobody would come back to what has a ref of ours. Whoever the call was for may be gone, and the
 * connection may be stuck in the middle of the stream: so it is another one. */
static void
give_up(VarveContentWriter *writer)
{
    AbortRequest request = INIT(ABORT_REQUEST);
    g_autoptr(GError) error = NULL;
    request.ref = writer->ref;
    g_autoptr(VarveGrpcClient) client =
        varve_content_connect(writer->config, writer->call, NULL, &error);
    ProtobufCMessage *response = client != NULL
                                     ? varve_grpc_client_call(client, VARVE_CONTENT_SERVICE "Abort",
                                                              &request.base, TYPE(empty), &error)
                                     : NULL;
    if (response != NULL)
        protobuf_c_message_free_unpacked(response, NULL);
    else if (!g_error_matches(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
        varve_log(VARVE_LOG_WARNING, "giving up an unfinished blob failed, containerd still has it",
                  "ref", writer->ref, "error", error->message, NULL);
}

void
varve_content_writer_free(VarveContentWriter *writer)
{
    if (writer == NULL)
        return;
    g_clear_pointer(&writer->client, varve_grpc_client_free);
    if (writer->own_ref && writer->begun && !writer->committed)
        give_up(writer);
    g_byte_array_unref(writer->bytes);
    g_free(writer->ref);
    g_free(writer);
}

/* --- the stream ------------------------------------------------------------------------------ */

/* Sends what is there with a message, and takes the answer. */
static gboolean
exchange(VarveContentWriter *writer, WriteRequest *request, GError **error)
{
    request->ref = writer->ref;
    request->offset = writer->offset;
    request->data = (ProtobufCBinaryData){writer->bytes->len, writer->bytes->data};
    gboolean last = request->action == COMMIT;
    if (!writer->begun &&
        !varve_grpc_client_begin(writer->client, VARVE_CONTENT_SERVICE "Write", error))
        return FALSE;
    writer->begun = TRUE;
    writer->offset += (gint64)writer->bytes->len;
    if (!varve_grpc_client_send(writer->client, &request->base, last, error))
        return FALSE;
    g_byte_array_set_size(writer->bytes, 0);
    GError *failure = NULL;
    WriteResponse *response =
        (WriteResponse *)varve_grpc_client_receive(writer->client, TYPE(write_response), &failure);
    gboolean whole = response != NULL && response->offset == writer->offset;
    if (response != NULL)
        protobuf_c_message_free_unpacked(&response->base, NULL);
    if (whole)
        return TRUE;
    if (failure == NULL)
        failure = g_error_new(VARVE_ERROR, VARVE_ERROR_INTERNAL,
                              "writing the layer to containerd: it took other bytes than it was "
                              "sent");
    g_propagate_error(error, failure);
    return FALSE;
}

static gboolean
write_bytes(gpointer data, const void *bytes, gsize size, GError **error)
{
    VarveContentWriter *writer = data;
    while (size > 0) {
        gsize part = MIN(size, MESSAGE_SIZE - writer->bytes->len);
        g_byte_array_append(writer->bytes, bytes, (guint)part);
        bytes = (const guint8 *)bytes + part;
        size -= part;
        WriteRequest request = INIT(WRITE_REQUEST);
        request.action = WRITE;
        if (writer->bytes->len == MESSAGE_SIZE && !exchange(writer, &request, error))
            return FALSE;
    }
    return TRUE;
}

VarveSink
varve_content_writer_sink(VarveContentWriter *writer)
{
    return (VarveSink){write_bytes, writer};
}

/* --- its end --------------------------------------------------------------------------------- */

/* Labels as messages, the one for what it is uncompressed first. */
static GArray *
labels_of(const VarveLayer *layer, GHashTable *more)
{
    GArray *labels = g_array_new(FALSE, FALSE, sizeof(Label));
    Label label = INIT(LABEL);
    label.key = (char *)LABEL_PLAIN;
    label.value = layer->diff_id;
    g_array_append_val(labels, label);
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, more);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        label.key = key;
        label.value = value;
        if (!g_str_equal(key, LABEL_PLAIN))
            g_array_append_val(labels, label);
    }
    return labels;
}

static gboolean
commit(VarveContentWriter *writer, const VarveLayer *layer, GHashTable *more, GError **error)
{
    g_autoptr(GArray) labels = labels_of(layer, more);
    g_autofree Label **pointers = g_new(Label *, labels->len);
    for (guint i = 0; i < labels->len; i++)
        pointers[i] = &g_array_index(labels, Label, i);
    WriteRequest request = INIT(WRITE_REQUEST);
    request.action = COMMIT;
    request.total = (gint64)layer->size;
    request.expected = layer->digest;
    request.labels = pointers;
    request.n_labels = labels->len;
    return exchange(writer, &request, error);
}

static gboolean
has_label(const InfoResponse *response)
{
    for (gsize i = 0; response->info != NULL && i < response->info->n_labels; i++) {
        const Label *label = response->info->labels[i];
        if (g_str_equal(label->key, LABEL_PLAIN) && *label->value != '\0')
            return TRUE;
    }
    return FALSE;
}

static gboolean
set_label(VarveContentWriter *writer, const VarveLayer *layer, GError **error)
{
    Label label = INIT(LABEL), *labels[] = {&label};
    label.key = (char *)LABEL_PLAIN;
    label.value = layer->diff_id;
    Info info = INIT(INFO);
    info.digest = layer->digest;
    info.labels = labels;
    info.n_labels = 1;
    char *paths[] = {(char *)"labels." LABEL_PLAIN};
    FieldMask mask = INIT(FIELD_MASK);
    mask.paths = paths;
    mask.n_paths = 1;
    UpdateRequest request = INIT(UPDATE_REQUEST);
    request.info = &info;
    request.update_mask = &mask;
    ProtobufCMessage *response = varve_grpc_client_call(
        writer->client, VARVE_CONTENT_SERVICE "Update", &request.base, TYPE(info_response), error);
    if (response == NULL)
        return FALSE;
    protobuf_c_message_free_unpacked(response, NULL);
    return TRUE;
}

/* A blob that was there already may have come without the label. */
static gboolean
check_label(VarveContentWriter *writer, const VarveLayer *layer, GError **error)
{
    InfoRequest request = INIT(INFO_REQUEST);
    request.digest = layer->digest;
    InfoResponse *response = (InfoResponse *)varve_grpc_client_call(
        writer->client, VARVE_CONTENT_SERVICE "Info", &request.base, TYPE(info_response), error);
    if (response == NULL)
        return FALSE;
    gboolean has = has_label(response);
    protobuf_c_message_free_unpacked(&response->base, NULL);
    return has || set_label(writer, layer, error);
}

gboolean
varve_content_writer_commit(VarveContentWriter *writer, const VarveLayer *layer, GHashTable *labels,
                            GError **error)
{
    g_autoptr(GError) failure = NULL;
    writer->committed = commit(writer, layer, labels, &failure) ||
                        g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS);
    if (failure == NULL)
        return TRUE;
    if (writer->committed)
        return check_label(writer, layer, error);
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}
