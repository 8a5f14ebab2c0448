/* SPDX-License-Identifier: Apache-2.0 */
#include "content.pb-c.h"
#include "daemon/content.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

typedef Containerd__Services__Content__V1__ReadRequest ReadRequest;
typedef Containerd__Services__Content__V1__ReadResponse ReadResponse;

struct VarveContentReader {
    const VarveConfig *config;
    VarveGrpcCall *call;
    const char *digest;
    int fd; /* -1: not open */
    VarveGrpcClient *client;
    ReadResponse *piece; /* what came last */
    gsize used;          /* how much of it was read */
    gint64 offset;       /* where in the blob it ends */
};

VarveContentReader *
varve_content_reader_new(const VarveConfig *config, VarveGrpcCall *call, const char *digest)
{
    VarveContentReader *reader = g_new0(VarveContentReader, 1);
    *reader = (VarveContentReader){.config = config, .call = call, .digest = digest, .fd = -1};
    return reader;
}

static void
drop_piece(VarveContentReader *reader)
{
    if (reader->piece != NULL)
        protobuf_c_message_free_unpacked(&reader->piece->base, NULL);
    reader->piece = NULL;
    reader->used = 0;
}

void
varve_content_reader_free(VarveContentReader *reader)
{
    if (reader == NULL)
        return;
    drop_piece(reader);
    varve_grpc_client_free(reader->client);
    if (reader->fd >= 0)
        close(reader->fd);
    g_free(reader);
}

/* --- from the directory ---------------------------------------------------------------------- */

static gssize
read_file(gpointer data, void *buffer, gsize size, GError **error)
{
    VarveContentReader *reader = data;
    if (reader->fd < 0)
        reader->fd = varve_blob_open(reader->config->diff_content, reader->digest, NULL, error);
    if (reader->fd < 0)
        return -1;
    ssize_t n;
    do
        n = read(reader->fd, buffer, size);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INTERNAL, "reading the blob: %s",
                    g_strerror(errno));
    return n;
}

/* --- through the service --------------------------------------------------------------------- */

VarveGrpcClient *
varve_content_connect(const VarveConfig *config, VarveGrpcCall *call, const gint *cancelled,
                      GError **error)
{
    static const char *const handed_on[] = {"containerd-namespace", "containerd-lease"};
    VarveGrpcClient *client = varve_grpc_client_new(config->diff_containerd, cancelled, error);
    for (gsize i = 0; client != NULL && i < G_N_ELEMENTS(handed_on); i++)
        varve_grpc_client_set_header(client, handed_on[i],
                                     varve_grpc_call_header(call, handed_on[i]));
    return client;
}

static gboolean
begin_read(VarveContentReader *reader, GError **error)
{
    ReadRequest request = CONTAINERD__SERVICES__CONTENT__V1__READ_REQUEST__INIT;
    request.digest = (char *)reader->digest;
    reader->client = varve_content_connect(reader->config, reader->call,
                                           varve_grpc_call_cancelled(reader->call), error);
    return reader->client != NULL &&
           varve_grpc_client_begin(reader->client, VARVE_CONTENT_SERVICE "Read", error) &&
           varve_grpc_client_send(reader->client, &request.base, TRUE, error);
}

/* FALSE: at the end, or with the error set. */
static gboolean
next_piece(VarveContentReader *reader, GError **error)
{
    drop_piece(reader);
    reader->piece = (ReadResponse *)varve_grpc_client_receive(
        reader->client, &containerd__services__content__v1__read_response__descriptor, error);
    if (reader->piece == NULL)
        return FALSE;
    if (reader->piece->offset != reader->offset) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INTERNAL,
                    "reading the blob: a piece of it is missing at %" G_GINT64_FORMAT,
                    reader->offset);
        return FALSE;
    }
    reader->offset += (gint64)reader->piece->data.len;
    return TRUE;
}

static gssize
read_service(gpointer data, void *buffer, gsize size, GError **error)
{
    VarveContentReader *reader = data;
    GError *failure = NULL;
    if (reader->client == NULL && !begin_read(reader, error))
        return -1;
    while (reader->piece == NULL || reader->used == reader->piece->data.len) {
        if (next_piece(reader, &failure))
            continue;
        if (failure == NULL)
            return 0;
        g_propagate_error(error, failure);
        return -1;
    }
    gsize n = MIN(size, reader->piece->data.len - reader->used);
    memcpy(buffer, reader->piece->data.data + reader->used, n);
    reader->used += n;
    return (gssize)n;
}

/* --- either ---------------------------------------------------------------------------------- */

static gssize
read_nothing(gpointer data, void *buffer, gsize size, GError **error)
{
    g_set_error(
        error, VARVE_ERROR, VARVE_ERROR_NOT_IMPLEMENTED,
        "varved is not told where containerd's blobs are: neither content nor containerd is "
        "set in [diff] of its configuration");
    return -1;
}

VarveSource
varve_content_reader_source(VarveContentReader *reader)
{
    if (reader->config->diff_content != NULL)
        return (VarveSource){read_file, reader};
    if (reader->config->diff_containerd != NULL)
        return (VarveSource){read_service, reader};
    return (VarveSource){read_nothing, reader};
}
