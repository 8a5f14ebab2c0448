/* SPDX-License-Identifier: Apache-2.0 */
/* What of volumes comes and goes piece by piece. */
#include "daemon/http-hosts.h"
#include "daemon/http-json.h"
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

#define STREAM_TYPE "application/vnd.varve.snapshot-stream"
#define MAX_HAVES   20000
#define MAX_FORMATS 100

typedef struct {
    VarvePool *pool;
    char *key;
    GPtrArray *haves; /* of char*, ended by NULL */
    char **formats;   /* NULL: none */
    char *resume;
} Sending;

static void
free_sending(gpointer data)
{
    Sending *self = data;
    g_free(self->key);
    g_ptr_array_unref(self->haves);
    g_strfreev(self->formats);
    g_free(self->resume);
    g_free(self);
}

static gboolean
send_snapshot(VarveSink sink, gpointer data, GError **error)
{
    const Sending *self = data;
    const VarveSendOptions options = {.haves = (const char *const *)self->haves->pdata,
                                      .formats = (const char *const *)self->formats,
                                      .resume = self->resume};
    return varve_snapshot_send(self->pool, self->key, &options, sink, NULL, error);
}

/* A list of universal ids, or of objects as /haves gives them; NULL is none. */
static gboolean
read_haves(const json_t *list, GPtrArray *haves, GError **error)
{
    gsize i;
    json_t *element;
    json_array_foreach(list, i, element)
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

/* What the receiver says: {"haves", "formats", "resume"}; or a list, which is its haves. */
static gboolean
read_receiver(VarveHttpRequest *request, Sending *sending, GError **error)
{
    const char *resume = NULL;
    json_type type = varve_http_request_json_type(request);
    json_auto_t *body = varve_http_request_json(request, type, error);
    if (body == NULL)
        return FALSE;
    if (type == JSON_ARRAY)
        return read_haves(body, sending->haves, error);
    json_t *haves = NULL;
    if (!varve_json_get_array(body, "haves", MAX_HAVES, &haves, error) ||
        !varve_json_get_strings(body, "formats", MAX_FORMATS, &sending->formats, error) ||
        !varve_json_get_string(body, "resume", &resume, error))
        return FALSE;
    sending->resume = g_strdup(resume);
    return read_haves(haves, sending->haves, error);
}

static gboolean
plan_sending(VarveHttpRequest *request, const VarveHttpContext *context, Sending *sending,
             GError **error)
{
    const char *id = varve_http_request_param(request, "id");
    g_autoptr(VarveVolumeInfo) info = varve_volumes_inspect(context->volumes, id, error);
    if (info == NULL || !read_receiver(request, sending, error))
        return FALSE;
    sending->key = g_strdup(info->key);
    sending->pool = varve_engine_get_pool(context->engine, info->provider, error);
    return sending->pool != NULL;
}

void
varve_http_send_volume(VarveHttpRequest *request, gpointer data)
{
    GError *error = NULL;
    Sending *sending = g_new0(Sending, 1);
    sending->haves = g_ptr_array_new_with_free_func(g_free);
    if (plan_sending(request, data, sending, &error)) {
        varve_http_reply_stream(request, STREAM_TYPE, send_snapshot, sending, free_sending);
        return;
    }
    free_sending(sending);
    varve_http_reply_error(request, error);
}

/* --- receiving ------------------------------------------------------------------------------ */

static json_t *
make_offer(VarveHttpRequest *request, const VarveHttpContext *context, GError **error)
{
    g_auto(VarveOffer) offer = {0};
    if (!varve_volumes_offer(context->volumes, varve_http_request_param(request, "id"),
                             varve_http_request_query(request, "provider"),
                             varve_http_request_query(request, "uuid"), &offer, error))
        return NULL;
    json_t *value = json_object();
    json_object_set_new(value, "haves", varve_json_new_strings(offer.haves, MAX_HAVES));
    json_object_set_new(value, "formats", varve_json_new_strings(offer.formats, MAX_HAVES));
    varve_http_set(value, "resume", offer.resume);
    varve_http_set_int(value, "kept", offer.kept);
    return value;
}

void
varve_http_offer_receiving(VarveHttpRequest *request, gpointer data)
{
    GError *error = NULL;
    json_t *offer = make_offer(request, data, &error);
    if (offer != NULL)
        varve_http_reply_json(request, 200, offer);
    else
        varve_http_reply_error(request, error);
}

/* What a volume becomes by what comes; one that was not there is told of too. */
typedef VarveVolumeInfo *(*Arrive)(VarveHttpRequest *request, const VarveHttpContext *context,
                                   const char *id, GError **error);

static void
reply_arrived(VarveHttpRequest *request, const VarveHttpContext *context, Arrive arrive)
{
    GError *error = NULL;
    const char *id = varve_http_request_param(request, "id");
    g_autoptr(VarveVolumeInfo) before = varve_volumes_inspect(context->volumes, id, NULL);
    VarveVolumeInfo *info = arrive(request, context, id, &error);
    if (info != NULL && before == NULL)
        varve_http_publish_made(context, id);
    varve_http_reply_made(request, context, info, error);
}

static VarveVolumeInfo *
receive(VarveHttpRequest *request, const VarveHttpContext *context, const char *id, GError **error)
{
    const VarveReceiveOptions options = {
        .name = varve_http_request_query(request, "name"),
        .provider = varve_http_request_query(request, "provider"),
        .keep = g_strcmp0(varve_http_request_query(request, "keep"), "true") == 0};
    return varve_volumes_receive(context->volumes, id, varve_http_request_source(request), &options,
                                 NULL, error);
}

void
varve_http_receive_volume(VarveHttpRequest *request, gpointer data)
{
    reply_arrived(request, data, receive);
}

/* --- pulling -------------------------------------------------------------------------------- */

static VarveVolumeInfo *
pull(VarveHttpRequest *request, const VarveHttpContext *context, const char *id, GError **error)
{
    VarveHostOptions options = {0};
    const char *host_id = NULL, *snapshot = NULL;
    json_auto_t *body = varve_http_request_json(request, JSON_OBJECT, error);
    if (body == NULL || !varve_json_get_string(body, "host_id", &host_id, error) ||
        !varve_json_get_string(body, "snapshot_id", &snapshot, error) ||
        !varve_json_get_string(body, "name", &options.name, error) ||
        !varve_json_get_string(body, "provider", &options.provider, error))
        return NULL;
    if (host_id == NULL || snapshot == NULL) {
        varve_json_missing(host_id == NULL ? "host_id" : "snapshot_id", error);
        return NULL;
    }
    g_autoptr(VarveHost) host =
        varve_http_hosts_open(context->hosts, host_id, context->engine, error);
    return host != NULL
               ? varve_volumes_pull(context->volumes, host, snapshot, id, &options, NULL, error)
               : NULL;
}

void
varve_http_pull_snapshot(VarveHttpRequest *request, gpointer data)
{
    reply_arrived(request, data, pull);
}
