/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/content.h"
#include <errno.h>
#include <unistd.h>

struct VarveContentReader {
    int fd;
};

static gssize
read_file(gpointer data, void *buffer, gsize size, GError **error)
{
    VarveContentReader *reader = data;
    ssize_t n;
    do
        n = read(reader->fd, buffer, size);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INTERNAL, "reading the blob: %s",
                    g_strerror(errno));
    return n;
}

VarveContentReader *
varve_content_reader_new(const VarveConfig *config, VarveGrpcCall *call, const char *digest,
                         GError **error)
{
    if (config->diff_content == NULL) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_NOT_IMPLEMENTED,
                    "varved is not told where the blobs are: neither content nor containerd is set "
                    "in [diff] of its configuration");
        return NULL;
    }
    int fd = varve_blob_open(config->diff_content, digest, NULL, error);
    if (fd < 0)
        return NULL;
    VarveContentReader *reader = g_new0(VarveContentReader, 1);
    reader->fd = fd;
    return reader;
}

void
varve_content_reader_free(VarveContentReader *reader)
{
    if (reader == NULL)
        return;
    close(reader->fd);
    g_free(reader);
}

VarveSource
varve_content_reader_source(VarveContentReader *reader)
{
    return (VarveSource){read_file, reader};
}
