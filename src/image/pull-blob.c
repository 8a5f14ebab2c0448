/* SPDX-License-Identifier: Apache-2.0 */
#include "image/media-types.h"
#include "image/pull.h"

typedef struct {
    VarveTransferItem *item;
    VarveIngest *ingest;
    VarveArrival *arrival;
} Receiver;

static gboolean
receive(gpointer data, const void *bytes, gsize size, GError **error)
{
    Receiver *receiver = data;
    receiver->item->moved += size;
    gboolean written = varve_ingest_write(receiver->ingest, bytes, size, error);
    if (written)
        varve_arrival_advance(receiver->arrival, varve_ingest_written(receiver->ingest));
    return written;
}

/* Who reads it is done before the disk is, which may take long. */
static gboolean
finish(gpointer data, GError **error)
{
    Receiver *receiver = data;
    if (!varve_ingest_verify(receiver->ingest, error))
        return FALSE;
    varve_arrival_advance(receiver->arrival, varve_ingest_written(receiver->ingest));
    varve_arrival_verify(receiver->arrival);
    return varve_ingest_finish(receiver->ingest, NULL, NULL, error);
}

/* Who reads it hears of it before the file is cut off. */
static gboolean
restart(gpointer data, GError **error)
{
    Receiver *receiver = data;
    varve_arrival_restart(receiver->arrival);
    return varve_ingest_restart(receiver->ingest, error);
}

static void
note_bytes(guint64 done, guint64 total, gpointer data)
{
    varve_progress_tell(&((VarveTransferItem *)data)->progress, VARVE_IMAGE_FETCHING, done);
}

/* Layers that are not to be given on stay where their maker has them; some registries have them
 * all the same. */
static gboolean
may_be_missing(const VarveDescriptor *descriptor, const GError *error)
{
    return varve_media_kind(descriptor->media_type) == VARVE_MEDIA_FOREIGN_LAYER &&
           g_error_matches(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
}

static gboolean
fetch_into(VarvePull *pull, VarveTransferItem *item, Receiver *receiver, const gint *cancelled,
           GError **error)
{
    const VarveDescriptor *descriptor = item->descriptor;
    const VarveRegistryDescriptor blob = {descriptor->media_type, descriptor->digest,
                                          descriptor->size};
    const VarveRegistryWatch watch = {cancelled, note_bytes, item};
    const VarveRegistryReceiver into = {receive, finish, restart, receiver};
    guint64 offset = varve_ingest_offset(receiver->ingest);
    g_autoptr(GError) failure = NULL;
    varve_progress_tell(&item->progress, VARVE_IMAGE_FETCHING, offset);
    if (pull->remote.client->fetch_blob(pull->remote.registry, pull->remote.name, &blob, offset,
                                        &into, &watch, &failure)) {
        varve_progress_tell(&item->progress, VARVE_IMAGE_DONE, descriptor->size);
        return TRUE;
    }
    if (may_be_missing(descriptor, failure)) {
        varve_progress_tell(&item->progress, VARVE_IMAGE_SKIPPED, 0);
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

/* With a reader behind it, if there is an arrival. */
static gboolean
begin(Receiver *receiver, GError **error)
{
    int fd = receiver->arrival != NULL ? varve_ingest_open(receiver->ingest, error) : -1;
    if (receiver->arrival != NULL && fd < 0)
        return FALSE;
    varve_arrival_begin(receiver->arrival, fd, varve_ingest_written(receiver->ingest));
    return TRUE;
}

static gboolean
fetch(VarvePull *pull, VarveTransferItem *item, VarveArrival *arrival, const gint *cancelled,
      GError **error)
{
    const VarveTreeWatch watch = {.cancelled = cancelled};
    const VarveDescriptor *descriptor = item->descriptor;
    g_autoptr(VarveIngest) ingest = NULL;
    if (!varve_ingest_begin(pull->images->content, pull->lease, descriptor->digest,
                            (gint64)descriptor->size, &watch, &ingest, error))
        return FALSE;
    if (ingest != NULL) {
        Receiver receiver = {item, ingest, arrival};
        return begin(&receiver, error) && fetch_into(pull, item, &receiver, cancelled, error);
    }
    varve_progress_tell(&item->progress, VARVE_IMAGE_PRESENT, descriptor->size);
    return TRUE;
}

gboolean
varve_pull_blob(VarveTransferItem *item, const gint *cancelled, gpointer data, GError **error)
{
    VarvePull *pull = data;
    VarveArrival *arrival = varve_arrivals_find(pull->arrivals, item->descriptor->digest);
    varve_progress_join(&item->progress, varve_arrival_progress(arrival), VARVE_PROGRESS_FETCH);
    gboolean fetched = fetch(pull, item, arrival, cancelled, error);
    varve_arrival_end(arrival, !fetched);
    return fetched;
}

gboolean
varve_pull_blobs(VarvePull *pull, GError **error)
{
    return varve_transfer_run(pull->transfer, pull->options->remote.jobs, varve_pull_blob, pull,
                              pull->moved, error);
}
