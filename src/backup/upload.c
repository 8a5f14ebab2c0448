/* SPDX-License-Identifier: Apache-2.0 */
#include "backup/flow.h"
#include "backup/internal.h"
#include <varve/transfer.h>

/* A snapshot's stream goes straight from its sender to the registry, and is hashed on its way:
 * nothing of it is kept here. Where the registry forgot what it had, it is made again, the same. */

#define TRIES 3

typedef struct {
    VarveBackupSite *site;
    const VarveBackupUpload *what;
    VarveRegistryUpload *upload;
    VarveProgressItem item;
    VarveTransfer transfer; /* what was sent */
    VarveRegistryDescriptor blob;
    VarveRegistryPushed how;
} Upload;

/* By what is sent of the snapshot's content, of which there is an estimate: the upload follows. */
static void
on_sent(const VarveTransferProgress *progress, gpointer data)
{
    Upload *u = data;
    u->item.total = progress->expected;
    varve_progress_tell(&u->item, VARVE_IMAGE_PUSHING, progress->done);
}

static gboolean
send_stream(gpointer data, VarveSink sink, GError **error)
{
    Upload *u = data;
    const char *haves[] = {u->what->base, NULL};
    const VarveSendOptions options = {
        .haves = haves,
        .format = VARVE_TRANSFER_PORTABLE,
        .progress = on_sent,
        .progress_data = u,
    };
    varve_transfer_clear(&u->transfer);
    u->transfer = (VarveTransfer){0};
    return varve_snapshot_send(u->what->pool, u->what->snapshot->key, &options, sink, &u->transfer,
                               error);
}

static gboolean
take_stream(gpointer data, VarveSource source, GError **error)
{
    Upload *u = data;
    const VarveRegistryClient *client = u->site->remote.client;
    g_autofree guint8 *buffer = g_malloc(1 << 20);
    gssize n;
    while ((n = source.read(source.data, buffer, 1 << 20, error)) > 0)
        if (!client->upload_write(u->upload, buffer, (gsize)n, error))
            return FALSE;
    return n == 0 && client->upload_finish(u->upload, &u->blob, &u->how, error);
}

/* *again: the registry lost it, which is nobody's fault. */
static gboolean
try_upload(Upload *u, gboolean *again, GError **error)
{
    const VarveRegistryClient *client = u->site->remote.client;
    const VarveFlow flow = {send_stream, take_stream, u};
    u->upload = client->upload_new(u->site->remote.registry, u->site->remote.name, &u->site->watch);
    gboolean ok = varve_flow_run(&flow, error);
    *again = !ok && client->upload_is_lost(u->upload);
    g_clear_pointer(&u->upload, client->upload_free);
    return ok;
}

/* --- what is known of it ---------------------------------------------------------------------- */

static void
annotate(VarveDescriptor *descriptor, const char *key, const char *text)
{
    if (text != NULL && *text != '\0')
        g_hash_table_replace(descriptor->annotations, g_strdup(key), g_strdup(text));
}

/* To the microsecond, which is what GLib's times hold. */
static char *
format_time(gint64 nanoseconds)
{
    g_autoptr(GDateTime) second = g_date_time_new_from_unix_utc(nanoseconds / 1000000000);
    g_autoptr(GDateTime) time =
        second != NULL ? g_date_time_add(second, nanoseconds % 1000000000 / 1000) : NULL;
    return time != NULL ? g_date_time_format(time, "%Y-%m-%dT%H:%M:%S.%fZ") : NULL;
}

static VarveDescriptor *
describe(const Upload *u)
{
    const VarveVolumeInfo *snapshot = u->what->snapshot;
    VarveDescriptor *descriptor =
        varve_descriptor_new(VARVE_ARTIFACT_LAYER, u->blob.digest, u->blob.size);
    g_autofree char *payload = g_strdup_printf("%" G_GUINT64_FORMAT, u->transfer.payload);
    g_autofree char *created = format_time(snapshot->created);
    annotate(descriptor, VARVE_ARTIFACT_UUID, u->transfer.uuid);
    annotate(descriptor, VARVE_ARTIFACT_BASE, u->transfer.base);
    annotate(descriptor, VARVE_ARTIFACT_ID, snapshot->id);
    annotate(descriptor, VARVE_ARTIFACT_OF, snapshot->of);
    annotate(descriptor, VARVE_ARTIFACT_PAYLOAD, payload);
    annotate(descriptor, VARVE_ARTIFACT_CREATED, created);
    return descriptor;
}

/* --- all -------------------------------------------------------------------------------------- */

static void
count(Upload *u)
{
    gboolean was_there = u->how == VARVE_REGISTRY_WAS_THERE;
    u->site->moved->moved += !was_there;
    u->site->moved->present += was_there;
    u->site->moved->bytes += was_there ? 0 : u->blob.size;
    u->item.total = u->blob.size;
    varve_progress_tell(&u->item, was_there ? VARVE_IMAGE_PRESENT : VARVE_IMAGE_DONE, u->blob.size);
}

VarveDescriptor *
varve_backup_upload(VarveBackupSite *site, const VarveBackupUpload *upload, GError **error)
{
    Upload u = {.site = site, .what = upload};
    g_autoptr(GError) failure = NULL;
    gboolean ok = FALSE, again = TRUE;
    varve_backup_item_init(&u.item, site, upload->snapshot->id, 0);
    varve_progress_tell(&u.item, VARVE_IMAGE_PUSHING, 0);
    for (guint i = 0; i < TRIES && !ok && again; i++) {
        g_clear_error(&failure);
        ok = try_upload(&u, &again, &failure);
    }
    VarveDescriptor *descriptor = ok ? describe(&u) : NULL;
    if (ok)
        count(&u);
    else
        varve_progress_tell(&u.item, VARVE_IMAGE_FAILED, 0);
    if (!ok)
        g_propagate_prefixed_error(error, g_steal_pointer(&failure),
                                   "uploading snapshot '%s': ", upload->snapshot->id);
    varve_transfer_clear(&u.transfer);
    g_free(u.blob.digest);
    return descriptor;
}
