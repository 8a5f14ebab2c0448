/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/host/internal.h"

/* What is told to the other side: enough for every volume, and less than it takes of JSON. */
#define MAX_HAVES 10000

typedef struct {
    VarveVolumes *volumes;
    VarveHost *host;
    const char *snapshot, *id;
    const VarveHostOptions *options;
    VarveVolumeInfo *there; /* the snapshot, as its host tells */
    VarveTransfer *transfer;
} Pull;

/* --- what is told ----------------------------------------------------------------------------- */

static json_t *
make_wishes(const Pull *pull, GError **error)
{
    g_auto(VarveOffer) offer = {0};
    if (!varve_volumes_offer(pull->volumes, pull->id, pull->options->provider, pull->there->uuid,
                             &offer, error))
        return NULL;
    json_t *wishes = json_object();
    json_object_set_new(wishes, "haves", varve_json_new_strings(offer.haves, MAX_HAVES));
    json_object_set_new(wishes, "formats", varve_json_new_strings(offer.formats, MAX_HAVES));
    if (offer.resume != NULL)
        json_object_set_new(wishes, "resume", json_string(offer.resume));
    return wishes;
}

/* --- what comes ------------------------------------------------------------------------------- */

static gssize
read_stream(gpointer data, void *buffer, gsize size, GError **error)
{
    const VarveHost *host = data;
    return host->http->read(host->client, buffer, size, error);
}

static VarveVolumeInfo *
attempt(const Pull *pull, GError **error)
{
    VarveHost *host = pull->host;
    const VarveReceiveOptions options = {.name = pull->options->name,
                                         .provider = pull->options->provider,
                                         .keep = TRUE,
                                         .progress = pull->options->progress,
                                         .progress_data = pull->options->data};
    g_autofree char *path = varve_host_path(pull->snapshot, "/send");
    json_auto_t *wishes = make_wishes(pull, error);
    if (wishes == NULL || !host->http->begin(host->client, "GET", path, wishes, error))
        return NULL;
    varve_transfer_clear(pull->transfer);
    *pull->transfer = (VarveTransfer){0};
    return varve_volumes_receive(pull->volumes, pull->id, (VarveSource){read_stream, host},
                                 &options, pull->transfer, error);
}

/* What is kept does not fit to what would be sent, perhaps because the snapshot was removed there
 * that it is the difference to. */
static gboolean
forget(const Pull *pull, VarvePool *pool, GError **error)
{
    if (!g_error_matches(*error, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION) ||
        varve_pool_kept_bytes(pool, pull->there->uuid) == 0 ||
        !varve_pool_forget_transfer(pool, pull->there->uuid, NULL))
        return FALSE;
    g_clear_error(error);
    return TRUE;
}

static VarveVolumeInfo *
attempt_all(Pull *pull, GError **error)
{
    VarveHostAttempts attempts = {.host = pull->host, .options = pull->options};
    gboolean forgotten = FALSE;
    for (;;) {
        GError *cause = NULL;
        VarvePool *pool = NULL;
        VarveVolumeInfo *info = attempt(pull, &cause);
        if (info != NULL)
            return info;
        (void)varve_volume_find_pool(pull->volumes, pull->id, pull->options->provider, &pool, NULL);
        if (!forgotten && (forgotten = forget(pull, pool, &cause)))
            continue;
        guint64 came = varve_pool_kept_bytes(pool, pull->there->uuid);
        if (varve_host_attempt_again(&attempts, came, FALSE, &cause))
            continue;
        g_propagate_error(error, cause);
        return NULL;
    }
}

/* --- all -------------------------------------------------------------------------------------- */

/* The snapshot that the volume stands on, if it is that one. */
static gboolean
is_there(const Pull *pull, VarveVolumeInfo **info, GError **error)
{
    g_autoptr(VarveVolumeInfo) volume = NULL;
    if (!varve_volume_find(pull->volumes, pull->id, &volume, error))
        return FALSE;
    g_autoptr(GPtrArray) haves =
        volume != NULL ? varve_volumes_haves(pull->volumes, pull->id, error) : NULL;
    if (volume != NULL && haves == NULL)
        return FALSE;
    const VarveVolumeHave *newest = haves != NULL && haves->len > 0 ? haves->pdata[0] : NULL;
    if (newest == NULL || newest->id == NULL || g_strcmp0(newest->uuid, pull->there->uuid) != 0)
        return TRUE;
    *info = varve_volumes_inspect(pull->volumes, newest->id, error);
    return *info != NULL;
}

static VarveVolumeInfo *
pull_snapshot(Pull *pull, GError **error)
{
    VarveVolumeInfo *info = NULL;
    if (!varve_volume_id_check(pull->id, error) ||
        (pull->there = varve_host_inspect(pull->host, pull->snapshot, error)) == NULL)
        return NULL;
    if (!pull->there->snapshot) {
        varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                        "it is a volume, of which a snapshot must be taken first");
        return NULL;
    }
    if (pull->there->uuid == NULL) {
        varve_error_set(error, VARVE_ERROR_CORRUPT, "the host does not tell its universal id");
        return NULL;
    }
    if (!is_there(pull, &info, error) || info != NULL)
        return info;
    return attempt_all(pull, error);
}

VarveVolumeInfo *
varve_volumes_pull(VarveVolumes *volumes, VarveHost *host, const char *snapshot, const char *id,
                   const VarveHostOptions *options, VarveTransfer *transfer, GError **error)
{
    static const VarveHostOptions defaults = {0};
    g_auto(VarveTransfer) unwanted = {0};
    VarveTransfer *result = transfer != NULL ? transfer : &unwanted;
    *result = (VarveTransfer){0};
    Pull pull = {.volumes = volumes,
                 .host = host,
                 .snapshot = snapshot,
                 .id = id,
                 .options = options != NULL ? options : &defaults,
                 .transfer = result};
    VarveVolumeInfo *info = pull_snapshot(&pull, error);
    varve_volume_info_free(pull.there);
    if (info == NULL) {
        varve_transfer_clear(result);
        g_prefix_error(error, "pulling snapshot '%s' from host '%s' into volume '%s': ", snapshot,
                       host->entry->name, id);
    }
    return info;
}
