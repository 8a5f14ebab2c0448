/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/receive.h"
#include "base/uuid.h"
#include "volume/internal.h"
#include <string.h>

/*
 * Snapshots of volumes that come as streams, and what volumes hold from then on: SPEC row V6.
 *
 * While the stream comes, nothing is locked: what that takes nobody should wait for. When all of it
 * is there, the volume is locked and looked at again, unmounted, and replaced in the transaction
 * that publishes the snapshot.
 */

typedef struct {
    VarveVolumes *volumes;
    const char *id, *name; /* of the volume; of the snapshot, NULL: any */
    VarvePool *pool;
    VarveStreamHeader *header;
    VarveFilling *filling;
    VarveFillUpon upon;
    char *key, *snapshot;   /* the volume's; the snapshot's id */
    GHashTable *labels;     /* of a volume that is made */
    VarveVolumeInfo *found; /* the volume; NULL: there is none */
    gboolean was_mounted;
    int lock, snapshot_lock;
} Receiving;

static void
receiving_clear(Receiving *r)
{
    g_clear_pointer(&r->key, g_free);
    g_clear_pointer(&r->snapshot, g_free);
    g_clear_pointer(&r->labels, g_hash_table_unref);
    g_clear_pointer(&r->found, varve_volume_info_free);
    varve_fd_clear(&r->snapshot_lock);
    varve_fd_clear(&r->lock);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Receiving, receiving_clear)

/* --- what it goes to -------------------------------------------------------------------------- */

static gboolean
check_found(const Receiving *r, GError **error)
{
    if (r->found == NULL)
        return TRUE;
    if (r->found->snapshot)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "it is a snapshot itself, and never changes: name a volume");
    return r->pool == NULL || g_str_equal(r->found->provider, r->pool->name) ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "it is in pool '%s', not in '%s'", r->found->provider, r->pool->name);
}

static gboolean
find_volume(Receiving *r, GError **error)
{
    g_clear_pointer(&r->found, varve_volume_info_free);
    return varve_volume_find(r->volumes, r->id, &r->found, error) && check_found(r, error);
}

/* An existing volume stays where it is. That it is in use is better told before all has come. */
static gboolean
begin(Receiving *r, const char *provider, GError **error)
{
    if (!varve_volume_id_check(r->id, error) ||
        (r->name != NULL && !varve_volume_id_check(r->name, error)) || !find_volume(r, error))
        return FALSE;
    if (provider == NULL && r->found != NULL)
        provider = r->found->provider;
    r->pool = varve_engine_get_pool(r->volumes->engine, provider, error);
    if (r->pool == NULL || !check_found(r, error))
        return FALSE;
    if (r->found == NULL)
        return TRUE;
    varve_autofd lock = varve_volume_lock(r->volumes, r->id, NULL, error);
    return lock >= 0 && varve_volume_check_unused(r->volumes, r->found, error);
}

/* --- the snapshot's id ------------------------------------------------------------------------ */

static gboolean
is_free(Receiving *r, const char *id)
{
    g_autoptr(VarveVolumeInfo) other = NULL;
    return !g_str_equal(id, r->id) && varve_volume_find(r->volumes, id, &other, NULL) &&
           other == NULL;
}

static void
take_id(Receiving *r, const char *id)
{
    g_free(r->snapshot);
    r->snapshot = id != NULL ? g_strdup(id) : varve_uuid_new();
    g_free(r->header->name);
    r->header->name = g_strconcat(VARVE_VOLUME_PREFIX, r->snapshot, NULL);
    r->filling->name = r->header->name;
}

/* One that was asked for, or the one that it has where it comes from if that is free. */
static gboolean
choose_id(Receiving *r, GError **error)
{
    const char *id = r->name;
    if (id != NULL && !is_free(r, id))
        return varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS, "there is a volume '%s' already",
                               id);
    if (id == NULL && g_str_has_prefix(r->header->name, VARVE_VOLUME_PREFIX))
        id = r->header->name + strlen(VARVE_VOLUME_PREFIX);
    take_id(r, id != NULL && varve_volume_id_check(id, NULL) && is_free(r, id) ? id : NULL);
    return TRUE;
}

/* Not waited for: who has that lock may wait for the volume's. */
static gboolean
claim_id(Receiving *r, GError **error)
{
    r->snapshot_lock = varve_volume_try_lock(r->volumes, r->snapshot);
    if (r->snapshot_lock >= 0 && is_free(r, r->snapshot))
        return TRUE;
    if (r->name != NULL)
        return varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS, "there is a volume '%s' already",
                               r->name);
    varve_fd_clear(&r->snapshot_lock);
    take_id(r, NULL);
    return TRUE;
}

/* --- when all has come ------------------------------------------------------------------------ */

static gboolean
free_volume(gpointer data, GError **error)
{
    Receiving *r = data;
    r->lock = varve_volume_lock(r->volumes, r->id, NULL, error);
    return r->lock >= 0 && find_volume(r, error) && claim_id(r, error) &&
           (r->found == NULL ||
            varve_volume_free_of_users(r->volumes, r->found, &r->was_mounted, error));
}

static gboolean
plan(VarveStreamHeader *header, VarveFilling *filling, gpointer data, GError **error)
{
    Receiving *r = data;
    r->header = header;
    r->filling = filling;
    r->upon = (VarveFillUpon){.key = r->key, .begin = free_volume, .data = r};
    filling->upon = &r->upon;
    if (!choose_id(r, error) || !varve_volume_labels_adopt(header->labels, r->id, error))
        return FALSE;
    r->labels = varve_volume_labels_for_live(header->labels);
    r->upon.labels = r->labels;
    return TRUE;
}

/* The old content if it failed. */
static gboolean
mount_again(const Receiving *r, gboolean done)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(VarveVolumeInfo) info = varve_volume_get(r->volumes, r->id, &failure);
    gboolean due = r->was_mounted || (done && info != NULL && !info->unattended);
    if (info != NULL && (!due || varve_volume_attach(r->volumes, info, &failure)))
        return TRUE;
    varve_log(VARVE_LOG_WARNING, "volume cannot be mounted again", "volume", r->id, "error",
              failure->message, NULL);
    return FALSE;
}

static VarveVolumeInfo *
receive(Receiving *r, VarveSource source, const VarveReceiveOptions *options,
        VarveTransfer *transfer, GError **error)
{
    const VarveReceiveInto into = {plan, r};
    if (!begin(r, options->provider, error))
        return NULL;
    VarveReceiveOptions unnamed = *options;
    unnamed.name = NULL;
    gboolean done = varve_stream_receive(r->pool, source, &unnamed, &into, transfer, error);
    if (done || r->was_mounted)
        (void)mount_again(r, done);
    return done ? varve_volume_present(r->volumes, r->snapshot, error) : NULL;
}

VarveVolumeInfo *
varve_volumes_receive(VarveVolumes *volumes, const char *id, VarveSource source,
                      const VarveReceiveOptions *options, VarveTransfer *transfer, GError **error)
{
    static const VarveReceiveOptions plain = {.name = NULL};
    g_autofree char *key = g_strconcat(VARVE_VOLUME_PREFIX, id, NULL);
    g_auto(Receiving) r = {.volumes = volumes, .id = id, .lock = -1, .snapshot_lock = -1};
    options = options != NULL ? options : &plain;
    r.name = options->name;
    r.key = g_steal_pointer(&key);
    VarveVolumeInfo *made = receive(&r, source, options, transfer, error);
    if (made == NULL)
        g_prefix_error(error, "receiving into volume '%s': ", id);
    return made;
}
