/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/host/internal.h"

#define MAX_OFFERED 20000
#define STREAM_TYPE "application/vnd.varve.snapshot-stream"

typedef struct {
    VarveVolumes *volumes;
    const char *id;
    VarveHost *host;
    const VarveHostOptions *options;
    VarveVolumeInfo *here; /* the snapshot */
    VarvePool *pool;
    VarveTransfer *transfer;
    guint64 came; /* of the stream, to the other side, before the last attempt */
} Push;

/* --- what the other side has ------------------------------------------------------------------ */

static char *
receive_path(const Push *push, const char *more)
{
    g_autoptr(GString) query = g_string_new(more);
    const char *name = push->options->name, *provider = push->options->provider;
    if (name != NULL) {
        g_string_append(query, "&name=");
        g_string_append_uri_escaped(query, name, NULL, FALSE);
    }
    if (provider != NULL) {
        g_string_append(query, "&provider=");
        g_string_append_uri_escaped(query, provider, NULL, FALSE);
    }
    return varve_host_path(push->id, query->str);
}

static gboolean
read_offer(const Push *push, const json_t *value, VarveOffer *offer, GError **error)
{
    gint64 kept = 0;
    const char *resume = NULL;
    if (!varve_json_get_strings(value, "haves", MAX_OFFERED, &offer->haves, error) ||
        !varve_json_get_strings(value, "formats", MAX_OFFERED, &offer->formats, error) ||
        !varve_json_get_integer(value, "kept", 0, G_MAXINT64, &kept, error) ||
        !varve_json_get_string(value, "resume", &resume, error))
        return varve_host_misread(push->host, error);
    offer->resume = g_strdup(resume);
    offer->kept = (guint64)kept;
    return TRUE;
}

static gboolean
ask_offer(Push *push, VarveOffer *offer, GError **error)
{
    g_autofree char *query = g_strdup_printf("/receive?uuid=%s", push->here->uuid);
    g_autofree char *path = receive_path(push, query);
    json_auto_t *value = push->host->http->call(push->host->client, "GET", path, NULL, error);
    if (value == NULL || !read_offer(push, value, offer, error))
        return FALSE;
    push->came = offer->kept;
    return TRUE;
}

/* --- sending ---------------------------------------------------------------------------------- */

static gboolean
write_stream(gpointer data, const void *bytes, gsize size, GError **error)
{
    const VarveHost *host = data;
    return host->http->write(host->client, bytes, size, error);
}

static gboolean
send_stream(const Push *push, const VarveOffer *offer, gboolean anew, GError **error)
{
    VarveHost *host = push->host;
    g_autofree char *path = receive_path(push, "/receive?keep=true");
    const VarveSendOptions options = {.haves = (const char *const *)offer->haves,
                                      .formats = (const char *const *)offer->formats,
                                      .resume = anew ? NULL : offer->resume,
                                      .progress = push->options->progress,
                                      .progress_data = push->options->data};
    varve_transfer_clear(push->transfer);
    *push->transfer = (VarveTransfer){0};
    return host->http->begin_upload(host->client, "POST", path, STREAM_TYPE, error) &&
           varve_snapshot_send(push->pool, push->here->key, &options,
                               (VarveSink){write_stream, host}, push->transfer, error);
}

static VarveVolumeInfo *
attempt(Push *push, gboolean *anew, GError **error)
{
    VarveHost *host = push->host;
    g_auto(VarveOffer) offer = {0};
    if (!ask_offer(push, &offer, error))
        return NULL;
    if (!send_stream(push, &offer, *anew, error)) {
        /* What is kept there does not fit to what would be sent now. */
        *anew = !*anew && offer.resume != NULL &&
                g_error_matches(*error, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
        return NULL;
    }
    *anew = FALSE;
    json_auto_t *value = host->http->finish(host->client, error);
    return value != NULL ? varve_host_read_volume(host, value, error) : NULL;
}

/* The answer may have been lost when all had come. */
static VarveVolumeInfo *
find_there(const Push *push)
{
    g_autofree char *path = varve_host_path(push->id, "/haves");
    json_auto_t *haves = push->host->http->call(push->host->client, "GET", path, NULL, NULL);
    const json_t *newest = json_array_get(haves, 0);
    const char *id = json_string_value(json_object_get(newest, "id"));
    const char *uuid = json_string_value(json_object_get(newest, "uuid"));
    if (id == NULL || g_strcmp0(uuid, push->here->uuid) != 0)
        return NULL;
    return varve_host_inspect(push->host, id, NULL);
}

static VarveVolumeInfo *
attempt_all(Push *push, GError **error)
{
    VarveHostAttempts attempts = {.host = push->host, .options = push->options};
    gboolean anew = FALSE;
    for (;;) {
        GError *cause = NULL;
        VarveVolumeInfo *info = find_there(push);
        if (info == NULL)
            info = attempt(push, &anew, &cause);
        if (info != NULL) {
            g_clear_error(&cause);
            return info;
        }
        if (anew)
            g_clear_error(&cause);
        else if (!varve_host_attempt_again(&attempts, push->came, TRUE, &cause)) {
            g_propagate_error(error, cause);
            return NULL;
        }
    }
}

/* --- all -------------------------------------------------------------------------------------- */

static VarveVolumeInfo *
push_snapshot(Push *push, const char *snapshot, GError **error)
{
    push->here = varve_volume_get(push->volumes, snapshot, error);
    if (push->here == NULL)
        return NULL;
    if (!push->here->snapshot) {
        varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                        "it is a volume: take a snapshot of it first");
        return NULL;
    }
    push->pool = varve_engine_get_pool(push->volumes->engine, push->here->provider, error);
    if (push->pool == NULL)
        return NULL;
    if (push->here->uuid == NULL)
        push->here->uuid = varve_snapshot_uuid(push->pool, push->here->key, error);
    return push->here->uuid != NULL ? attempt_all(push, error) : NULL;
}

VarveVolumeInfo *
varve_volumes_push(VarveVolumes *volumes, const char *snapshot, VarveHost *host, const char *id,
                   const VarveHostOptions *options, VarveTransfer *transfer, GError **error)
{
    static const VarveHostOptions defaults = {0};
    g_auto(VarveTransfer) unwanted = {0};
    VarveTransfer *result = transfer != NULL ? transfer : &unwanted;
    *result = (VarveTransfer){0};
    Push push = {.volumes = volumes,
                 .id = id,
                 .host = host,
                 .options = options != NULL ? options : &defaults,
                 .transfer = result};
    VarveVolumeInfo *info = push_snapshot(&push, snapshot, error);
    varve_volume_info_free(push.here);
    if (info == NULL) {
        varve_transfer_clear(result);
        g_prefix_error(error, "sending snapshot '%s' to volume '%s' of host '%s': ", snapshot, id,
                       host->entry->name);
    }
    return info;
}
