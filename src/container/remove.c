/* SPDX-License-Identifier: Apache-2.0 */
#include "container/internal.h"

/* --- one ---------------------------------------------------------------------------------- */

/* Only what was prepared for it: another's of that key is left alone. */
static gboolean
remove_snapshot(VarveContainers *containers, const char *id, const VarveContainerInfo *info,
                GError **error)
{
    g_autoptr(VarveSnapshotInfo) snapshot = NULL;
    g_autoptr(GError) failure = NULL;
    VarvePool *pool = varve_engine_get_pool(containers->engine, info->pool, error);
    if (pool == NULL)
        return FALSE;
    if (varve_snapshot_stat(pool, info->snapshot, &snapshot, &failure)) {
        const char *owner = g_hash_table_lookup(snapshot->labels, VARVE_LABEL_CONTAINER);
        if (g_strcmp0(owner, id) != 0 || varve_snapshot_remove(pool, info->snapshot, &failure))
            return TRUE;
    }
    if (g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

gboolean
varve_container_discard(VarveContainers *containers, const VarveBundle *bundle,
                        const VarveContainerRecord *record, GError **error)
{
    return (record == NULL || (varve_runtime_delete(bundle, record->runtime, error) &&
                               varve_cgroup_remove(record->cgroup, error) &&
                               remove_snapshot(containers, bundle->id, &record->info, error))) &&
           varve_bundle_remove(bundle, error);
}

/* Reads the record of what is locked; none is none. */
static gboolean
read_record(const VarveBundle *bundle, VarveContainerRecord **record, GError **error)
{
    g_autoptr(GError) failure = NULL;
    *record = varve_container_record_read(bundle, &failure);
    if (*record != NULL || g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

/* One that was created and never started does not. */
static gboolean
runs(const VarveBundle *bundle, const VarveContainerRecord *record)
{
    gint64 pid;
    g_autofree char *state =
        record != NULL ? varve_runtime_state(bundle, record->runtime, &pid) : NULL;
    return g_strcmp0(state, "running") == 0 || g_strcmp0(state, "paused") == 0;
}

#define PATIENCE (G_USEC_PER_SEC / 50)

/* Ends the container again and again, until whoever runs it has let it go. */
static gboolean
lock_by_force(VarveContainers *containers, VarveBundle *bundle, GError **error)
{
    while (!varve_bundle_try_lock(bundle)) {
        g_autoptr(VarveContainerRecord) record = varve_container_record_read(bundle, NULL);
        if (record != NULL && varve_runtime_knows(bundle))
            (void)varve_runtime_do(bundle, record->runtime, "kill", "KILL", NULL);
        if (!varve_check_cancelled(&containers->engine->cancelled, error))
            return FALSE;
        g_usleep(PATIENCE);
    }
    return TRUE;
}

#define ATTEMPTS 250 /* five seconds */

/* Waits for who is about to let it go: it does not run, but is being started, ended or looked at.
 */
static gboolean
lock_in_peace(VarveContainers *containers, VarveBundle *bundle, GError **error)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        if (varve_bundle_try_lock(bundle))
            return TRUE;
        g_autoptr(VarveContainerRecord) record = varve_container_record_read(bundle, NULL);
        if (runs(bundle, record))
            break;
        if (!varve_check_cancelled(&containers->engine->cancelled, error))
            return FALSE;
        g_usleep(PATIENCE);
    }
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION, "it is running");
}

static gboolean
remove_one(VarveContainers *containers, const char *id, gboolean force, GError **error)
{
    g_autoptr(VarveContainerRecord) record = NULL;
    g_autoptr(VarveBundle) bundle = NULL;
    if (!varve_container_id_check(id, error))
        return FALSE;
    bundle = varve_bundle_open(containers, id, error);
    if (bundle == NULL || !(force ? lock_by_force(containers, bundle, error)
                                  : lock_in_peace(containers, bundle, error)))
        return FALSE;
    if (!varve_bundle_is_there(bundle))
        return TRUE; /* its run removed it */
    if (!read_record(bundle, &record, error))
        return FALSE;
    if (!force && runs(bundle, record))
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "it is running, though what ran it has died");
    return varve_container_discard(containers, bundle, record, error);
}

gboolean
varve_containers_remove(VarveContainers *containers, const char *id, gboolean force, GError **error)
{
    if (remove_one(containers, id, force, error))
        return TRUE;
    g_prefix_error(error, "removing container '%s': ", id);
    return FALSE;
}

/* --- many --------------------------------------------------------------------------------- */

/* Whether a locked container is to be removed now; what died before its record was, always is. */
typedef gboolean (*ChooseFunc)(const VarveBundle *bundle, const VarveContainerRecord *record);

static gboolean
is_idle(const VarveBundle *bundle, const VarveContainerRecord *record)
{
    return !runs(bundle, record);
}

static gboolean
is_abandoned(const VarveBundle *bundle, const VarveContainerRecord *record)
{
    return record->info.remove;
}

static gboolean
sweep_one(VarveContainers *containers, const char *id, ChooseFunc choose, guint64 *removed,
          GError **error)
{
    g_autoptr(VarveBundle) bundle = varve_bundle_open(containers, id, NULL);
    if (bundle == NULL || !varve_bundle_try_lock(bundle) || !varve_bundle_is_there(bundle))
        return TRUE;
    g_autoptr(VarveContainerRecord) record = NULL;
    if (!read_record(bundle, &record, error))
        return FALSE;
    if (record != NULL && !choose(bundle, record))
        return TRUE;
    if (!varve_container_discard(containers, bundle, record, error))
        return FALSE;
    ++*removed;
    return TRUE;
}

static gboolean
sweep(VarveContainers *containers, ChooseFunc choose, VarveContainerPrune *result, GError **error)
{
    *result = (VarveContainerPrune){0};
    if (containers->fd < 0)
        return TRUE;
    g_autoptr(VarveListing) names = varve_containers_read(containers, error);
    if (names == NULL)
        return FALSE;
    for (gsize i = 0; i < varve_listing_length(names); i++) {
        GError *failure = NULL;
        const char *id = varve_listing_get(names, i).name;
        if (!varve_check_cancelled(&containers->engine->cancelled, error))
            return FALSE;
        if (sweep_one(containers, id, choose, &result->removed, &failure))
            continue;
        g_autofree char *what = g_strdup_printf("removing container '%s'", id);
        varve_error_log_undo(what, failure);
        result->failed++;
    }
    return TRUE;
}

gboolean
varve_containers_prune(VarveContainers *containers, VarveContainerPrune *result, GError **error)
{
    return sweep(containers, is_idle, result, error);
}

gboolean
varve_containers_cleanup(VarveContainers *containers, VarveContainerPrune *result, GError **error)
{
    return sweep(containers, is_abandoned, result, error);
}
