/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/host/internal.h"
#include <string.h>

#define MAX_STEM  100 /* of a volume's id, in those of its snapshots */
#define MOST_SAME 100 /* ids of one millisecond */

typedef struct {
    VarveVolumes *volumes;
    const char *id;
    VarveHost *host;
    const VarveHostOptions *options;
    guint keep;
    GHashTable *meta; /* what marks the replication's own snapshots */
    VarveReplication *result;
} Replicate;

void
varve_replication_clear(VarveReplication *replication)
{
    g_clear_pointer(&replication->snapshot, g_free);
    g_clear_pointer(&replication->uuid, g_free);
    g_clear_pointer(&replication->finished, g_free);
    g_clear_pointer(&replication->here.problem, g_free);
    g_clear_pointer(&replication->there.problem, g_free);
}

/* --- its own snapshots ------------------------------------------------------------------------ */

static GPtrArray *
list_here(const Replicate *r, GError **error)
{
    const VarveVolumeFilter filter = {
        .which = VARVE_VOLUMES_SNAPSHOTS, .of = r->id, .meta = r->meta};
    GPtrArray *list = varve_volumes_list(r->volumes, &filter, error);
    if (list != NULL)
        varve_host_sort(list);
    return list;
}

/* None when the volume is not there. */
static GPtrArray *
list_there(const Replicate *r, GError **error)
{
    GError *cause = NULL;
    GPtrArray *list = varve_host_snapshots(r->host, r->id, &cause);
    if (g_error_matches(cause, VARVE_ERROR, VARVE_ERROR_NOT_FOUND)) {
        g_error_free(cause);
        return g_ptr_array_new();
    }
    if (list == NULL)
        g_propagate_error(error, cause);
    for (guint i = list != NULL ? list->len : 0; i > 0; i--) {
        const VarveVolumeInfo *info = list->pdata[i - 1];
        const char *mark = g_hash_table_lookup(info->meta, VARVE_REPLICATE_META);
        if (g_strcmp0(mark, r->host->entry->name) != 0)
            g_ptr_array_remove_index(list, i - 1);
    }
    return list;
}

static gboolean
is_among(const GPtrArray *list, const char *uuid)
{
    for (guint i = 0; i < list->len; i++)
        if (g_strcmp0(((const VarveVolumeInfo *)list->pdata[i])->uuid, uuid) == 0)
            return TRUE;
    return FALSE;
}

/* --- sending ---------------------------------------------------------------------------------- */

static gboolean
push(const Replicate *r, const char *snapshot, GError **error)
{
    g_auto(VarveTransfer) transfer = {0};
    g_autoptr(VarveVolumeInfo) made =
        varve_volumes_push(r->volumes, snapshot, r->host, r->id, r->options, &transfer, error);
    if (made == NULL)
        return FALSE;
    r->result->bytes += transfer.bytes - MIN(transfer.resumed, transfer.bytes);
    r->result->resumed += transfer.resumed;
    r->result->full = transfer.uuid != NULL && transfer.base == NULL;
    return TRUE;
}

/* What an earlier run took and did not send whole. */
static gboolean
finish_last(const Replicate *r, GError **error)
{
    g_autoptr(GPtrArray) here = list_here(r, error);
    if (here == NULL || here->len == 0)
        return here != NULL;
    g_autoptr(GPtrArray) there = list_there(r, error);
    const VarveVolumeInfo *last = here->pdata[0];
    if (there == NULL || is_among(there, last->uuid))
        return there != NULL;
    r->result->finished = g_strdup(last->id);
    return push(r, last->id, error);
}

static VarveVolumeInfo *
take_snapshot(const Replicate *r, GError **error)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *seconds = g_date_time_format(now, "%Y%m%dT%H%M%S");
    g_autofree char *time =
        g_strdup_printf("%s.%03dZ", seconds, g_date_time_get_microsecond(now) / 1000);
    for (guint i = 1;; i++) {
        g_autofree char *more = i > 1 ? g_strdup_printf("-%u", i) : g_strdup("");
        g_autofree char *id = g_strdup_printf("%.*s-%s%s", MAX_STEM, r->id, time, more);
        const VarveVolumeOptions options = {.id = id, .meta = r->meta};
        GError *cause = NULL;
        VarveVolumeInfo *made = varve_volumes_snapshot(r->volumes, r->id, &options, &cause);
        if (made != NULL)
            return made;
        if (i == MOST_SAME || !g_error_matches(cause, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS)) {
            g_propagate_error(error, cause);
            return NULL;
        }
        g_error_free(cause);
    }
}

