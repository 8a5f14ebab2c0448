/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/receive.h"
#include "backup/flow.h"
#include "backup/internal.h"
#include "base/uuid.h"

/* A blob goes straight from the registry to the receiver of its stream. The stream ends there only
 * when the blob's digest was found right, and nothing is published before its end. */

typedef struct {
    VarveBackupSite *site;
    const VarveBackupReceive *what;
    char *key; /* of the snapshot */
    VarveProgressItem item;
} Receive;

static gboolean
write_sink(gpointer data, const void *bytes, gsize size, GError **error)
{
    const VarveSink *sink = data;
    return sink->write(sink->data, bytes, size, error);
}

static void
on_fetched(guint64 done, guint64 total, gpointer item)
{
    varve_progress_tell(item, VARVE_IMAGE_FETCHING, done);
}

static gboolean
fetch(gpointer data, VarveSink sink, GError **error)
{
    Receive *r = data;
    const VarveRemote *remote = &r->site->remote;
    const VarveDescriptor *descriptor = r->what->layer->descriptor;
    const VarveRegistryDescriptor blob = {NULL, descriptor->digest, descriptor->size};
    const VarveRegistryReceiver receiver = {.write = write_sink, .data = &sink};
    VarveRegistryWatch watch = r->site->watch;
    watch.progress = on_fetched;
    watch.progress_data = &r->item;
    return remote->client->fetch_blob(remote->registry, remote->name, &blob, 0, &receiver, &watch,
                                      error);
}

/* --- what the stream says --------------------------------------------------------------------- */

static gboolean
check(const char *what, const char *said, const char *wanted, GError **error)
{
    if (wanted == NULL)
        wanted = "";
    return g_str_equal(said, wanted) ||
           varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the manifest says that %s is '%s', and the blob that it is '%s'", what,
                           wanted, said);
}

static gboolean
plan(VarveStreamHeader *header, VarveFilling *filling, gpointer data, GError **error)
{
    const Receive *r = data;
    const VarveArtifactLayer *layer = r->what->layer;
    if (!check("its universal id", header->uuid, layer->uuid, error) ||
        !check("what it is the difference to", header->base, layer->base, error) ||
        !varve_volume_labels_adopt(header->labels, r->what->of, error))
        return FALSE;
    if (r->what->no_mount)
        varve_volume_labels_unattend(header->labels);
    return TRUE;
}

/* --- all -------------------------------------------------------------------------------------- */

static gboolean
make(gpointer data, VarveSource source, GError **error)
{
    Receive *r = data;
    const VarveReceiveInto into = {plan, r};
    const VarveReceiveOptions options = {.name = r->key};
    return varve_stream_receive(r->what->pool, source, &options, &into, NULL, error);
}

/* Under the id's lock. */
static gboolean
receive_as(Receive *r, const char *id, GError **error)
{
    const VarveFlow flow = {fetch, make, r};
    guint64 size = r->what->layer->descriptor->size;
    r->key = g_strconcat(VARVE_VOLUME_PREFIX, id, NULL);
    varve_progress_tell(&r->item, VARVE_IMAGE_FETCHING, 0);
    gboolean ok = varve_flow_run(&flow, error);
    varve_progress_tell(&r->item, ok ? VARVE_IMAGE_DONE : VARVE_IMAGE_FAILED, ok ? size : 0);
    g_free(r->key);
    return ok;
}

/* The id that it had, with its lock, or a fresh one where that is taken. */
static int
lock_id(VarveVolumes *volumes, const char *wanted, char **id, GError **error)
{
    g_autoptr(GError) taken = NULL;
    *id = g_strdup(wanted);
    int lock = varve_volume_lock(volumes, *id, NULL, error);
    if (lock < 0 || varve_volume_check_free(volumes, *id, &taken))
        return lock;
    varve_fd_clear(&lock);
    g_free(*id);
    *id = varve_uuid_new();
    if (g_error_matches(taken, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS))
        return varve_volume_lock(volumes, *id, NULL, error);
    g_propagate_error(error, g_steal_pointer(&taken));
    return -1;
}

gboolean
varve_backup_receive(VarveBackupSite *site, const VarveBackupReceive *receive, char **id,
                     GError **error)
{
    const VarveArtifactLayer *layer = receive->layer;
    Receive r = {.site = site, .what = receive};
    varve_backup_item_init(&r.item, site, layer->id, layer->descriptor->size);
    varve_autofd lock = lock_id(site->volumes, layer->id, id, error);
    if (lock < 0 || !receive_as(&r, *id, error)) {
        g_prefix_error(error, "receiving snapshot '%s': ", layer->id);
        return FALSE;
    }
    if (receive->no_mount)
        return TRUE;
    g_autoptr(VarveVolumeInfo) info = varve_volume_present(site->volumes, *id, error);
    return info != NULL;
}
