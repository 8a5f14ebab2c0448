/* SPDX-License-Identifier: Apache-2.0 */
/* What of volumes comes and goes piece by piece. */
#include "daemon/http-volumes.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define UPLOAD_BLOCK (256 * 1024)

/* --- importing ------------------------------------------------------------------------------ */

static gboolean
write_all(int fd, const char *bytes, gsize size, GError **error)
{
    for (gsize done = 0; done < size;) {
        gssize n = write(fd, bytes + done, size - done);
        if (n > 0) {
            done += (gsize)n;
        } else if (errno != EINTR) {
            g_set_error(error, VARVE_ERROR,
                        errno == ENOSPC || errno == EDQUOT ? VARVE_ERROR_NO_SPACE
                                                           : VARVE_ERROR_INTERNAL,
                        "keeping the image: %s", g_strerror(errno));
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
keep_body(VarveHttpRequest *request, int fd, GError **error)
{
    g_autofree char *buffer = g_malloc(UPLOAD_BLOCK);
    VarveSource source = varve_http_request_source(request);
    for (;;) {
        gssize n = source.read(source.data, buffer, UPLOAD_BLOCK, error);
        if (n <= 0)
            return n == 0;
        if (!write_all(fd, buffer, (gsize)n, error))
            return FALSE;
    }
}

/* The image is kept in a file without a name, of which nothing is left whatever happens. */
static VarveVolumeInfo *
import_body(VarveHttpRequest *request, const VarveHttpContext *context, GError **error)
{
    const VarveVolumeOptions options = {.id = varve_http_request_query(request, "id"),
                                        .provider = varve_http_request_param(request, "id")};
    int fd = open(varve_engine_get_root(context->engine), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INTERNAL, "keeping the image: %s",
                    g_strerror(errno));
        return NULL;
    }
    g_autofree char *file = g_strdup_printf("/proc/self/fd/%d", fd);
    VarveVolumeInfo *info = NULL;
    if (keep_body(request, fd, error))
        info = varve_volumes_import(context->volumes, file, &options, error);
    close(fd);
    return info;
}

void
varve_http_import_volume(VarveHttpRequest *request, gpointer data)
{
    GError *error = NULL;
    VarveVolumeInfo *info = import_body(request, data, &error);
    varve_http_reply_made(request, data, info, error);
}

/* --- sending -------------------------------------------------------------------------------- */

typedef struct {
    VarvePool *pool;
    char *key;
    GPtrArray *haves; /* of char*, ended by NULL */
} Sending;

static void
free_sending(gpointer data)
{
    Sending *self = data;
    g_free(self->key);
    g_ptr_array_unref(self->haves);
    g_free(self);
}

static gboolean
send_snapshot(VarveSink sink, gpointer data, GError **error)
{
    const Sending *self = data;
    const VarveSendOptions options = {.haves = (const char *const *)self->haves->pdata};
    return varve_snapshot_send(self->pool, self->key, &options, sink, NULL, error);
}

/* A body that is a list of universal ids, or of objects as /haves gives them. */
static gboolean
read_haves(VarveHttpRequest *request, GPtrArray *haves, GError **error)
{
    gsize i;
    json_t *element;
    json_auto_t *body = varve_http_request_json(request, JSON_ARRAY, error);
    if (body == NULL)
        return FALSE;
    json_array_foreach(body, i, element)
    {
        const char *uuid =
            json_string_value(json_is_object(element) ? json_object_get(element, "uuid") : element);
        if (uuid == NULL) {
            g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                        "haves[%zu]: must be a universal id, or an object with one as uuid", i);
            return FALSE;
        }
        g_ptr_array_add(haves, g_strdup(uuid));
    }
    g_ptr_array_add(haves, NULL);
    return TRUE;
}

void
varve_http_send_volume(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    VarvePool *pool = NULL;
    g_autoptr(GPtrArray) haves = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(VarveVolumeInfo) info =
        varve_volumes_inspect(context->volumes, varve_http_request_param(request, "id"), &error);
    if (info != NULL && read_haves(request, haves, &error))
        pool = varve_engine_get_pool(context->engine, info->provider, &error);
    if (pool == NULL) {
        varve_http_reply_error(request, error);
        return;
    }
    Sending *sending = g_new0(Sending, 1);
    sending->pool = pool;
    sending->key = g_strdup(info->key);
    sending->haves = g_steal_pointer(&haves);
    varve_http_reply_stream(request, "application/vnd.varve.snapshot-stream", send_snapshot,
                            sending, free_sending);
}