static gboolean
send_new(const Replicate *r, GError **error)
{
    g_autoptr(VarveVolumeInfo) made = take_snapshot(r, error);
    if (made == NULL || !push(r, made->id, error))
        return FALSE;
    r->result->snapshot = g_strdup(made->id);
    r->result->uuid = g_strdup(made->uuid);
    return TRUE;
}

/* --- pruning ---------------------------------------------------------------------------------- */

typedef gboolean (*Destroy)(const Replicate *r, const char *id, GError **error);

static gboolean
destroy_here(const Replicate *r, const char *id, GError **error)
{
    return varve_volumes_destroy(r->volumes, id, VARVE_VOLUMES_ONLY, error);
}

static gboolean
destroy_there(const Replicate *r, const char *id, GError **error)
{
    return varve_host_destroy(r->host, id, VARVE_VOLUMES_ONLY, error);
}

/* The first reason why there are more than there should be. */
static void
tell_problem(VarvePruned *pruned, GError *error)
{
    if (pruned->problem == NULL && error != NULL)
        pruned->problem = g_strdup(error->message);
    g_clear_error(&error);
}

/* The newest that both sides have is the one that was just sent, whatever the clock says: it always
 * stays. list NULL: error tells why. */
static void
prune(const Replicate *r, GPtrArray *list, Destroy destroy, VarvePruned *pruned, GError *error)
{
    guint left = r->keep - 1;
    if (list == NULL) {
        tell_problem(pruned, error);
        return;
    }
    pruned->kept = list->len;
    for (guint i = 0; i < list->len; i++) {
        const VarveVolumeInfo *info = list->pdata[i];
        GError *cause = NULL;
        if (g_strcmp0(info->uuid, r->result->uuid) == 0)
            continue;
        if (left > 0) {
            left--;
        } else if (destroy(r, info->id, &cause)) {
            pruned->removed++;
            pruned->kept--;
        } else {
            gboolean never = g_error_matches(cause, VARVE_ERROR, VARVE_ERROR_NOT_IMPLEMENTED);
            tell_problem(pruned, cause);
            if (never)
                return;
        }
    }
}

static void
prune_both(const Replicate *r)
{
    GError *error = NULL;
    g_autoptr(GPtrArray) here = list_here(r, &error);
    prune(r, here, destroy_here, &r->result->here, error);
    error = NULL;
    g_autoptr(GPtrArray) there = list_there(r, &error);
    prune(r, there, destroy_there, &r->result->there, error);
}

/* --- all -------------------------------------------------------------------------------------- */

static gboolean
check(const Replicate *r, GError **error)
{
    if (r->keep == 0)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "at least one snapshot must be kept, to send the difference to");
    g_autoptr(VarveVolumeInfo) volume = varve_volume_get(r->volumes, r->id, error);
    if (volume == NULL)
        return FALSE;
    return !volume->snapshot || varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                                                "it is a snapshot itself, and never changes");
}

/* One at a time of a volume, in all processes. An id has no slash. */
static int
lock_out_others(const Replicate *r, GError **error)
{
    g_autofree char *name = g_strconcat("replicate/", r->id, NULL);
    int lock = varve_volume_try_lock(r->volumes, name);
    if (lock < 0)
        varve_error_set(error, VARVE_ERROR_BUSY, "it is being replicated already");
    return lock;
}

static gboolean
replicate(const Replicate *r, GError **error)
{
    if (!check(r, error))
        return FALSE;
    varve_autofd lock = lock_out_others(r, error);
    if (lock < 0 || !finish_last(r, error) || !send_new(r, error))
        return FALSE;
    prune_both(r);
    return TRUE;
}

gboolean
varve_volumes_replicate(VarveVolumes *volumes, const char *id, VarveHost *host, guint keep,
                        const VarveHostOptions *options, VarveReplication *result, GError **error)
{
    static const VarveHostOptions defaults = {0};
    g_auto(VarveReplication) unwanted = {0};
    g_autoptr(GHashTable) meta = g_hash_table_new(g_str_hash, g_str_equal);
    Replicate r = {.volumes = volumes,
                   .id = id,
                   .host = host,
                   .options = options != NULL ? options : &defaults,
                   .keep = keep,
                   .meta = meta,
                   .result = result != NULL ? result : &unwanted};
    *r.result = (VarveReplication){0};
    g_hash_table_insert(meta, (gpointer)VARVE_REPLICATE_META, host->entry->name);
    if (replicate(&r, error))
        return TRUE;
    varve_replication_clear(r.result);
    g_prefix_error(error, "replicating volume '%s' to host '%s': ", id, host->entry->name);
    return FALSE;
}
